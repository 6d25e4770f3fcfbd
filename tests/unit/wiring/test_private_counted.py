"""Tests of the counts of private requests that are refused before an exchange."""

from __future__ import annotations

from typing import Any, Literal

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.observability.records import RequestRecord
from autopilot.routing.private_mode import PRIVATE_IS_OFF
from autopilot.service.lifecycle import AutopilotService
from autopilot.settings import Settings
from tests.unit.observability.records import refused


class CountedTests(SynchronousTestCase):
    """A router with private mode, and one without."""

    def counted(self, mode: Literal["off", "ask"], *records: RequestRecord) -> list[str]:
        """Return the samples of requests that are not zero."""
        reactor: Any = MemoryReactorClock()
        settings = Settings(private=mode)
        service = AutopilotService(
            settings, reactor=reactor, listen=False, records=lambda _record: None
        )
        parts = service._parts
        parts._refused("", PRIVATE_IS_OFF, "req-1")
        for each in records:
            parts.record(each)
        lines = parts.metrics.text().decode().splitlines()
        name = "chutes_autopilot_private_requests_total{"
        return [line for line in lines if line.startswith(name) and not line.endswith(" 0.0")]

    def test_refused(self) -> None:
        """At the head and when it is read it counts once; what an exchange counts does not."""
        code = "private_unsupported"
        own = refused(code="private_unavailable", status=503, private=True)
        self.assertEqual(
            self.counted("ask", refused(code=code), refused(code="unknown_model"), own),
            ['chutes_autopilot_private_requests_total{outcome="unsupported"} 2.0'],
        )

    def test_off(self) -> None:
        """A router without private mode has no such metric."""
        self.assertEqual(self.counted("off", refused(code="private_unsupported")), [])
