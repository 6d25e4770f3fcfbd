"""The upstream: performs an act for each request and records what it did."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from collections import deque
from random import Random
from time import monotonic
from typing import Any, Final

from tests.rigs.soak import faults
from tests.rigs.soak.acts import Act, Ending, Part, Step
from tests.rigs.soak.disturbances import Disturbances
from tests.rigs.soak.feeds import Feeds
from tests.rigs.soak.generation import Generation
from tests.rigs.soak.ledger import Ledger
from tests.rigs.soak.observations import Attempt

HOST: Final = "127.0.0.1"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_LINGER: Final = struct.pack("ii", 1, 0)
_BACKLOG: Final = 1024


class Upstream:
    """Listens on one port, with outages. Its acts depend on seed, nonce and model."""

    def __init__(
        self, port: int, seed: int, ledger: Ledger, disturbances: Disturbances, faulty: float
    ) -> None:
        self.port = port
        self.feeds = Feeds(seed)
        self.ledger = ledger
        self.weights = faults.weights(faulty)
        self.connections: set[Connection] = set()
        self.accepted = 0
        self.idle_closed = 0
        self.refusals = 0
        self.seed = seed
        self._disturbances = disturbances
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Accept connections."""
        listening = socket.create_server((HOST, self.port), backlog=_BACKLOG)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self), sock=listening, backlog=_BACKLOG
        )

    async def refuse(self, seconds: float) -> None:
        """Refuse connections for some seconds."""
        began = monotonic()
        self.refusals += 1
        self._stop()
        await asyncio.sleep(seconds)
        await self.open()
        self._disturbances.refused(began, monotonic())

    def close(self) -> None:
        """Stop listening and close every connection."""
        self._stop()
        for each in list(self.connections):
            each.drop()

    def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


class Connection(asyncio.Protocol):
    """One connection of the router: an act for each request, one after the other."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._received = bytearray()
        self._wanted = 0
        self._steps: deque[Step] = deque()
        self._act: Act | None = None
        self._attempt: Attempt | None = None
        self._timer: asyncio.Handle | None = None
        self._full = False
        self._requests = 0

    # -- callbacks of asyncio

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.Protocol`."""
        self._transport: asyncio.Transport = transport
        self._upstream.connections.add(self)
        self._upstream.accepted += 1

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._upstream.connections.discard(self)
        self._cancel()
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.by_router = True
            attempt.ended = monotonic()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._full = True

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._full = False
        if self._timer is None and self._act is not None:
            # Not synchronously: closing a transport within this callback closes it twice.
            self._timer = asyncio.get_running_loop().call_soon(self._play)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._received += data
        if self._act is None:
            self._read()

    # -- requests

    def _read(self) -> None:
        if not self._wanted:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            found = _LENGTH.search(self._received, 0, end + 2)
            self._wanted = end + 4 + (int(found.group(1)) if found else 0)
        if len(self._received) < self._wanted:
            return
        request = bytes(self._received[: self._wanted])
        del self._received[: self._wanted]
        self._wanted = 0
        self._cancel()
        self._requests += 1
        head, _, body = request.partition(b"\r\n\r\n")
        if head.startswith(b"GET "):
            self._perform(self._upstream.feeds.answer(head.split(b" ")[1].decode()))
        else:
            self._generate(body)

    def _generate(self, body: bytes) -> None:
        """Respond as the requested model, to the nonce in the request."""
        ledger = self._upstream.ledger
        try:
            asked = json.loads(body)
            nonce, model, stream = str(asked["user"]), str(asked["model"]), bool(asked["stream"])
        except (ValueError, KeyError, TypeError):
            ledger.violation("unknown", f"an unreadable request upstream: {body[:200]!r}")
            self.drop()
            return
        request = ledger.request(nonce)
        generation = (
            request.generation(model) if request is not None else Generation(nonce, model, 3)
        )
        rng = Random(f"{self._upstream.seed}/{nonce}/{model}")
        act = faults.choose(generation, stream, rng, self._upstream.weights)
        intact = request is not None and body == request.body(model)
        now = monotonic()
        attempt = Attempt(model, act, now, reused=self._requests > 1, intact=intact, spoke=now)
        ledger.attempted(nonce, attempt)
        self._attempt = attempt
        self._perform(act)

    # -- acts

    def _perform(self, act: Act) -> None:
        self._act = act
        self._steps.extend(act.steps)
        self._play()

    def _play(self) -> None:
        """Send the act up to the next pause, or until the transport is full."""
        self._timer = None
        while self._steps and not self._full:
            if self._transport.is_closing():
                return  # the router has closed
            step = self._steps.popleft()
            if not isinstance(step, Part):
                self._timer = asyncio.get_running_loop().call_later(step, self._play)
                return
            if self._attempt is not None:
                self._attempt.sent += len(step.wire)
                self._attempt.spoke = monotonic()
            self._transport.write(step.wire)
        if not self._steps and not self._full:
            self._end()

    def _end(self) -> None:
        act, attempt = self._act, self._attempt
        assert act is not None
        if attempt is not None:
            attempt.played = True
        if act.ending is Ending.HANG:
            return
        self._act = self._attempt = None
        if attempt is not None:
            attempt.ended = monotonic()
        match act.ending:
            case Ending.CLOSE:
                self._transport.close()
            case Ending.RESET:
                self._reset()
            case _:
                self._rest()

    def _rest(self) -> None:
        """Wait for another request; while faults are active, sometimes not for long."""
        if self._received:
            self._read()
            return
        rng = Random(f"{self._upstream.seed}/{self._upstream.accepted}/{self._requests}")
        if not self._upstream.feeds.calm and rng.random() < 0.2:
            delay = rng.choice((0.0, rng.uniform(0.0, 0.2), rng.uniform(0.2, 1.5)))
            self._timer = asyncio.get_running_loop().call_later(delay, self._close_idle)

    def _close_idle(self) -> None:
        self._timer = None
        self._upstream.idle_closed += 1
        self._transport.close()

    def _reset(self) -> None:
        found = self._transport.get_extra_info("socket")
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        self._transport.abort()

    def drop(self) -> None:
        """Close at once."""
        self._cancel()
        if not self._transport.is_closing():
            self._transport.abort()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
