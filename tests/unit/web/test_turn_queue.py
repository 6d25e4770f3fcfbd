"""Tests of the queue of pipelined requests."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.web.turn_queue import MAX_IN_A_TURN, TurnQueue


class TurnQueueTests(SynchronousTestCase):
    """Connections that ask for their next turn."""

    def setUp(self) -> None:
        """Create a queue, and the list of the turns that connections have taken."""
        self.clock = Clock()
        self.queue = TurnQueue(self.clock)
        self.taken: list[str] = []

    def asks(self, name: str, again: int = 0) -> None:
        """Add a connection, which asks so many times again when it has its turn."""

        def take_turn() -> None:
            self.taken.append(name)
            if again:
                self.asks(name, again - 1)

        self.queue.add(name, take_turn)

    def turn(self) -> list[str]:
        """Make one turn of the reactor; return who had one in it."""
        self.taken.clear()
        for call in list(self.clock.calls):
            self.clock.calls.remove(call)
            call.func()
        return list(self.taken)

    def test_few_in_a_turn(self) -> None:
        """However many wait, few continue in a turn of the reactor, the first ones first."""
        for name in "abcdefghi":
            self.asks(name)
        self.assertEqual(self.taken, [])
        turns = [self.turn() for _ in range(3)]
        self.assertEqual(turns, [list("abcd"), list("efgh"), ["i"]])
        self.assertEqual({len(turns[0]), len(turns[1])}, {MAX_IN_A_TURN})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_again(self) -> None:
        """One that asks again waits behind all others."""
        for name in "abcde":
            self.asks(name, again=1)
        self.assertEqual([self.turn() for _ in range(3)], [list("abcd"), list("eabc"), list("de")])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_removed(self) -> None:
        """One that is gone has no turn; without any there is no call of the reactor."""
        for name in "ab":
            self.asks(name)
        self.queue.remove("a")
        self.assertEqual(self.turn(), ["b"])
        self.asks("c")
        self.queue.remove("c")
        self.queue.remove("c")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_removed_by_another(self) -> None:
        """One that is gone because of another's turn has none in the same one."""
        self.queue.add("a", lambda: self.queue.remove("b"))
        self.asks("b")
        self.asks("c")
        self.assertEqual(self.turn(), ["c"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
