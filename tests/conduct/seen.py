"""A response as a client receives it, from the bytes of its connection."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

WHOLE = "whole"
NO_MARK = "whole, no [DONE]"
CUT = "cut, error event"
_ADDED = b',"error":{"type":'
_MARK = b"data: [DONE]\n\n"
_WORD = re.compile(rb'"content":"[^"]')


@dataclass(frozen=True, slots=True)
class Seen:
    """One response.

    ``end``: ``WHOLE`` and ``NO_MARK`` ended cleanly; ``CUT`` did not, and its last event says so;
    "cut" ended without an event, "cut after [DONE]" after its terminator. ``text`` and ``tokens``
    are those of the events, ``models`` their models; ``code`` is that of an error; ``first_word``
    is the time of the first token.
    """

    status: int
    end: str
    text: str
    tokens: int
    models: frozenset[str]
    code: str | None
    usage: dict[str, Any] | None
    seconds: float
    headers: dict[str, str]
    body: bytes = field(repr=False)
    first_word: float | None = None

    @property
    def given(self) -> bytes:
        """The body without the `error` that the router adds to an error with `detail`."""
        before, found, _ = self.body.partition(_ADDED)
        return before + b"}" if found and before.startswith(b'{"detail":') else self.body


class Client(Protocol):
    """Receives one response."""

    def __init__(self, seconds: Callable[[], float] = lambda: 0.0) -> None:
        self._seconds = seconds
        self.received = b""
        self.over = False
        self.first_word: float | None = None

    def dataReceived(self, data: bytes) -> None:
        """Keep the bytes."""
        self.received += data
        if self.first_word is None and _WORD.search(data):
            self.first_word = self._seconds()
        head, _, body = self.received.partition(b"\r\n\r\n")
        length = _headers(head).get("content-length")
        whole = len(body) >= int(length) if length else body.endswith(b"0\r\n\r\n")
        self.over = self.over or (bool(head) and whole)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Record the end."""
        self.over = True


def seen(received: bytes, seconds: float, first_word: float | None = None) -> Seen:
    """Return the response in these bytes, which must contain its head."""
    head, _, rest = received.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 103"):
        head, _, rest = rest.partition(b"\r\n\r\n")
    headers = _headers(head)
    chunked = headers.get("transfer-encoding") == "chunked"
    length = int(headers.get("content-length", len(rest)))
    body, clean = _dechunked(rest) if chunked else (rest[:length], len(rest) >= length)
    streamed = "event-stream" in headers.get("content-type", "")
    events = _events(body) if streamed else [_object(body)]
    said = [word for event in events if (word := _word(event)) is not None]
    error = events[-1].get("error") if events else None
    return Seen(
        status=int(head.split(b" ", 2)[1]),
        end=_end(body, streamed=streamed, clean=clean, error=error is not None),
        text="".join(said),
        tokens=len(said),
        models=frozenset(event["model"] for event in events if event.get("model")),
        code=error.get("code") if isinstance(error, dict) else None,
        usage=next((e["usage"] for e in events if e.get("choices") == []), None),
        seconds=seconds,
        headers=headers,
        body=body,
        first_word=first_word,
    )


def _end(body: bytes, *, streamed: bool, clean: bool, error: bool) -> str:
    if clean:
        return WHOLE if not streamed or body.endswith(_MARK) else NO_MARK
    if _MARK in body:
        return "cut after [DONE]"
    return CUT if error and body.endswith(b"\n\n") else "cut"


def _headers(head: bytes) -> dict[str, str]:
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return {name.decode().lower(): value.strip().decode() for name, _, value in lines}


def _dechunked(rest: bytes) -> tuple[bytes, bool]:
    """Return the body so far, and whether its last chunk has arrived."""
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return body, True
        body, rest = body + rest[:length], rest[length + 2 :]
    return body, False


def _events(body: bytes) -> list[dict[str, Any]]:
    lines = (line for line in body.split(b"\n") if line.startswith(b"data: {"))
    return [_object(line.removeprefix(b"data: ")) for line in lines]


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _word(event: dict[str, Any]) -> str | None:
    for choice in event.get("choices") or ():
        content = choice.get("delta", {}).get("content")
        if content:
            return str(content)
    return None
