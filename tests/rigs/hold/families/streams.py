"""Event streams of an upstream that are dear to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.rigs.hold.input import MB, MIB, Input, Reads, Wire
from tests.rigs.hold.wire import JSON, MODELS, event_stream, filled, stream_request

_DIRECT: Final = stream_request(MODELS[0])
_LIST: Final = stream_request(",".join(MODELS[:2]))
_COMPLETE: Final = stream_request(",".join(MODELS[:2]), "X-Autopilot-Commit: complete")
_STREAM_MEMORY: Final = 4 * MIB
_HELD_MEMORY: Final = 32 * MIB

_TOKEN: Final = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
_ROLE: Final = b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'


@dataclass(frozen=True, slots=True)
class Shape:
    """A stream of any size: a beginning, a unit that is repeated, and an end."""

    name: str
    before: bytes
    unit: bytes
    after: bytes = b""
    chunk: int = 65_536
    further: bool = False
    """Whether it is also played with other settings."""

    def of(self, size: int) -> Wire:
        """Return the response with a stream of about this size."""
        return lambda: event_stream(
            filled(self.before, self.unit, self.after, size), chunk=self.chunk
        )


SHAPES: Final = (
    Shape("honest tokens", _ROLE, _TOKEN, b"data: [DONE]\n\n", further=True),
    Shape("{ lines", _TOKEN, b"{\n", further=True),
    Shape("{ lines before content", b"", b"{\n"),
    Shape("empty lines before content", b"", b"\n", further=True),
    Shape("empty lines", _TOKEN, b"\n"),
    Shape("CR alone", b"", b"\r"),
    Shape("CR LF before content", b"", b"\r\n"),
    Shape(": lines before content", b"", b":\n"),
    Shape(": lines", _TOKEN, b":\n"),
    Shape("comments", b"", b": ping\n\n"),
    Shape("one comment", b"", b":" + b"x" * 1000),
    Shape("one line without an end", b"", b"data: " + b"x" * 1000),
    Shape("one event of one line", b"data: {", b'"a":0,', b'"b":0}\n\n'),
    Shape("one event of many lines", b"", b"data: x\n", b"\n", further=True),
    Shape("one event of empty lines of data", b"", b"data\n", b"\n"),
    Shape("one event of { lines", b"", b"data: {\n", b"\n"),
    Shape("role events", b"", _ROLE, further=True),
    Shape("empty events", b"", b"data: {}\n\n"),
    Shape("events that are no JSON", b"", b"data: {\n\n"),
    Shape("event names", b"", b"event: error\n"),
    Shape("ids", b"", b"id: 1\n"),
    Shape("blanks", b"", b" "),
    Shape("a blank and a brace", b"", b" {\n"),
    Shape("brackets", b"", b"[\n"),
    Shape("one error that does not end", b'{"error":{', b'"a":0,\n'),
    Shape("errors after content", _TOKEN, b'data: {"error":{"message":"x"}}\n\n', further=True),
    Shape("nested event", _TOKEN + b'data: {"choices":', b"[", b"\n\n"),
    Shape("half of {error on each line", _TOKEN, b'{"error"\n'),
    Shape("detail on each line", _TOKEN, b'{"detail":\n'),
)


def _inputs(shape: Shape) -> tuple[Input, ...]:
    def one(kind: str, request: Wire, memory: int, *setups: str) -> Input:
        return Input(
            family="streams",
            name=f"{shape.name}, 4 MB, {kind}",
            request=request,
            response=shape.of(4 * MB),
            memory=memory,
            setups=setups,
            seconds=60.0,
        )

    strict, tls = (("strict",), ("upstream TLS", "TLS")) if shape.further else ((), ())
    return (
        one("direct", _DIRECT, _STREAM_MEMORY, "own", *strict),
        one("list", _LIST, _STREAM_MEMORY, "own", *tls),
        one("complete", _COMPLETE, _HELD_MEMORY, "own", *strict),
    )


def _other(name: str, response: Wire, reads: Reads = Reads.ALL, connections: int = 1) -> Input:
    return Input(
        family="streams",
        name=name,
        request=_DIRECT,
        connections=connections,
        response=response,
        reads=reads,
        stay=1.0 if reads is Reads.NOTHING else 0.0,
        memory=_STREAM_MEMORY * connections,
        setups=("own", "upstream TLS"),
        seconds=60.0,
    )


INPUTS = (
    *(each for shape in SHAPES for each in _inputs(shape)),
    _other("tokens in chunks of a byte, 200 KB", Shape("", _ROLE, _TOKEN, chunk=1).of(200_000)),
    _other("{ lines in chunks of 2 bytes, 200 KB", Shape("", _TOKEN, b"{\n", chunk=2).of(200_000)),
    _other("32 MB of tokens, unread", Shape("", _ROLE, _TOKEN).of(32 * MB), Reads.NOTHING),
    _other("10 × 4 MB of { lines", Shape("", _TOKEN, b"{\n").of(4 * MB), connections=10),
    _other(
        "a plain answer of 32 MB",
        lambda: JSON + b"Content-Length: %d\r\n\r\n" % (32 * MB) + b" " * (32 * MB),
    ),
    _other(
        "a plain answer of 4 MB of brackets",
        lambda: JSON + b"Content-Length: %d\r\n\r\n" % (4 * MB) + b"[" * (4 * MB),
    ),
)
