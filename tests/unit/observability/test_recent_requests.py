"""The last requests."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.observability.history import RecentRequests
from tests.unit.observability.records import record, refused


class RecentTests(SynchronousTestCase):
    """A short memory."""

    def test_newest_first(self) -> None:
        """What was chosen lately, the last first, and never more than fifty."""
        recent = RecentRequests()
        self.assertEqual(recent.summary(), [])
        for number in range(60):
            recent.add(record(model=f"m{number}"))
        models = [each["model"] for each in recent.summary()]
        self.assertEqual(models, [f"m{number}" for number in range(59, 9, -1)])

    def test_facts(self) -> None:
        """What a person wants to know; not the request id, which may be the client's own words."""
        recent = RecentRequests()
        recent.add(record(request_id="secret", failovers=("status_503",), attempts=2))
        recent.add(refused())
        refusal, success = recent.summary()
        self.assertEqual(
            success,
            {
                "mode": "alias",
                "model": "m",
                "status": 200,
                "attempts": 2,
                "failovers": ("status_503",),
                "first_byte": 0.123456,
                "duration": 2.0,
                "outcome": "completed",
            },
        )
        self.assertEqual((refusal["model"], refusal["outcome"]), (None, "refused"))
