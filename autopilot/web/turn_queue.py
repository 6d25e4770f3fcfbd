"""Queue of the pipelined requests of all connections, of which few begin in a turn of the reactor.

Each connection handles one of its requests in a turn, but there are many connections. What reads or
writes between two turns waits for a few requests at most, and not for one of each connection.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

MAX_IN_A_TURN: Final = 4
"""The most requests that begin in a turn; a page of the operators takes milliseconds."""


class TurnQueue:
    """Lets connections continue, in the order in which they asked for that."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: dict[object, Callable[[], None]] = {}
        self._turn: IDelayedCall | None = None

    def add(self, connection: object, take_turn: Callable[[], None]) -> None:
        """Call ``take_turn`` in a later turn, unless the connection is removed before."""
        self._waiting[connection] = take_turn
        self._schedule()

    def remove(self, connection: object) -> None:
        """Forget a connection, which may not be waiting."""
        self._waiting.pop(connection, None)
        if not self._waiting and self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _schedule(self) -> None:
        if self._turn is None:
            self._turn = self._clock.callLater(0, self._run)

    def _run(self) -> None:
        self._turn = None
        if len(self._waiting) > MAX_IN_A_TURN:
            self._schedule()
        for connection in list(islice(self._waiting, MAX_IN_A_TURN)):
            take_turn = self._waiting.pop(connection, None)
            if take_turn is not None:  # else one before it has removed it
                take_turn()
