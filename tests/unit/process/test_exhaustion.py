"""Tests of the pause without a free descriptor; web/test_accept_backoff.py tests its warnings."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.process.exhaustion import PAUSE_SECONDS, ExhaustionPause


class PauseTests(SynchronousTestCase):
    """One pause, however often it is needed while it lasts."""

    def test_once(self) -> None:
        """A pause begins and ends once, and can begin again."""
        clock, calls = Clock(), list[str]()
        pause = ExhaustionPause(clock, lambda: calls.append("-"), lambda: calls.append("+"))
        for _ in range(2):
            pause.begin()
            pause.begin()
            clock.advance(PAUSE_SECONDS)
        self.assertEqual("".join(calls), "-+-+")

    def test_cancelled(self) -> None:
        """What has closed is not resumed."""
        clock, calls = Clock(), list[str]()
        pause = ExhaustionPause(clock, lambda: calls.append("-"), lambda: calls.append("+"))
        pause.begin()
        pause.cancel()
        pause.cancel()
        clock.advance(PAUSE_SECONDS)
        self.assertEqual(calls, ["-"])
        self.assertFalse(clock.getDelayedCalls())
