"""A client's connection: sends requests, and reports each response to the ledger."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Final, Self

from tests.rigs.soak.ledger import Ledger
from tests.rigs.soak.observations import Observed
from tests.rigs.soak.requests import SoakRequest
from tests.rigs.soak.response_parser import NotHttpError, ResponseParser

HOST: Final = "127.0.0.1"
PATIENCE: Final = 45.0
"""Seconds after which a response counts as never ending; far above every deadline of the run."""

_READ: Final = 65_536
_LINGER: Final = struct.pack("ii", 1, 0)


class ClientConnection:
    """One connection to the router; ``open`` until either side closes it."""

    def __init__(self, port: int, ledger: Ledger, window: int = 0) -> None:
        """`window` is the size of the receive buffer."""
        self._port = port
        self._ledger = ledger
        self._window = window
        self._rest = b""
        self._gone = asyncio.Event()
        self.open = True

    async def __aenter__(self) -> Self:
        sock = socket.socket()
        sock.setblocking(False)
        if self._window:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._window)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (HOST, self._port))
        except OSError:
            sock.close()
            raise
        limit = self._window or _READ
        self._reader, self._writer = await asyncio.open_connection(sock=sock, limit=limit)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._writer.is_closing():
            self._writer.transport.abort()

    def leave(self, *, reset: bool) -> None:
        """Close the connection now."""
        self.open = False
        transport = self._writer.transport
        if transport.is_closing():
            return
        if reset:
            found = self._writer.get_extra_info("socket")
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        transport.abort()  # this discards unsent bytes

    def give_up(self) -> None:
        """Stop waiting for a response; the receiver counts as disconnected."""
        self._gone.set()
        if self.open:
            self.leave(reset=False)

    def half_close(self) -> None:
        """Close the sending half."""
        self._writer.write_eof()

    async def send(self, data: bytes) -> None:
        """Send bytes; if the router has closed, the next read reports it."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError:
            return

    async def request(self, request: SoakRequest) -> Observed:
        """Send one request and read its response."""
        self._ledger.opened(request)
        began = monotonic()
        async with asyncio.TaskGroup() as tasks:
            # The response may arrive before the request is sent, and must be read then.
            tasks.create_task(self.send(request.encode()))
            receiving = tasks.create_task(self.receive(request, began))
        return receiving.result()

    async def receive(
        self,
        request: SoakRequest,
        began: float,
        *,
        leave_at: int | None = None,
        pace: Callable[[], float] | None = None,
        left: bool = False,
    ) -> Observed:
        """Read the response to a request and report it; with `leave_at`, only that many bytes.

        `pace` gives the seconds to wait before each read. `left`: the client counts as
        disconnected.
        """
        reading, first, total, wrong, late = ResponseParser(), None, 0, "", False
        data, self._rest = self._rest, b""
        orphan = not (self.open or self._gone.is_set())
        try:
            async with asyncio.timeout(PATIENCE):
                while self.open and not reading.whole:
                    if leave_at is not None and total >= leave_at:
                        left = True
                        break
                    if not data:
                        data = await self._read(pace, leave_at)
                    if not data:
                        self.open = False
                        break
                    first = first or monotonic()
                    total += len(data)
                    reading.feed(data)
                    data = b""
        except TimeoutError:
            late, self.open = True, False
        except NotHttpError as error:
            wrong, self.open = str(error), False
        self._rest = reading.rest
        if reading.whole and "close" in reading.fields.get("connection", ()):
            self.open = False
        return self.note(
            request,
            Observed(
                began,
                monotonic(),
                first,
                reading.status,
                reading.fields,
                bytes(reading.body),
                reading.whole,
                left=(left or self._gone.is_set()) and not reading.whole,
                orphan=orphan,
                late=late,
                wrong=wrong,
            ),
        )

    def note(self, request: SoakRequest, seen: Observed) -> Observed:
        """Report an observation to the ledger."""
        self._ledger.seen(request.nonce, seen)
        return seen

    async def _read(self, pace: Callable[[], float] | None, most: int | None) -> bytes:
        if pace is not None and (pause := pace()):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), pause)
        try:
            return await self._reader.read(min(self._window or _READ, most or _READ))
        except OSError:
            return b""

    async def closes(self) -> bool:
        """Return whether the router closes, after at most an error that explains why."""
        reading = ResponseParser()
        try:
            async with asyncio.timeout(PATIENCE):
                while data := await self._reader.read(_READ):
                    reading.feed(data)
        except (TimeoutError, NotHttpError):
            return False
        except OSError:
            return True
        return reading.status in (None, 408)
