"""Queue in which conversations take turns, so that a flood of one delays no other.

Within a conversation the order is that of arrival.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from itertools import count, islice
from typing import Generic, TypeVar

Waiter = TypeVar("Waiter")


class FairQueue(Generic[Waiter]):
    """Waiters by conversation; the one that was served last is the last to be served again."""

    __slots__ = ("_size", "_turns")

    def __init__(self) -> None:
        self._turns: OrderedDict[bytes, deque[Waiter]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def conversations(self) -> int:
        """The number of conversations that wait."""
        return len(self._turns)

    def turns(self, most: int) -> list[bytes]:
        """Return the conversations of the next waiters, ``most`` of them, in the order of `pop`."""
        found: list[bytes] = []
        for served in count():
            row = (each for each, waiting in self._turns.items() if len(waiting) > served)
            before = len(found)
            found += islice(row, most - before)
            if len(found) == before:
                break
        return found

    def prefer(self, conversation: bytes) -> None:
        """Let it be a conversation's turn, if one of its waiters is here."""
        if conversation in self._turns:
            self._turns.move_to_end(conversation, last=False)

    def add(self, conversation: bytes, waiter: Waiter) -> None:
        """Let a waiter wait behind those of its conversation."""
        waiting = self._turns.get(conversation)
        if waiting is None:
            waiting = self._turns[conversation] = deque()
        waiting.append(waiter)
        self._size += 1

    def remove(self, conversation: bytes, waiter: Waiter) -> None:
        """Remove a waiter; it must be waiting.

        The one that gives up is nearly always the first of its conversation, as all wait equally
        long.
        """
        waiting = self._turns[conversation]
        waiting.remove(waiter)
        self._size -= 1
        if not waiting:
            del self._turns[conversation]

    def pop(self) -> Waiter:
        """Remove and return the waiter whose turn it is; its conversation goes to the end."""
        conversation, waiting = self._turns.popitem(last=False)
        waiter = waiting.popleft()
        self._size -= 1
        if waiting:
            self._turns[conversation] = waiting
        return waiter
