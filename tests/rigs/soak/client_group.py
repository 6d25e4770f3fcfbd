"""All clients of a run."""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.rigs.soak.clients import Client
from tests.rigs.soak.ledger import Ledger


class ClientGroup:
    """Concurrent clients: call `live` once, then `stop`, then `leave` to end the waiting ones."""

    def __init__(self, size: int, port: int, seed: int, ledger: Ledger, think: float) -> None:
        self._clients = [Client(number, port, seed, ledger, think) for number in range(size)]

    def live(self) -> list[asyncio.Task[None]]:
        """Start all clients; return their tasks."""
        return [asyncio.create_task(each.live()) for each in self._clients]

    def stop(self) -> None:
        """Start no further visit."""
        for each in self._clients:
            each.stop()

    def leave(self) -> None:
        """Disconnect all clients now."""
        for each in self._clients:
            each.leave()

    @property
    def request_count(self) -> int:
        """The number of requests so far."""
        return sum(each.request_count for each in self._clients)

    @property
    def unreachable(self) -> int:
        """The number of visits without a connection."""
        return sum(each.unreachable for each in self._clients)

    @property
    def visits(self) -> Counter[str]:
        """The number of visits by kind."""
        return sum((each.visits for each in self._clients), Counter())
