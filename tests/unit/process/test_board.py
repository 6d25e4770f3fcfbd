"""Tests of the numbers that workers and their parent share."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from autopilot.process.board import Board

_FIELDS = ("connections", "fresh", "requests", "received", "exhausted", "heartbeat")


class BoardTests(SynchronousTestCase):
    """The parent's board, and a child's view of the same memory."""

    def setUp(self) -> None:
        """Create a board, and open it again as a child does."""
        self.board = Board.create(3)
        self.addCleanup(self.board.close)
        self.child = Board.open(os.dup(self.board.descriptor))
        self.addCleanup(self.child.close)

    def test_shared(self) -> None:
        """What the owner of a slot writes, the others read: every field, and no other slot."""
        slot = self.child.slot(1)
        for number, field in enumerate(_FIELDS, 1):
            setattr(slot, field, number << 40)
        seen = self.board.slot(1)
        self.assertEqual(
            [getattr(seen, field) >> 40 for field in _FIELDS], list(range(1, len(_FIELDS) + 1))
        )
        self.assertEqual(
            seen.numbers()[: len(_FIELDS)], [getattr(seen, field) for field in _FIELDS]
        )
        for other in (0, 2):
            slot = self.board.slot(other)
            self.assertEqual({getattr(slot, field) for field in _FIELDS}, {0})

    def test_cleared(self) -> None:
        """A new worker begins with zeros, and its neighbours keep their numbers."""
        for index in range(3):
            self.child.slot(index).requests = 7
        self.board.slot(1).clear()
        self.assertEqual([self.child.slot(index).requests for index in range(3)], [7, 0, 7])

    def test_size(self) -> None:
        """The board has as many slots as it was created with, in every process."""
        self.assertEqual((len(self.board), len(self.child)), (3, 3))
        for index in (-1, 3):
            self.assertRaises(IndexError, self.board.slot, index)

    def test_closed(self) -> None:
        """A slot outlives its board's descriptor, which is closed once."""
        slot = self.board.slot(0)
        self.board.close()
        self.board.close()
        slot.requests = 5
        self.assertEqual(self.child.slot(0).requests, 5)

    def test_inherited(self) -> None:
        """The memory is not inherited by processes that are not given its descriptor."""
        self.assertFalse(os.get_inheritable(self.board.descriptor))
