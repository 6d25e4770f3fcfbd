"""Requests that arrive in small pieces, with much framing, or not at all."""

from __future__ import annotations

from tests.rigs.hold.input import KIB, MB, MIB, Input, Reads, Wire
from tests.rigs.hold.wire import CHAT, chat, chunked_post, filled, head, numbered, post

_BOTH = ("own", "embedded")
_TWISTED = ("embedded",)
_OK = frozenset({200})
# Twisted's channel closes the connection without a response.
_REFUSED = frozenset({0, 400, 413, 431})


def _body(size: int) -> Wire:
    before, after = chat().split(b"hello")
    return lambda: filled(before, b"word ", after, size)


def _in_chunks(size: int, chunk: int, extension: bytes = b"") -> Wire:
    return chunked_post(_body(size), chunk, extension)


def _fields(count: int, size: int) -> Wire:
    fields = [f"x-{number}: {'v' * size}" for number in range(count)]
    return lambda: post(chat(), CHAT, *fields)


def _begun(body: bytes, announced: int) -> Wire:
    """Return the beginning of a request."""
    return lambda: head("POST", CHAT, f"Content-Length: {announced}") + body


def _zeros() -> bytes:
    start = head("POST", CHAT, "Transfer-Encoding: chunked")
    return start + b"%b1\r\na\r\n" % (b"0" * 30) * 20_000 + b"0\r\n\r\n"


def _silent(name: str, request: Wire, connections: int, memory: int | None = None) -> Input:
    return Input(
        family="uploads",
        name=name,
        request=request,
        connections=connections,
        reads=Reads.NOTHING,
        stay=0.5,
        memory=memory,
        setups=_BOTH,
    )


def _chunks(
    name: str,
    request: Wire,
    memory: int | None = None,
    *,
    connections: int = 1,
    piece: int = 0,
    foreign: tuple[str, ...] = (),
) -> Input:
    return Input(
        family="uploads",
        name=name,
        request=request,
        memory=memory,
        answers=_OK | _REFUSED,
        setups=_BOTH if connections == 1 else (*_BOTH, "TLS"),
        connections=connections,
        piece=piece,
        foreign=foreign,
        seconds=90.0,
    )


INPUTS = (
    # Twisted's decoder takes 2.7 µs for each chunk: ten bodies have 2,046 each, and one read of a
    # body in chunks of two bytes has 9,362.
    _chunks(
        "10 KiB in chunks of a byte",
        _in_chunks(2 * KIB, 1),
        connections=10,
        foreign=_TWISTED,
    ),
    _chunks("1 MB in chunks of 2 bytes", _in_chunks(MB, 2), memory=8 * MB, foreign=_TWISTED),
    _chunks("4 MB in chunks of 2 bytes", _in_chunks(4 * MB, 2), memory=32 * MB, foreign=_TWISTED),
    _chunks("4 MB in chunks of 100 bytes", _in_chunks(4 * MB, 100), memory=32 * MB),
    _chunks("4 MB in chunks of 64 KiB", _in_chunks(4 * MB, 64 * KIB), memory=32 * MB),
    _chunks("32 MB in one chunk", _in_chunks(32 * MB, 32 * MB), memory=256 * MB),
    _chunks("2 KiB in segments of a byte", lambda: post(_body(2 * KIB)()), piece=1),
    _chunks("chunk extensions of 1 KiB", _in_chunks(20 * KIB, 20, b";" + b"x" * KIB)),
    _chunks("one chunk extension of 4 MB", _in_chunks(10, 10, b";" + b"x" * 4 * MB)),
    _chunks("sizes of chunks with 30 zeros", _zeros),
    _chunks("90 fields of 700 bytes", _fields(90, 700), connections=5),
    _chunks("22 fields of 64 KiB", _fields(22, 64 * KIB)),
    _chunks("10,000 fields", _fields(10_000, 1)),
    _chunks("one field of 4 MB", _fields(1, 4 * MB)),
    _chunks("Connection names 10,000 fields", lambda: post(chat(), CHAT, _connection_tokens())),
    _chunks("4 MB of empty lines", lambda: b"\r\n" * (2 * MB) + post(chat())),
    _chunks("a target of 4 MB", lambda: head("GET", "/v1/" + "a" * 4 * MB, "Connection: close")),
    _silent("22 heads of 64 KiB, not finished", lambda: _unfinished(63 * KIB), 22),
    _silent("50 bodies of 200 KB, not finished", _begun(b"x" * 200_000, MIB), 50, 50 * MB),
    _silent("20 bodies announced as 32 MB", _begun(b"", 32 * MB), 20),
    _silent("4 bodies of 8 MB, not finished", _begun(b"x" * 8 * MB, 32 * MB), 4, 128 * MB),
)


def _connection_tokens() -> str:
    return "Connection: close" + numbered(", x{}", 10_000).decode()


def _unfinished(size: int) -> bytes:
    return head("POST", CHAT).removesuffix(b"\r\n") + b"x-long: " + b"v" * size
