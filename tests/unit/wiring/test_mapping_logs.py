"""Tests of the live settings of the log, each named after its setting."""

from __future__ import annotations

import json
import re
from io import StringIO

from twisted.logger import LogLevel

from autopilot import AutopilotService, tap
from autopilot.observability.records import RequestRecord
from autopilot.service.log_output import follow_log_settings
from autopilot.settings import Settings
from autopilot.web.shared_rendering import FRESHNESS
from tests.unit.observability.records import record
from tests.unit.relay.upstreams import JSON, whole
from tests.unit.service.platforms import settings
from tests.unit.wiring.cases import ONE, ReloadTestCase


class LogTests(ReloadTestCase):
    """A router whose log is set up as under `twistd`."""

    def setUp(self) -> None:
        """Start a router that writes its own log."""
        super().setUp()
        self.sink = StringIO()
        self.start()
        self.observer, self.write = tap._log_outputs(self.sink, {}, Settings())
        assert self.observer is not None
        assert self.write is not None
        self.router.followers += [
            follow_log_settings(self.observer),
            follow_log_settings(self.write),
        ]

    def lines(self) -> list[str]:
        """Return the lines of a debug event, a warning and a record."""
        assert self.observer is not None
        assert self.write is not None
        before = len(self.sink.getvalue())
        for level in (LogLevel.debug, LogLevel.warn):
            self.observer({"log_format": "said", "log_time": 0.0, "log_level": level})
        self.write(record())
        return self.sink.getvalue()[before:].splitlines()

    def test_log_level(self) -> None:
        """The level applies to events and records."""
        for level, written in (("info", 2), ("debug", 3), ("warn", 1), ("info", 2)):
            self.change(log_level=level)
            self.assertEqual(len(self.lines()), written, level)

    def test_log_format(self) -> None:
        """Text lines become JSON objects, and back."""
        self.assertTrue(all(not line.startswith("{") for line in self.lines()))
        self.change(log_format="json")
        self.assertEqual([json.loads(line)["level"] for line in self.lines()], ["warn", "info"])
        self.change(log_format="text")
        self.assertTrue(all(not line.startswith("{") for line in self.lines()))

    def test_key_metrics(self) -> None:
        """The gauges of quotas tell keys apart, by a hash, or no longer."""
        logged = self.observed()
        fields = (b"X-Chutes-Quota-Total: 2000", b"X-Chutes-Quota-Remaining: 100")
        for told_apart in (False, True, False):
            self.change(key_metrics=told_apart)
            self.ask(ONE, b"Authorization: Bearer secret", stream=False)
            self.platform.wire.says(whole(200, b"{}", JSON, *fields))
            self.reactor.advance(FRESHNESS)
            text = self.get(b"/metrics").body.decode()
            (sample,) = re.findall(r"\nchutes_autopilot_quota_remaining(.*) 100\.0\n", text)
            self.assertEqual(re.fullmatch(r'{key="[0-9a-f]{8}"}', sample) is not None, told_apart)
            self.assertEqual(sample == "", not told_apart)
            self.assertNotIn("secret", text)
            # A warning in an hour, and neither it nor its fields have the key.
            warned = [event for event in logged if "quota" in event.get("log_format", "")]
            self.assertEqual(len(warned), 1)
            self.assertNotIn("secret", repr(warned))

    def test_log_sample(self) -> None:
        """Successes are no longer logged, failures are."""
        self.successResultOf(self.router.stopService())
        self.reactor.tcpServers.clear()
        records: list[RequestRecord] = []
        self.router = AutopilotService(
            settings(models_refresh_ms=86_400_000, utilization_refresh_ms=86_400_000),
            reactor=self.reactor,
            records=records.append,
        )
        self.router.startService()
        self.platform.take()
        for share, status, reported in ((1.0, 200, 1), (0.0, 200, 1), (0.0, 500, 2)):
            self.change(log_sample=share)
            self.ask(ONE, stream=False)
            self.platform.wire.says(whole(status, b"{}"))
            self.assertEqual(len(records), reported)
