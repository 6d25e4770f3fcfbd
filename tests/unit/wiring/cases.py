"""The base of the tests that change the settings of a running router."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from autopilot import AutopilotService
from autopilot.settings.reload import Change
from autopilot.web.shared_rendering import FRESHNESS
from tests.unit.relay.upstreams import JSON, head, whole
from tests.unit.service.platforms import ServiceTestCase, Wire
from tests.unit.web.browsers import Browser, ask, request

ONE, TWO = "acme/one", "acme/two"
ALIAS = "chutesai/AutoPilot"
_DAY_MS = 86_400_000


class ReloadTestCase(ServiceTestCase):
    """Runs one router, and checks that each test leaves no timer or connection."""

    router: AutopilotService

    def start(self, **given: Any) -> None:
        """Start a router that fetches its feeds once."""
        seldom = {"models_refresh_ms": _DAY_MS, "utilization_refresh_ms": _DAY_MS}
        self.router = self.running(**seldom, **given)

    def change(self, **given: Any) -> Change:
        """Change settings of the running router."""
        return self.router.reload(replace(self.router.settings, **given))

    def ask(
        self, model: str = ALIAS, *fields: bytes, stream: bool = True, **members: object
    ) -> Browser:
        """Send one request on a new connection."""
        browser = self.browser()
        browser.sends(request(b"/v1/chat/completions", *fields, body=ask(model, stream=stream)))
        return browser

    def get(self, path: bytes, *fields: bytes) -> Any:
        """Fetch a page."""
        browser = self.browser()
        browser.sends(request(path, *fields, method=b"GET"))
        return browser.response

    def metric(self, name: str) -> float:
        """Return the value of a metric without labels, once an earlier rendering expired."""
        self.reactor.advance(FRESHNESS)
        lines = self.get(b"/metrics").body.decode().splitlines()
        (value,) = (line.split()[1] for line in lines if line.startswith(f"chutes_{name} "))
        return float(value)

    def went_to(self, *client: bytes) -> str:
        """Send a request by alias, answer it, and return its model."""
        browser = self.ask(ALIAS, *client, stream=False)
        self.platform.wire.says(whole(200, b"{}"))
        return (browser.response.value(b"x-chutes-autopilot-selected") or b"").decode()

    def fails_over(self, *client: bytes, model: str = ALIAS) -> Wire:
        """Send a request that the first model rejects and the second answers."""
        browser = self.ask(model, *client, stream=False)
        self.platform.wire.says(whole(503, b"{}"))
        wire = self.platform.wire
        wire.says(whole(200, b"{}"))
        self.assertEqual(browser.response.value(b"x-chutes-autopilot-selected"), TWO.encode())
        return wire

    def half_a_refusal(self) -> None:
        """Start an error response whose body decides about the retry."""
        self.platform.wire.says(head(429, JSON))

    def tearDown(self) -> None:
        """Disconnect all clients, and stop the router."""
        for browser in self.browsers:
            browser.leaves()
        stopped = self.router.stopService()
        self.reactor.advance(0)
        if not stopped.called:
            self.reactor.advance(_DAY_MS)
        self.successResultOf(stopped)
        self.assert_at_rest()
