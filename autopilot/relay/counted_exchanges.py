"""The set of a worker's active exchanges, which shows its size to the parent on the board."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autopilot.relay.exchange_machine import ExchangeMachine

if TYPE_CHECKING:
    from autopilot.process.board import Slot


class CountedExchanges(set[ExchangeMachine]):
    """A set whose size is in a slot of the board, as far as `Proxy` changes it."""

    __slots__ = ("_slot",)

    def __init__(self, slot: Slot) -> None:
        super().__init__()
        self._slot = slot

    def add(self, exchange: ExchangeMachine) -> None:
        """Add an exchange that begins."""
        super().add(exchange)
        self._slot.requests = len(self)

    def discard(self, exchange: object) -> None:
        """Remove an exchange that has ended."""
        super().discard(exchange)
        self._slot.requests = len(self)
