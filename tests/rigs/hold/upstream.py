"""The upstream, in a process of its own: feeds, and the response that each input defines."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import ssl
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection as Pipe
from typing import Any, Final

from tests.rigs.hold import feeds
from tests.rigs.hold.input import FeedBodies, Input
from tests.rigs.hold.wire import (
    CHUNKED,
    DONE,
    JSON,
    NUMBER_FIELD,
    SSE,
    TIMED_FIELD,
    answered,
)
from tests.rigs.smoke.client import HOST

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_NUMBER: Final = re.compile(rb"\r\n" + NUMBER_FIELD.encode() + rb": *(\d+)\r\n", re.IGNORECASE)
_TIMED: Final = re.compile(rb"\r\n" + TIMED_FIELD.encode() + rb": *(\d+)\r\n", re.IGNORECASE)
RECEIVED_FIELD: Final = "x-rig-received"
"""The field of a timed response: when the upstream had received the request, in nanoseconds."""
EVENT: Final = b'data: {"choices":[{"index":0,"delta":{"content":"%d"}}]}\n\n'
"""An event of a timed stream: when the upstream sent it, in nanoseconds."""
EVENT_PAUSE: Final = 0.025
_HONEST: Final = answered(
    b'{"choices":[{"index":0,"message":{"role":"assistant","content":"hello"},'
    b'"finish_reason":"stop"}]}'
)
_NOT_FOUND: Final = answered(b"{}", JSON.replace(b"200 OK", b"404 Not Found"))
_BACKLOG: Final = 4096


class Upstream:
    """What it serves. The number of an input selects the response."""

    def __init__(self, inputs: Sequence[Input], models: int) -> None:
        self._inputs = inputs
        self._models = models
        self._wires: dict[int, bytes] = {}
        self._catalog = self._utilization = b""
        self.serve(FeedBodies())

    def prepare(self, numbers: Sequence[int]) -> None:
        """Build the bytes of these inputs, and forget all others; serve the last one's feeds."""
        self._wires = {
            number: response()
            for number in numbers
            if (response := self._inputs[number].response) is not None
        }
        found = [given for number in numbers if (given := self._inputs[number].feeds) is not None]
        self.serve(found[-1] if found else FeedBodies())

    def serve(self, bodies: FeedBodies) -> None:
        """Serve these feeds from now on."""
        catalog, utilization = bodies.catalog, bodies.utilization
        self._catalog = answered(catalog() if catalog else feeds.catalog(self._models))
        self._utilization = answered(
            utilization() if utilization else feeds.utilization(self._models)
        )

    def response(self, head: bytes) -> tuple[bytes, bool]:
        """Return the response to a request, and whether the connection stays open."""
        if head.startswith(b"GET /v1/models"):
            return self._catalog, True
        if head.startswith(b"GET /chutes/utilization"):
            return self._utilization, True
        if head.startswith(b"GET "):
            return _NOT_FOUND, True
        found = _NUMBER.search(head)
        number = int(found.group(1)) if found else -1
        if number not in self._wires:
            return _HONEST, True
        return self._wires[number], self._inputs[number].upstream_stays


class UpstreamConnection(asyncio.Protocol):
    """One connection of the router."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._head = b""
        self._missing = -1

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.Protocol`."""
        self._transport: asyncio.Transport = transport

    def data_received(self, data: bytes) -> None:
        """Count the bytes of a body, and respond at its end."""
        if self._missing < 0:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            head, data = self._head[: end + 2], self._head[end + 4 :]
            found = _LENGTH.search(head)
            self._head, self._missing = head, int(found.group(1)) if found else 0
        self._missing -= len(data)
        if self._missing <= 0:
            head, self._head, self._missing = self._head, b"", -1
            if (timed := _TIMED.search(head)) is not None:
                self._send_timed(int(timed.group(1)))
                return
            wire, stays = self._upstream.response(head)
            self._transport.write(wire)
            if not stays:
                self._transport.close()

    def _send_timed(self, events: int) -> None:
        """Send a stream whose head and events say when they were sent."""
        received = b"%b: %d\r\n" % (RECEIVED_FIELD.encode(), time.monotonic_ns())
        self._transport.write(SSE + received + CHUNKED)
        loop = asyncio.get_running_loop()
        for number in range(1, events + 1):
            loop.call_later(number * EVENT_PAUSE, self._send_event, number == events)

    def _send_event(self, last: bool) -> None:
        event = EVENT % time.monotonic_ns()
        self._transport.write(b"%x\r\n%b\r\n" % (len(event), event))
        if last:
            self._transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(DONE), DONE))


def serve(
    pipe: Pipe,
    inputs: Sequence[Input],
    models: int,
    sockets: Sequence[tuple[socket.socket, ssl.SSLContext | None]],
) -> None:
    """Serve on these sockets until the pipe closes; a number in it is the next input."""
    asyncio.run(_serve(pipe, Upstream(inputs, models), sockets))


async def _serve(
    pipe: Pipe,
    upstream: Upstream,
    sockets: Sequence[tuple[socket.socket, ssl.SSLContext | None]],
) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()

    def command() -> None:
        try:
            upstream.prepare(pipe.recv())
        except EOFError:
            loop.remove_reader(pipe.fileno())
            over.set()
            return
        pipe.send("ready")

    for listening, tls in sockets:
        await loop.create_server(
            lambda: UpstreamConnection(upstream), sock=listening, ssl=tls, backlog=_BACKLOG
        )
    loop.add_reader(pipe.fileno(), command)
    pipe.send("ready")
    with contextlib.suppress(asyncio.CancelledError):
        await over.wait()
    os._exit(0)  # not the caller's cleanup: the process was forked


def listener() -> socket.socket:
    """Return a socket that listens on any port."""
    return socket.create_server((HOST, 0), backlog=_BACKLOG)
