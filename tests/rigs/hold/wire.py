"""Builders of requests, responses and bodies, all as lazy bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Final

from tests.rigs.hold.input import Wire

ALIAS: Final = "chutesai/AutoPilot"
MODELS: Final = ("acme/one", "acme/two", "acme/three")
CHAT: Final = "/v1/chat/completions"
NUMBER_FIELD: Final = "x-rig-input"
"""The field by which the upstream knows the input; the router relays it."""
TIMED_FIELD: Final = "x-rig-timed"
"""The field that requests a stream of as many events that say when they were sent."""

SSE: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
JSON: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED: Final = b"Transfer-Encoding: chunked\r\n\r\n"
DONE: Final = b"data: [DONE]\n\n"
_HOST: Final = "Host: localhost"
_KEY: Final = "Authorization: Bearer rig"
_CLOSE: Final = "Connection: close"


def head(method: str, path: str, *fields: str) -> bytes:
    """Return the head of a request."""
    lines = [f"{method} {path} HTTP/1.1", _HOST, _KEY, *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def post(body: bytes, path: str = CHAT, *fields: str) -> bytes:
    """Return a request with a body, the only one on its connection."""
    length = f"Content-Length: {len(body)}"
    return head("POST", path, length, "Content-Type: application/json", _CLOSE, *fields) + body


def get(path: str, times: int = 1, *, method: str = "GET", fields: Iterable[str] = ()) -> Wire:
    """Return as many equal requests; the last one closes the connection."""

    def wire() -> bytes:
        last = head(method, path, *fields, _CLOSE)
        return head(method, path, *fields) * (times - 1) + last

    return wire


def filled(before: bytes, unit: bytes, after: bytes, size: int) -> bytes:
    """Return ``before``, as many ``unit`` as make about ``size`` bytes, and ``after``."""
    return before + unit * max(1, (size - len(before) - len(after)) // len(unit)) + after


def chat(model: str = ALIAS, *, stream: bool = False, content: str = "hello") -> bytes:
    """Return the body of an honest chat request."""
    messages = [{"role": "user", "content": content}]
    return json.dumps({"model": model, "stream": stream, "messages": messages}).encode()


def stream_request(model: str, *fields: str) -> Wire:
    """Return a request for a stream."""
    return lambda: post(chat(model, stream=True), CHAT, *fields)


def in_chunks(body: bytes, size: int, extension: bytes = b"") -> bytes:
    """Return a chunked body, terminator included."""
    starts = range(0, len(body), size)
    pieces = (body[at : at + size] for at in starts)
    lines = (b"%x%b\r\n%b\r\n" % (len(each), extension, each) for each in pieces)
    return b"".join(lines) + b"0\r\n\r\n"


def chunked_post(body: Callable[[], bytes], size: int, extension: bytes = b"") -> Wire:
    """Return a request with a chunked body."""
    fields = ("Transfer-Encoding: chunked", "Content-Type: application/json", _CLOSE)
    return lambda: head("POST", CHAT, *fields) + in_chunks(body(), size, extension)


def numbered(template: str, count: int) -> bytes:
    """Return the template for each number below ``count``, joined."""
    return "".join(map(str.format, repeat(template, count), range(count))).encode()


def answered(body: bytes, start: bytes = JSON) -> bytes:
    """Return a response with a length."""
    return start + b"Content-Length: %d\r\n\r\n" % len(body) + body


def event_stream(body: bytes, *, chunk: int = 65_536, whole: bool = False) -> bytes:
    """Return an event stream in chunks; unless it is ``whole``, its terminators are missing."""
    if whole:
        return SSE + CHUNKED + in_chunks(body + DONE, chunk)
    return SSE + CHUNKED + in_chunks(body, chunk).removesuffix(b"0\r\n\r\n")
