"""Tests of work that is done one at a time."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from autopilot.feeds.job import Job


class JobTests(SynchronousTestCase):
    """A job whose work the test completes."""

    def setUp(self) -> None:
        """Build a job."""
        self.waiting: list[Deferred[None]] = []
        self.failures: list[Failure] = []
        self.job = Job(self.work, self.failures.append)

    async def work(self) -> None:
        """Wait for the test."""
        self.waiting.append(Deferred())
        await self.waiting[-1]

    def test_once(self) -> None:
        """Asked for once, it is done once; asked for later, again."""
        self.job.ask()
        self.assertTrue(self.job.running)
        self.waiting[0].callback(None)
        self.assertEqual((len(self.waiting), self.job.running), (1, False))
        self.job.ask()
        self.assertEqual(len(self.waiting), 2)

    def test_again(self) -> None:
        """Asked for often while it is done, it is done once more."""
        for _ in range(5):
            self.job.ask()
        self.assertEqual(len(self.waiting), 1)
        self.waiting[0].callback(None)
        self.assertEqual(len(self.waiting), 2)
        self.waiting[1].callback(None)
        self.assertEqual((len(self.waiting), self.job.running), (2, False))

    def test_failed(self) -> None:
        """What it raises is reported, and does not keep it from being done again."""
        self.job.ask()
        self.job.ask()
        self.waiting[0].errback(RuntimeError("a bug"))
        self.assertEqual([each.type for each in self.failures], [RuntimeError])
        self.assertEqual(len(self.waiting), 2)

    def test_stop(self) -> None:
        """A stop cancels it for good."""
        self.job.ask()
        self.job.ask()
        self.successResultOf(self.job.stop())
        self.job.ask()
        self.assertEqual((len(self.waiting), self.job.running, self.failures), (1, False, []))
        self.successResultOf(self.job.stop())
