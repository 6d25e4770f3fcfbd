"""Streams as no honest instance and gateway send them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey

from stub_backend.dialect import data_event
from stub_backend.sealed.seals import StreamSealer, sealed_event

_DONE = b"data: [DONE]\n\n"
_FORGED = data_event({"choices": [{"index": 0, "delta": {"content": "INJECTED"}}]})
_ERROR = data_event({"error": {"message": "boom"}})
_USAGE = data_event({"usage": {"prompt_tokens": 1, "completion_tokens": 999_999}})
_PING = b": ping\n\n"


@dataclass(frozen=True, slots=True)
class Wire:
    """An honest stream, from which a hostile one is made: an event for each line.

    The last two lines are the terminator and its empty line.
    """

    to: MLKEM768PublicKey
    sealer: StreamSealer
    lines: tuple[bytes, ...]

    @property
    def init(self) -> bytes:
        """Return the first event."""
        return self.sealer.init()

    @property
    def events(self) -> list[bytes]:
        """Return the events of all lines, sealed anew."""
        return [self.sealer.event(each) for each in self.lines]

    def whole(self, after: int = 0, *inserted: bytes) -> list[bytes]:
        """Return the stream, with other events inserted after some of its own."""
        events = self.events
        return [self.init, *events[:after], *inserted, *events[after:]]

    def cut(self, *inserted: bytes) -> list[bytes]:
        """Return the stream without its end, and other events in place of that."""
        return [self.init, *self.events[:-2], *inserted]


def hostile_wire(name: str, to: MLKEM768PublicKey, lines: tuple[bytes, ...]) -> list[bytes]:
    """Return a hostile stream made of an engine's lines."""
    return HOSTILE[name](Wire(to, StreamSealer(to), lines))


def _flipped(wire: Wire) -> list[bytes]:
    piece = wire.sealer.sealed(wire.lines[2])
    return [*wire.cut()[:3], sealed_event("e2e", piece[:-1] + bytes([piece[-1] ^ 1]))]


def _dropped(wire: Wire) -> list[bytes]:
    events = wire.whole()
    return events[:3] + events[5:]


def _swapped(wire: Wire) -> list[bytes]:
    events = wire.whole()
    events[3], events[5] = events[5], events[3]
    return events


def _repeated(wire: Wire) -> list[bytes]:
    events = wire.whole()
    return events[:4] + events[3:]


def _second_key(wire: Wire) -> list[bytes]:
    other = StreamSealer(wire.to)
    return [*wire.cut()[:3], other.init(), *(other.event(each) for each in wire.lines[2:])]


def _foreign_key(wire: Wire) -> list[bytes]:
    stranger = StreamSealer(MLKEM768PrivateKey.generate().public_key())
    return [stranger.init(), *wire.events]


def _late_init(wire: Wire) -> list[bytes]:
    init, first, *rest = wire.whole()
    return [first, init, *rest]


def _short_init(wire: Wire) -> list[bytes]:
    return [sealed_event("e2e_init", wire.sealer.ciphertext[:-1]), *wire.events]


HOSTILE: Mapping[str, Callable[[Wire], list[bytes]]] = {
    "eof_without_done": Wire.cut,
    "eof_at_once": lambda _wire: [],
    "eof_after_init": lambda wire: [wire.init],
    "outer_done_only": lambda wire: wire.cut(_DONE),
    "outer_done_in_the_middle": lambda wire: wire.whole(2, _DONE),
    "tag_flipped": _flipped,
    "event_dropped": _dropped,
    "events_swapped": _swapped,
    "event_repeated": _repeated,
    "second_init_same": lambda wire: wire.whole(2, wire.init),
    "second_init_other_key": _second_key,
    "e2e_before_init": _late_init,
    "init_for_other_key": _foreign_key,
    "init_bad_length": _short_init,
    "e2e_not_base64": lambda wire: wire.whole(0, b'data: {"e2e":"%%%"}\n\n'),
    "e2e_too_short": lambda wire: wire.whole(0, sealed_event("e2e", bytes(20))),
    "plain_chunk_injected": lambda wire: wire.whole(2, _FORGED),
    "plain_error_event": lambda wire: [*wire.cut()[:3], _ERROR],
    "plain_error_before_init": lambda _wire: [_ERROR],
    "usage_forged": lambda wire: wire.whole(2, _USAGE),
    "comment_and_ping_lines": lambda wire: [_PING, *wire.whole(2, _PING)],
    "crlf_lines": lambda wire: [each.replace(b"\n", b"\r\n") for each in wire.whole()],
    "extra_event_after_done": lambda wire: [*wire.whole(), wire.sealer.event(_FORGED)],
    "no_space_after_colon": lambda wire: [each.replace(b": ", b":", 1) for each in wire.whole()],
    "partial_last_line": lambda wire: wire.cut(wire.sealer.event(b"data: [DONE]\n").rstrip()),
}
