"""The requests, responses and time stamps that load and upstream exchange through a proxy.

Both sides use this module, so they cannot diverge. All parameters are standard members of the chat
completions API, which every proxy passes on: `seed` is the events per second of a stream and
`max_tokens` their number. A response contains the time at which it was sent; CLOCK_MONOTONIC is
shared by all processes of a machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

STAMP_DIGITS: Final = 20
STAMP: Final = re.compile(rb'"content": ?"(\d{20})"')
"""Matches the stamp of each event; some proxies re-encode the JSON, with a space."""

FRAMING: Final = re.compile(rb"\r\n[0-9a-fA-F]+\r\n")
"""Matches the end of a chunk and the next one's size; events contain no carriage return."""

DONE: Final = b"[DONE]"
LAST_CHUNK: Final = b"0\r\n\r\n"
UNARY_BYTES: Final = 2048
DEFAULT_BODY_BYTES: Final = 600

_MEMBERS: Final = re.compile(rb'"(model|stream|seed|max_tokens)": ?("[^"]*"|\w+)')
_MARK: Final = "<stamp>"
_ONE_READ: Final = 600
_WHOLE: Final = (b"}\n\n\r\n", b"}\n\n")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The parameters of a request. `seed` is None unless it is a stream."""

    model: bytes
    seed: int | None
    events: int


@dataclass(frozen=True, slots=True)
class Templates:
    """The responses for one model; a stamp goes between each `before` and `after`."""

    unary_before: bytes
    unary_after: bytes
    event_before: bytes
    event_after: bytes
    ending: bytes


STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: text/event-stream\r\n"
    b"Cache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


def json_head(status: str, size: int) -> bytes:
    """Return the head of a response with `size` bytes of JSON."""
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    ).encode()


def templates(model: str) -> Templates:
    """Return the responses for `model`, built once and completed with a stamp each time."""
    before, after = _unary(model)
    event = f"data: {_event(model, {'content': _MARK}, None)}\n\n"
    size = len(event.encode()) - len(_MARK) + STAMP_DIGITS
    event_before, event_after = f"{size:x}\r\n{event}\r\n".encode().split(_MARK.encode())
    finish = f"data: {_event(model, {}, 'stop')}\n\ndata: [DONE]\n\n".encode()
    ending = b"%x\r\n%b\r\n%b" % (len(finish), finish, LAST_CHUNK)
    return Templates(before, after, event_before, event_after, ending)


def _event(model: str, delta: Mapping[str, str], finish: str | None) -> str:
    value = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return json.dumps(value, separators=(",", ":"))


def _unary(model: str) -> tuple[bytes, bytes]:
    message = {"role": "assistant", "content": ""}
    value = {
        "id": f"chatcmpl-{_MARK}",
        "object": "chat.completion",
        "created": 1700000000,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 400, "total_tokens": 500},
    }
    size = len(json.dumps(value).encode()) - len(_MARK) + STAMP_DIGITS
    message["content"] = "x" * max(0, UNARY_BYTES - size)
    body = json.dumps(value).encode()
    head = json_head("200 OK", len(body) - len(_MARK) + STAMP_DIGITS)
    before, after = (head + body).split(_MARK.encode())
    return before, after


def chat_request(
    *,
    host: str,
    path: str,
    model: str,
    headers: Mapping[str, str] | None = None,
    body_bytes: int | None = None,
    seed: int | None = None,
    events: int = 0,
) -> bytes:
    """Return a request with a body padded to `body_bytes`; for a stream if `seed` is given."""
    message = {"role": "user", "content": ""}
    value: dict[str, object] = {"model": model, "messages": [message]}
    if seed is not None:
        value |= {"stream": True, "max_tokens": events, "seed": seed}
    wanted = DEFAULT_BODY_BYTES if body_bytes is None else body_bytes
    message["content"] = "x" * max(1, wanted - len(json.dumps(value)))
    body = json.dumps(value).encode()
    lines = {
        "Host": host,
        "Content-Type": "application/json",
        "Accept": "application/json" if seed is None else "text/event-stream",
        "Content-Length": str(len(body)),
        **(headers or {}),
    }
    head = "".join(f"{name}: {text}\r\n" for name, text in lines.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def wanted(body: bytes) -> Wanted:
    """Return what a request body asks for, given all of it or its first and last part."""
    members = dict(_MEMBERS.findall(body))
    model = members.get(b"model", b'"unknown"')[1:-1]
    if members.get(b"stream") != b"true":
        return Wanted(model, None, 0)
    return Wanted(model, int(members.get(b"seed", b"0")), int(members.get(b"max_tokens", b"1")))


def is_whole(data: bytes) -> bool:
    """Return whether a read is one or two events in whole chunks, as nearly every read is."""
    return len(data) < _ONE_READ and data.endswith(_WHOLE)


def split_events(data: bytes) -> tuple[bytes, bytes]:
    """Return the complete events in `data` without chunk framing, and the unparsed rest.

    Proxies may split the stream anywhere, even within a stamp; the rest precedes the next read.
    """
    cut = data.rfind(b"\n\n") + 2
    if cut == 1:
        return b"", data
    rest = data[cut:]
    return FRAMING.sub(b"", data[:cut]), b"" if rest == b"\r\n" else rest
