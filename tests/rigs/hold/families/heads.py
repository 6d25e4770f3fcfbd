"""Response heads of an upstream."""

from __future__ import annotations

from tests.rigs.hold.input import KIB, MB, MIB, Input, Wire
from tests.rigs.hold.wire import MODELS, chat, numbered, post

_BODY = b'{"choices":[]}'
_END = b"Content-Length: %d\r\n\r\n" % len(_BODY) + _BODY
_TLS = "upstream TLS"
_START = b"HTTP/1.1 200 OK\r\n"


def _head(fields: bytes) -> Wire:
    return lambda: _START + fields + _END


def _input(name: str, response: Wire, *further: str) -> Input:
    return Input(
        family="heads",
        name=name,
        request=lambda: post(chat(",".join(MODELS[:2]))),
        response=response,
        answers=frozenset({200, 502, 504}),
        memory=4 * MIB,
        setups=("own", *further),
    )


INPUTS = (
    _input("an honest head", _head(b""), _TLS),
    _input("90 fields", _head(numbered("x-{0}: {0}\r\n", 90)), _TLS),
    _input("10,000 fields", _head(numbered("x-{0}: {0}\r\n", 10_000)), _TLS),
    _input("200,000 fields of one name", lambda: _START + b"a: b\r\n" * 200_000 + _END),
    _input("90 cookies of 600 bytes", lambda: _START + b"set-cookie: %b\r\n" % (b"c" * 600) * 90),
    _input("one field of 60 KiB", lambda: _START + b"x: " + b"v" * 60 * KIB + b"\r\n" + _END),
    _input("one field of 4 MB", lambda: _START + b"x: " + b"v" * 4 * MB + b"\r\n" + _END),
    _input("a name of 4 MB", lambda: _START + b"n" * 4 * MB + b": v\r\n" + _END),
    _input("a reason of 4 MB", lambda: b"HTTP/1.1 200 " + b"O" * 4 * MB + b"\r\n" + _END),
    _input("a content type of 60 KiB", lambda: _START + _type(60 * KIB) + _END),
    _input("Connection names 9,000 fields", lambda: _START + _connection() + _END),
    _input("10,000 × 102", lambda: b"HTTP/1.1 102 Processing\r\n\r\n" * 10_000 + _START + _END),
    _input("200,000 × 100", lambda: b"HTTP/1.1 100 Continue\r\n\r\n" * 200_000 + _START + _END),
    _input("1,000 × 103 with fields", lambda: _hints() * 1000 + _START + _END),
    _input("empty lines, 4 MB", lambda: b"\r\n" * (2 * MB) + _START + _END),
    _input("no HTTP, 4 MB", lambda: b"x" * 4 * MB),
    _input("100,000 responses to one request", lambda: (_START + _END) * 100_000),
    _input("4 MB behind the response", lambda: _START + _END + b"x" * 4 * MB, _TLS),
    _input(
        "trailers of 4 MB",
        lambda: _START + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * (4 * MB // 6),
    ),
)


def _type(size: int) -> bytes:
    return b"Content-Type: application/json;" + b" a=b;" * (size // 5) + b"\r\n"


def _connection() -> bytes:
    return b"Connection: keep-alive" + numbered(", x{}", 9000) + b"\r\n"


def _hints() -> bytes:
    return b"HTTP/1.1 103 Early Hints\r\n" + numbered("link: <{}>\r\n", 50) + b"\r\n"
