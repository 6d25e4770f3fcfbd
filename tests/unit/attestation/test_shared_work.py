"""Tests of work that several wait for: its result for all, and its end with the last of them."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.shared_work import SharedWork


class SharedWorkTests(SynchronousTestCase):
    """Work for which two wait."""

    def setUp(self) -> None:
        """Begin it."""
        self.cancelled = 0
        self.work: SharedWork[str] = SharedWork()
        self.work.running = Deferred(self.count)
        self.work.running.addErrback(lambda failure: failure.trap(CancelledError))
        self.first, self.second = self.work.join(), self.work.join()

    def count(self, _cancelled: Deferred[None]) -> None:
        """Note that the work is cancelled."""
        self.cancelled += 1

    def test_result(self) -> None:
        """All that wait have the result, in the order in which they came."""
        got: list[tuple[str, str]] = []

        def note(result: str, name: str) -> None:
            got.append((name, result))

        self.first.addCallback(note, "first")
        self.second.addCallback(note, "second")
        self.work.succeed("done")
        self.assertEqual(got, [("first", "done"), ("second", "done")])
        self.assertEqual(self.cancelled, 0)

    def test_failure(self) -> None:
        """All that wait fail, each with a failure of its own."""
        self.work.fail(ZeroDivisionError())
        failures = [
            self.failureResultOf(each, ZeroDivisionError) for each in (self.first, self.second)
        ]
        self.assertIsNot(failures[0], failures[1])

    def test_one_leaves(self) -> None:
        """One that leaves ends nothing, and the other has the result."""
        self.first.cancel()
        self.failureResultOf(self.first, CancelledError)
        self.assertEqual(self.cancelled, 0)
        self.work.succeed("done")
        self.assertEqual(self.successResultOf(self.second), "done")

    def test_last_leaves(self) -> None:
        """The last one that leaves cancels the work."""
        for each in (self.first, self.second):
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.assertEqual(self.cancelled, 1)

    def test_cancelled_by_another(self) -> None:
        """One that has the result may cancel another, which then has none."""
        self.first.addCallback(lambda _: self.second.cancel())
        self.work.succeed("done")
        self.successResultOf(self.first)
        self.failureResultOf(self.second, CancelledError)
        self.assertEqual(self.cancelled, 0)

    def test_cancel(self) -> None:
        """The work can be cancelled for all; before it runs there is nothing to cancel."""
        self.work.cancel()
        self.assertEqual(self.cancelled, 1)
        self.assertNoResult(self.first)
        self.work.fail(CancelledError())
        for each in (self.first, self.second):
            self.failureResultOf(each, CancelledError)
        SharedWork[str]().cancel()
