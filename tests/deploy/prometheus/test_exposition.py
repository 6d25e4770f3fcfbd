"""The metrics of a router with every outcome, as Prometheus reads them.

Real processes: the stub fails in every way, and hostile clients try to create series.
"""

from __future__ import annotations

import random
import re
import tempfile
import time
from pathlib import Path
from typing import ClassVar

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from autopilot.web.shared_rendering import FRESHNESS
from tests.deploy.prometheus.promtool import promtool
from tests.rigs.smoke.client import Exchange, NoAnswerError, get, post_head
from tests.rigs.smoke.processes import RouterProcess, StubProcess
from tests.rigs.smoke.stage import CHAT, completion
from tests.rigs.smoke.waiting import until

# The names are older than the rule, and dashboards use them.
_KNOWN_COMPLAINTS = {
    "chutes_autopilot_ready_allowlist_age_ms metric names should not contain abbreviated units",
    "chutes_autopilot_ready_snapshot_age_ms metric names should not contain abbreviated units",
}
_HOSTILE = 1500
# The series that many requests may add: new statuses, but no name from a client.
_MOST_NEW = 12


class ExpositionTests(SynchronousTestCase):
    """One router for all tests."""

    folder: ClassVar[tempfile.TemporaryDirectory[str]]
    stub: ClassVar[StubProcess]
    router: ClassVar[RouterProcess]

    @classmethod
    def setUpClass(cls) -> None:
        """Start the stub and the router."""
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.stub = StubProcess("stub", Path(cls.folder.name), ())
        cls.stub.start()
        cls.addClassCleanup(cls.stub.kill)
        quick = {"UPSTREAM_HEADER_TIMEOUT_MS": "500", "UPSTREAM_FIRST_BODY_BYTE_TIMEOUT_MS": "500"}
        cls.router = RouterProcess("router", Path(cls.folder.name), cls.stub.port, quick)
        cls.router.start()
        cls.addClassCleanup(cls.router.kill)
        cls.router.wait_ready()

    def page(self) -> str:
        """Return the current metrics, once those rendered for an earlier request expired."""
        time.sleep(FRESHNESS)
        return get(self.router.port, "/metrics").finish().body.decode()

    def ask(self, model: str, *, stream: bool = True) -> None:
        """Make one completion request; its result does not matter."""
        body = completion(model, stream=stream)
        head = post_head(CHAT, [("Content-Length", str(len(body)))])
        Exchange(self.router.port, head + body).finish()

    def send(self, request: bytes) -> None:
        """Send arbitrary bytes; the response does not matter."""
        try:
            Exchange(self.router.port, request, limit=5.0).finish()
        except (NoAnswerError, OSError):
            return

    def series(self) -> set[str]:
        """Return all series of the router."""
        lines = self.page().splitlines()
        return {line.rpartition(" ")[0] for line in lines if line.startswith("chutes_autopilot_")}

    def test_read(self) -> None:
        """After every kind of outcome Prometheus's linter reports nothing new."""
        for model in ("chutesai/AutoPilot", "stub/503-cold,stub/ok", "stub/close,stub/ok"):
            self.ask(model)
        for model in ("stub/503-cold", "stub/429-account", "stub/nobody", "stub/reset-mid-stream"):
            self.ask(model)
        self.send(post_head(CHAT, [("Content-Length", "2")]) + b"[]")
        until("the records are written", lambda: "request_duration" in self.page())
        page = self.page()
        families = {family.name for family in text_string_to_metric_families(page)}
        self.assertIn("chutes_autopilot_stream_interruptions", families)
        self.assertIn("process_open_fds", families)
        self.assertTrue(re.search(r"failover_reason_total\{reason=\"status_503\"\} [1-9]", page))
        status, said = promtool("check", "metrics", text=page)
        complaints = {line for line in said.splitlines() if line.strip()}
        self.assertEqual(complaints, _KNOWN_COMPLAINTS)
        self.assertEqual(status, 3)

    def test_hostile(self) -> None:
        """Series consist of names from the router and the catalog, whatever clients send."""
        self.ask("stub/ok")
        before = self.series()
        chance = random.Random(5)
        for number in range(_HOSTILE):
            self.send(_nonsense(chance, number))
        new = self.series() - before
        self.assertLessEqual(len(new), _MOST_NEW, new)
        self.assertEqual([each for each in new if "nonsense" in each], [])


def _nonsense(chance: random.Random, number: int) -> bytes:
    word = f"nonsense-{number}"
    body = completion(f"{word}/{word}", stream=False)
    length = f"Content-Length: {len(body)}\r\n".encode()
    return chance.choice(
        (
            f"GET /{word} HTTP/1.1\r\nHost: {word}\r\n\r\n".encode(),
            f"{word.upper()} /v1/models HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
            f"GET /metrics?{word} HTTP/1.1\r\nHost: a\r\nUser-Agent: {word}\r\n\r\n".encode(),
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n" + length + b"\r\n" + body,
            f"{word} \r\n\r\n".encode(),
        )
    )
