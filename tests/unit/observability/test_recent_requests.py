"""Tests of the recent requests."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.observability.history import RecentRequests
from tests.unit.observability.records import record, refused


class RecentTests(SynchronousTestCase):
    """The kept records."""

    def test_newest_first(self) -> None:
        """The last fifty records are kept, newest first."""
        recent = RecentRequests()
        self.assertEqual(recent.summary(), [])
        for number in range(60):
            recent.add(record(model=f"m{number}"))
        models = [each["model"] for each in recent.summary()]
        self.assertEqual(models, [f"m{number}" for number in range(59, 9, -1)])

    def test_facts(self) -> None:
        """The summary omits the request id, which a client may have chosen."""
        recent = RecentRequests()
        recent.add(record(req_id="secret", failovers=("status_503",), attempts=2))
        recent.add(refused())
        refusal, success = recent.summary()
        self.assertEqual(
            success,
            {
                "mode": "alias",
                "model": "m",
                "why": "best",
                "status": 200,
                "attempts": 2,
                "failovers": ("status_503",),
                "first_byte": 0.1235,
                "duration": 2.0,
                "outcome": "completed",
            },
        )
        self.assertEqual((refusal["model"], refusal["outcome"]), (None, "refused"))
