"""Tests of the export of spans to a working, silent or missing collector."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings.types import ExtraSwitch
from tests.rigs.smoke.client import Exchange, post_head
from tests.rigs.smoke.processes import ROOT, RouterProcess, StubProcess
from tests.rigs.smoke.stage import CHAT, completion
from tests.rigs.smoke.waiting import until
from tests.unit.observability.collector import Collector

_KEY = "fixture-of-a-collector"
_SPANS = ["POST /v1/chat/completions", "chat stub/503-cold", "chat stub/ok"]
_IMPORTED = """
import sys
from twisted.internet.testing import MemoryReactorClock
from autopilot import AutopilotService, Settings
AutopilotService(Settings(), reactor=MemoryReactorClock())
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""


class ExportingTests(SynchronousTestCase):
    """A router process with a stub and a collector."""

    def served(self, collector: Collector, **variables: str) -> RouterProcess:
        """Start a router that exports to the collector."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        stub = StubProcess("stub", folder, ())
        stub.start()
        self.addCleanup(stub.kill)
        settings = {
            "OTEL_TRACES": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_EXPORTER_OTLP_HEADERS": f"x-collector-key={_KEY}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            **variables,
        }
        router = RouterProcess("router", folder, stub.port, settings)
        router.start()
        self.addCleanup(router.kill)
        router.wait_ready()
        return router

    def ask(self, router: RouterProcess) -> None:
        """Send one streamed request that fails over."""
        body = completion("stub/503-cold,stub/ok", stream=True)
        head = post_head(CHAT, [("Content-Length", str(len(body)))])
        reply = Exchange(router.port, head + body).finish()
        self.assertTrue(reply.body.endswith(b"data: [DONE]\n\n"), reply)

    def test_export(self) -> None:
        """Spans arrive as configured by the environment."""
        collector = Collector()
        self.addCleanup(collector.close)
        router = self.served(collector, OTEL_SERVICE_NAME="edge")
        self.ask(router)
        until("the spans are there", lambda: len(collector.names) == 3)
        self.assertEqual(sorted(collector.names), _SPANS)
        self.assertEqual(collector.resource()["service.name"], "edge")
        self.assertIn("service.version", collector.resource())
        self.assertEqual(collector.keys, {_KEY})

    def test_last_spans(self) -> None:
        """The remaining spans are exported on shutdown."""
        collector = Collector()
        self.addCleanup(collector.close)
        router = self.served(collector, OTEL_BSP_SCHEDULE_DELAY="600000")
        self.ask(router)
        self.assertEqual(collector.names, [])
        router.signal(signal.SIGTERM)
        self.assertEqual(router.wait(), -signal.SIGTERM)
        self.assertEqual(sorted(collector.names), _SPANS)
        self.assertEqual(collector.resource()["service.name"], "chutes-autopilot")

    def test_collector_gone(self) -> None:
        """A missing collector affects no request; the log has one warning without the key."""
        collector = Collector()
        collector.close()
        router = self.served(collector)
        for _ in range(5):
            self.ask(router)
        until("the log says so", lambda: b"check that the collector" in router.output())
        self.ask(router)
        router.signal(signal.SIGTERM)
        self.assertEqual(router.wait(), -signal.SIGTERM)
        log = router.output()
        self.assertEqual(log.count(b"check that the collector"), 1)
        for word in (b"Traceback", _KEY.encode(), collector.endpoint.encode()):
            self.assertNotIn(word, log)

    def test_silent_collector(self) -> None:
        """A silent collector delays neither requests nor the shutdown."""
        collector = Collector(answers=False)
        self.addCleanup(collector.close)
        router = self.served(collector)
        self.ask(router)
        until("the collector was asked", lambda: collector.keys)
        self.ask(router)
        router.signal(signal.SIGTERM)
        began = time.monotonic()
        self.assertEqual(router.wait(), -signal.SIGTERM)
        # Its own limit is 5 s, the exporter's would be 10, and the collector's a minute.
        self.assertLess(time.monotonic() - began, 15)


class AbsentTests(SynchronousTestCase):
    """Routers without traces."""

    def test_not_imported(self) -> None:
        """OpenTelemetry is not imported, although it is installed."""
        done = subprocess.run(
            [sys.executable, "-c", _IMPORTED],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": str(ROOT), "PATH": ""},
        )
        self.assertEqual(done.stdout, "[]\n")

    def test_not_installed(self) -> None:
        """Without the extra, OTEL_TRACES is an error that names the package to install."""
        switch = ExtraSwitch("otel", "no-such-package")
        self.assertIs(switch.check(False), False)
        with self.assertRaisesRegex(ValueError, r"pip install 'chutes-autopilot\[otel\]'"):
            switch.check(True)
        with self.assertRaisesRegex(ValueError, "neither yes nor no"):
            switch.check("maybe")
        self.assertIs(ExtraSwitch("otel", "twisted").check(True), True)
