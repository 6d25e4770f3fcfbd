"""A router, and both feeds on a port of their own, each controlled by a script."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from typing import TypeAlias

from autopilot.http.fetch_error import OK
from autopilot.web.shared_rendering import FRESHNESS
from tests.process.faults.cases import SECOND, FaultTestCase
from tests.process.faults.upstreams import ONE, TWO, Script, Upstream, says
from tests.process.processes import until
from tests.unit.feeds.records import catalog_body, entry, record, utilization_body
from tests.unit.relay.routers import ALIAS
from tests.unit.relay.upstreams import whole
from tests.unit.web.browsers import request
from tests.unit.web.responses import Response

CATALOG, UTILIZATION = "catalog", "utilization"
BODIES: dict[str, bytes] = {
    CATALOG: catalog_body(entry(ONE), entry(TWO)),
    UTILIZATION: utilization_body(record(ONE), record(TWO)),
}
QUICK = {
    "MODELS_REFRESH_MS": "100",
    "UTILIZATION_REFRESH_MS": "100",
    "CONTROL_PLANE_TIMEOUT_MS": "500",
}
Fault: TypeAlias = Callable[[bytes], Script]
"""Derives a script from the regular response of a feed."""
GOOD: dict[str, Script] = {name: says(whole(200, body)) for name, body in BODIES.items()}


class Feeds(Upstream):
    """Both feeds; ``fetched`` lists the requests in order."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        super().__init__(**GOOD)

    @property
    def urls(self) -> dict[str, str]:
        """The settings with the URLs of the feeds."""
        base = f"http://127.0.0.1:{self.port}"
        return {"MODELS_URL": f"{base}/models", "UTILIZATION_URL": f"{base}/utilization"}

    def do(self, make: Callable[[bytes], Script]) -> None:
        """Set the scripts of both feeds, derived from their regular responses."""
        self.scripts.update({name: make(body) for name, body in BODIES.items()})

    def recover(self) -> None:
        """Restore both feeds."""
        self.scripts.update(GOOD)

    def _answer(self, connection: socket.socket, line: bytes, body: bytes) -> None:
        name = CATALOG if line.startswith(b"GET /models ") else UTILIZATION
        self.fetched.append(name)
        self.scripts[name](connection)


class FeedTestCase(FaultTestCase):
    """A router whose feeds have a port of their own."""

    def feed(self, **settings: str) -> None:
        """Start with working feeds."""
        self.feeds = Feeds()
        self.addCleanup(self.feeds.close)
        self.start(**{**QUICK, **self.feeds.urls, **settings})
        self.upstream.scripts["one"] = says(whole(200, SECOND))

    def page(self, path: bytes) -> Response:
        """Return the response of a page."""
        return self.exchange(request(path, method=b"GET"))

    def reports(self) -> dict[str, dict[str, object]]:
        """Return the state of each feed."""
        found: dict[str, dict[str, object]] = self.page(b"/readyz").json["feeds"]
        return found

    def outcomes(self) -> dict[tuple[str, str], int]:
        """Return the number of refreshes by feed and outcome."""
        line = rb'^chutes_autopilot_feed_refresh_total\{feed="(\w+)",outcome="(\w+)"\} (\d+)'
        found = re.findall(line, self.page(b"/metrics").body, re.MULTILINE)
        return {(feed.decode(), what.decode()): int(times) for feed, what, times in found}

    def assert_survives(self, fault: Fault) -> None:
        """Check that the fault is reported, and that the router serves old data meanwhile."""
        self.feeds.do(fault)
        until(lambda: all(each["last_error"] for each in self.reports().values()))
        for report in self.reports().values():
            self.assertEqual((report["state"], report["size"]), ("fresh", 2))
            self.assertTrue(report["last_error"])
            self.assertNotIn("127.0.0.1", str(report["last_error"]))
        self.assert_serves()
        self.feeds.recover()
        until(lambda: not any(each["last_error"] for each in self.reports().values()))

    def assert_counted(self, outcome: str, least: int) -> None:
        """Check how often both feeds had this outcome at least, and that they had no other error.

        The metrics are rendered once a second, so they are read once for all faults of a router
        rather than for each; every one of them is of the same outcome.
        """
        time.sleep(FRESHNESS)
        counted = self.outcomes()
        kinds = {(feed, kind) for feed in (CATALOG, UTILIZATION) for kind in (OK, outcome)}
        self.assertEqual({each for each, times in counted.items() if times}, kinds)
        for feed in (CATALOG, UTILIZATION):
            self.assertGreaterEqual(counted[feed, outcome], least)

    def assert_serves(self) -> None:
        """Check that a known model and the alias are served, and an unknown model is not."""
        for model in (TWO, ALIAS):
            answer = self.ask(model)
            self.assertEqual((answer.status, answer.body), (200, SECOND))
        self.assertEqual(self.ask("acme/none").error[::2], (400, "unknown_model"))

    def assert_quiet(self) -> None:
        """Check that the log has no traceback and is short, however often the feeds failed."""
        log = self.router.log
        self.assertNotIn("Traceback", log)
        self.assertLess(log.count("autopilot.feeds"), 60)
