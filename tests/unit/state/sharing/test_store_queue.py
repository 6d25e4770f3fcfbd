"""Tests of the queue of the store: which event replaces which, ages, and its bounds."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.state.events import Event, Failed, Measured, Probing, Stuck, Succeeded, Unstuck
from autopilot.state.sharing import store_queue
from autopilot.state.sharing.store_queue import StoreQueue, subject

A, B, SELECTOR = b"a" * 16, b"b" * 16, b"s" * 16
MARKS = ("trial",)


def stuck(
    counter: int, model: str = "m", client: bytes = A, age: int = 0, replica: int = 1
) -> Stuck:
    """Return an event of a conversation."""
    return Stuck((counter, replica), age, client, SELECTOR, b"", model)


def failed(counter: int, client: bytes = A, model: str = "m") -> Failed:
    """Return an event of a failure without a conversation."""
    return Failed((counter, 1), 0, client, model, 100, b"", b"", False)


def measured(counter: int, model: str = "m") -> Measured:
    """Return a summary."""
    return Measured((counter, 1), 0, model, None, None, (1, 2), (), 0, ())


class SubjectTests(SynchronousTestCase):
    """Of two events with one subject the later one counts alone."""

    def test_the_same_subject(self) -> None:
        """A conversation has one model, whichever; a replica has one summary of a model."""
        pairs: tuple[tuple[Event, Event], ...] = (
            (stuck(1, "m"), stuck(2, "n")),
            (failed(1), failed(65)),
            (Succeeded((1, 1), 0, A, "m"), Succeeded((2, 1), 0, A, "m")),
            (measured(1), measured(2)),
            (Probing((1, 1), 0, "m", 5, b"", True), Probing((2, 1), 0, "m", 9, b"", True)),
        )
        for first, second in pairs:
            self.assertEqual(subject(first), subject(second))

    def test_different_subjects(self) -> None:
        """Clients, models, replicas, kinds and 64 failures in a row are apart."""
        unstuck = Unstuck((1, 1), 0, A, SELECTOR, b"", "m", 5, False)
        events: tuple[Event, ...] = (
            stuck(1),
            stuck(1, client=B),
            stuck(1, replica=2),
            Stuck((1, 1), 0, A, SELECTOR, b"c", "m"),
            unstuck,
            Unstuck((1, 1), 0, A, SELECTOR, b"", "n", 5, False),
            *(failed(counter) for counter in range(64)),
            failed(1, B),
            failed(1, model="n"),
            Succeeded((1, 1), 0, A, "m"),
            measured(1),
            measured(1, "n"),
            Probing((1, 1), 0, "m", 5, b"", True),
            Probing((1, 1), 0, "m", 5, A, False),
        )
        self.assertEqual(len({subject(each) for each in events}), len(events))


class StoreQueueTests(SynchronousTestCase):
    """What waits."""

    def setUp(self) -> None:
        """Make an empty queue."""
        self.queue = StoreQueue()

    def test_the_later_version_waits(self) -> None:
        """An earlier version does not replace a later one, in whichever order they arrive."""
        self.queue.add([stuck(2, "new"), stuck(1, "old")], 0)
        self.queue.add([stuck(3, "newest")], 0)
        self.queue.add([stuck(3, "newest")], 0)
        self.assertEqual(self.queue.take(9, 0), [stuck(3, "newest")])
        self.assertEqual((len(self.queue), self.queue.bytes, self.queue.dropped), (0, 0, 0))

    def test_ages(self) -> None:
        """An event grows old while it waits."""
        self.queue.add([stuck(1, age=500)], 10.0)
        self.queue.add([failed(2)], 11.0)
        taken = self.queue.take(9, 12.0)
        self.assertEqual([each.age for each in taken], [2500, 1000])

    def test_the_oldest_first(self) -> None:
        """A replaced event keeps its place, and a limit leaves the later ones."""
        self.queue.add([stuck(1), failed(2), measured(3), stuck(4)], 0)
        self.assertEqual(self.queue.take(2, 0), [stuck(4), failed(2)])
        self.assertEqual(self.queue.take(2, 0), [measured(3)])

    def test_bounds(self) -> None:
        """The number and the bytes are bounded; the oldest are dropped and counted."""
        self.patch(store_queue, "MAX_EVENTS", 100)
        self.queue.add((failed(1, b"%016d" % number) for number in range(250)), 0)
        self.assertEqual((len(self.queue), self.queue.dropped), (100, 150))
        self.assertEqual(self.queue.take(1, 0), [failed(1, b"%016d" % 150)])
        self.patch(store_queue, "MAX_BYTES", 5000)
        self.queue.add([failed(2, model="x" * 256)], 0)
        self.assertLessEqual(self.queue.bytes, 5000)
        self.assertLess(len(self.queue), 32)
        self.queue.take(100, 0)
        self.assertEqual(self.queue.bytes, 0)
