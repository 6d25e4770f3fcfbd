"""Targets for what grows: a beginning, a unit repeated many times, and an end.

A fuzzer finds no body of a megabyte whose parts are dear, but it finds the part. The first byte is
the choice; bytes that are not UTF-8 separate the three parts. What these inputs cost is judged by
the oracle of `cost`; the targets themselves check little.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from autopilot.request.body import ParsedBody, parse_body
from autopilot.routing.router_error import RouterError
from tests.rigs.fuzz.router import router
from tests.unit.relay.upstreams import SSE, chunk, head
from tests.unit.web.browsers import ask

SEPARATOR: Final = b"\xff"
LARGE: Final = 1
TWO_MODELS: Final = 2
_SIZES: Final = (16_384, 131_072)
_READ: Final = 65_536
_LONG: Final = 600.0


class Shape(NamedTuple):
    """A decoded input."""

    choice: int
    before: bytes
    unit: bytes
    after: bytes

    @classmethod
    def of(cls, data: bytes) -> Shape:
        """Decode any input."""
        parts = [*data[1:].split(SEPARATOR, 2), b"", b""]
        return cls(int.from_bytes(data[:1]), *parts[:3])

    @property
    def grown(self) -> bytes:
        """The bytes that it stands for."""
        wanted = _SIZES[self.choice & LARGE]
        times = wanted // len(self.unit) if self.unit else 0
        return self.before + self.unit * times + self.after


def size_of(data: bytes) -> int:
    """Return the size of the bytes that an input stands for."""
    return len(Shape.of(data).grown)


def shape(before: bytes, unit: bytes, after: bytes, choice: int = 0) -> bytes:
    """Encode an input."""
    return bytes([choice]) + SEPARATOR.join((before, unit, after))


def long_body(data: bytes) -> None:
    """Parse the bytes as a request body, and ask for all that the router asks for."""
    parsed = parse_body(Shape.of(data).grown)
    if isinstance(parsed, RouterError):
        assert parsed.status == 400, parsed
        return
    assert isinstance(parsed, ParsedBody), parsed
    for least in (None, 0, 100):
        parsed.needs(least)
    assert parsed.template.naming("a/b"), parsed


def long_stream(data: bytes) -> None:
    """Answer a request for a stream with the bytes, in large chunks, and then be silent."""
    given = Shape.of(data)
    stream = given.grown
    with router() as made:
        browser = made.post(ask("a,b" if given.choice & TWO_MODELS else "a", stream=True))
        first = made.wire
        first.says(head(200, SSE))
        for at in range(0, len(stream), _READ):
            if first.alive:
                first.says(chunk(stream[at : at + _READ]))
        made.clock.advance(_LONG)
        for wire in made.upstreams.wires:
            if wire.alive:
                wire.resets()
        made.clock.advance(_LONG)
        assert browser.wire or browser.closed or browser.peer.aborted
