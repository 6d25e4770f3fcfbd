"""Counts of what the interpreter does, for bounds that no fast machine can hide."""

from __future__ import annotations

import sys
from collections.abc import Callable

CHUNK = 65536
"""The most that one read of a socket returns."""

# Lines and events that cost much each, if each is read.
HOSTILE = (
    b"{\n",
    b"{\r\n",
    b"{\r",
    b"{}\n",
    b"[]\r",
    b"  {\n",
    b'{"a":1}\n\n',
    b'{"a":1},\n',
    b'{"error":null}\n',
    b"\n",
    b"\r",
    b"\r\n",
    b" ",
    b" \n",
    b":\n",
    b":\n\n",
    b"x\r",
    b"event: a\n",
    b"event: a\n\n",
    b"data: x\n",
    b"data: {\n",
    b"data: {}\n",
    b"data:\n\n",
    b"data: {}\n\n",
    b"data: {}\r\n\r\n",
    b"data: {}\r\r",
    b'data: "error"\n\n',
    b'data: "[DONE]"\n\n',
    b'data: {"error":1}\n',
    b'data: {"choices":[{"finish_reason":"stop"}]}\n\n',
    b'data: {"choices":[{"delta":{"content":"error"}}]}\r\n\r\n',
    b'data: {"type":"x","failed":1}\n\n',
    b'{"a":[\n' + b"{}\n" * 20_000 + b"data: x\n\n",
)


def chunk_of(piece: bytes) -> bytes:
    """Return as many of ``piece`` as fit into a chunk, at least one."""
    return piece * max(1, CHUNK // len(piece))


def calls(function: Callable[..., object], *arguments: object) -> int:
    """Return how often the interpreter enters or leaves a function, those in C included."""
    count = 0

    def step(*_: object) -> None:
        nonlocal count
        count += 1

    before = sys.getprofile()
    sys.setprofile(step)
    try:
        function(*arguments)
    finally:
        sys.setprofile(before)
    return count
