"""A client of the soak test: some of its visits disconnect, read slowly or stay silent."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from time import monotonic
from typing import Final
from weakref import WeakSet

from tests.rigs.soak.connections import ClientConnection
from tests.rigs.soak.ledger import Ledger
from tests.rigs.soak.observations import Observed
from tests.rigs.soak.requests import RequestGenerator, SoakRequest

_SMALL_WINDOW: Final = 4_096
_LARGE, _TOO_LARGE = 1_000_000, 8_000_000
"""Sizes of a response that a slow client reads completely, and of one that exceeds all buffers."""


class Client:
    """One client: visits to the router, one after the other, until `stop`.

    Its behaviour depends on the seed and its number alone, not on the other clients.
    """

    def __init__(self, number: int, port: int, seed: int, ledger: Ledger, think: float) -> None:
        """`think` is the mean of the seconds between two visits."""
        self._port = port
        self._ledger = ledger
        self._requests = RequestGenerator(seed, number)
        self._rng = Random(f"clients/{seed}/{number}")
        self._think = think
        self._stopped = False
        self._connections: WeakSet[ClientConnection] = WeakSet()
        self.visits: Counter[str] = Counter()
        self.unreachable = 0
        self.kinds: dict[str, tuple[int, Callable[[], Awaitable[None]]]] = {
            "keep-alive": (450, self._keep_alive),
            "one request": (200, self._one),
            "pipelining": (80, self._pipelining),
            "leaving": (120, self._leaving),
            "slow": (40, self._slow),
            "stalling": (6, self._stalling),
            "silent": (20, self._silent),
            "wrong": (70, self._wrong),
        }

    @property
    def request_count(self) -> int:
        """The number of requests so far."""
        return self._requests.made

    def stop(self) -> None:
        """Start no further visit."""
        self._stopped = True

    def leave(self) -> None:
        """Disconnect now, even while a response is outstanding."""
        for each in list(self._connections):
            each.give_up()

    async def live(self) -> None:
        """Make visits until stopped."""
        names = [*self.kinds]
        weights = [weight for weight, _ in self.kinds.values()]
        while not self._stopped:
            (name,) = self._rng.choices(names, weights)
            self.visits[name] += 1
            try:
                await self.kinds[name][1]()
            except OSError:
                self.unreachable += 1
            await asyncio.sleep(self._rng.uniform(0, 2 * self._think))

    def _connection(self, window: int = 0) -> ClientConnection:
        connection = ClientConnection(self._port, self._ledger, window)
        self._connections.add(connection)
        return connection

    # -- visits that wait for the response

    async def _keep_alive(self) -> None:
        async with self._connection() as connection:
            for _ in range(self._rng.randint(1, 8)):
                if connection.open and not self._stopped:
                    await connection.request(self._requests.next())

    async def _one(self) -> None:
        async with self._connection() as connection:
            await connection.request(self._requests.next(closing=self._rng.random() < 0.5))

    async def _wrong(self) -> None:
        async with self._connection() as connection:
            await connection.request(self._requests.wrong())

    async def _pipelining(self) -> None:
        """Send several requests at once; one of them may be refused."""
        count = self._rng.randint(2, 4)
        requests = [self._requests.next(small=True) for _ in range(count)]
        async with self._connection() as connection:
            began = self._begin(*requests)
            await connection.send(b"".join(each.encode() for each in requests))
            for each in requests:
                await connection.receive(each, began)

    # -- visits that do not

    async def _leaving(self) -> None:
        """Disconnect in the request, before the response or within it; or close one half."""
        request, rng = self._requests.next(), self._rng
        encoded, kind = request.encode(), rng.random()
        async with self._connection() as connection:
            began = self._begin(request)
            if kind < 0.2:
                await connection.send(encoded[: rng.randrange(len(encoded))])
                await asyncio.sleep(rng.choice((0.0, 0.02)))
                connection.leave(reset=rng.random() < 0.5)
                self._left(connection, request, began, sent=False)
            elif kind < 0.5:
                await connection.send(encoded)
                await asyncio.sleep(rng.choice((0.0, 0.01, 0.3)))
                connection.leave(reset=rng.random() < 0.5)
                self._left(connection, request, began)
            elif kind < 0.6:
                await connection.send(encoded)
                connection.half_close()
                await connection.receive(request, began, left=True)
            else:
                await connection.send(encoded)
                await connection.receive(request, began, leave_at=rng.randint(1, 4_000))
                connection.leave(reset=rng.random() < 0.5)

    def _begin(self, *requests: SoakRequest) -> float:
        for each in requests:
            self._ledger.opened(each)
        return monotonic()

    def _left(
        self, connection: ClientConnection, request: SoakRequest, began: float, *, sent: bool = True
    ) -> None:
        connection.note(request, Observed(began, monotonic(), left=True, sent=sent))

    # -- slow visits

    async def _slow(self) -> None:
        """Read a large response in small portions."""
        request = self._requests.next(slow_client=_LARGE)
        async with self._connection(_SMALL_WINDOW * 4) as connection:
            began = self._begin(request)
            await connection.send(request.encode())
            await connection.receive(request, began, pace=lambda: self._rng.choice((0, 0, 0.005)))

    async def _stalling(self) -> None:
        """Read the beginning of a large response, then pause longer than the router allows."""
        request = self._requests.next(slow_client=_TOO_LARGE)
        async with self._connection(_SMALL_WINDOW) as connection:
            began = self._begin(request)
            await connection.send(request.encode())
            pauses = iter((0.0, 0.0, 3.5))
            await connection.receive(request, began, pace=lambda: next(pauses, 0.0))

    async def _silent(self) -> None:
        """Send nothing, or an incomplete request; the router must close."""
        begun = self._rng.choice((b"", b"POST /v1/chat", b"POST / HTTP/1.1\r\nHost: soak\r\n"))
        async with self._connection() as connection:
            await connection.send(begun)
            if not await connection.closes():
                self._ledger.violation("silent client", f"not cut off: {begun!r}")
