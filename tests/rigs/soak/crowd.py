"""All clients of a run."""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.rigs.soak.clients import Client
from tests.rigs.soak.ledger import Ledger


class Crowd:
    """So many clients at a time; `live` once, then `stop` and, for those who wait, `leave`."""

    def __init__(self, size: int, port: int, seed: int, ledger: Ledger, think: float) -> None:
        self._clients = [Client(number, port, seed, ledger, think) for number in range(size)]

    def live(self) -> list[asyncio.Task[None]]:
        """Begin; a task for each client."""
        return [asyncio.create_task(each.live()) for each in self._clients]

    def stop(self) -> None:
        """Begin no further visit."""
        for each in self._clients:
            each.stop()

    def leave(self) -> None:
        """All go now."""
        for each in self._clients:
            each.leave()

    @property
    def asked(self) -> int:
        """Requests made so far."""
        return sum(each.asked for each in self._clients)

    @property
    def unreachable(self) -> int:
        """Visits that could not be made."""
        return sum(each.unreachable for each in self._clients)

    @property
    def visits(self) -> Counter[str]:
        """Visits by kind."""
        return sum((each.visits for each in self._clients), Counter())
