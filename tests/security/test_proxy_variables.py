"""The variables that select a proxy: what they change, and what a client cannot change."""

from __future__ import annotations

import os
from unittest.mock import patch

from twisted.internet.testing import EventLoggingObserver
from twisted.logger import formatEvent, globalLogPublisher

from autopilot import AutopilotService
from autopilot.settings import load_settings
from tests.unit.relay.upstreams import whole
from tests.unit.service.platforms import NAMES, URL, ServiceTestCase
from tests.unit.web.browsers import ask, request

PROXY = "http://me:hunter2@192.0.2.99:3128"
SECRETS = ("hunter2", "bWU6aHVudGVyMg==", "192.0.2.99")
PATHS = (
    (b"/v1/chat/completions", 81),
    (b"/v1/completions", 81),
    (b"/v1/messages", 82),
    (b"/v1/responses", 83),
)
ENVIRON = {
    "BACKEND_BASE_URL": f"{URL}:81",
    "MESSAGES_BASE_URL": f"{URL}:82",
    "RESPONSES_BASE_URL": f"{URL}:83",
    "MODELS_URL": f"{URL}/v1/models",
    "UTILIZATION_URL": f"{URL}/chutes/utilization",
    "API_BASE_URL": f"{URL}:84",
    "EVIDENCE_REFRESH_MS": "0",
    "ADMIN_LISTEN_ADDR": "-",
}


class ProxyVariableTests(ServiceTestCase):
    """A service in an environment with some of these variables."""

    def configured(self, **environ: str) -> AutopilotService:
        """Return a running service with these settings."""
        settings = load_settings({}, ENVIRON | environ, {})
        service = AutopilotService(settings, reactor=self.reactor)
        service.startService()
        return service

    def places(self) -> set[tuple[str, int]]:
        """Return where the connections that are being opened go."""
        return {(host, port) for host, port, *_ in self.reactor.tcpClients}

    def direct(self, service: AutopilotService) -> None:
        """Assert that feeds and requests go to the platform itself."""
        self.assertEqual(self.places(), {("192.0.2.1", 80)})
        self.platform.take()
        browser = self.browser()
        for path, port in PATHS:
            # A client's Proxy field, which CGI turns into HTTP_PROXY, selects nothing either.
            browser.sends(request(path, b"Proxy: http://192.0.2.98:3128", body=ask()))
            self.assertEqual(self.places(), {("192.0.2.1", port)})
            wire = self.platform.wire
            self.assertNotIn(b"roxy", wire.value())
            self.assertIn(b"POST %b HTTP/1.1\r\n" % path, wire.value())
            wire.says(whole(200, b"{}", b"application/json", b"Connection: close"))
            self.reactor.advance(0)
        self.assertEqual([each.status for each in browser.got], [200] * 4)
        browser.leaves()
        self.successResultOf(service.stopService())
        self.assert_at_rest()

    def test_embedded(self) -> None:
        """An application's own settings are not changed by the environment."""
        names = ("http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY")
        with patch.dict(os.environ, dict.fromkeys(names, PROXY)):
            service = self.service()
            service.startService()
            self.direct(service)

    def test_exempt(self) -> None:
        """NO_PROXY exempts feeds and requests alike."""
        for exempt in ("*", "192.0.2.0/24", "192.0.2.1"):
            self.setUp()
            self.direct(self.configured(http_proxy=PROXY, NO_PROXY=exempt))

    def test_other_scheme(self) -> None:
        """The proxy for https is not used for http, nor one for all schemes."""
        self.direct(self.configured(HTTPS_PROXY=PROXY, ALL_PROXY=PROXY, all_proxy=PROXY))

    def test_forwarded(self) -> None:
        """Feeds and requests go through the proxy, which alone learns its credentials."""
        events = EventLoggingObserver()
        globalLogPublisher.addObserver(events)
        self.addCleanup(globalLogPublisher.removeObserver, events)
        service = self.configured(HTTP_PROXY=PROXY, LOG_LEVEL="debug")
        self.assertEqual(self.places(), {("192.0.2.99", 3128)})
        self.platform.take()
        browser = self.browser()
        for path, port in PATHS:
            browser.sends(request(path, b"Proxy-Authorization: Basic Zm9v", body=ask()))
            self.assertEqual(self.places(), {("192.0.2.99", 3128)})
            wire = self.platform.wire
            line, *fields = wire.value().partition(b"\r\n\r\n")[0].split(b"\r\n")
            self.assertEqual(line, b"POST http://192.0.2.1:%d%b HTTP/1.1" % (port, path))
            self.assertIn(b"Host: 192.0.2.1:%d" % port, fields)
            given = [each for each in fields if each.lower().startswith(b"proxy")]
            self.assertEqual(given, [b"Proxy-Authorization: Basic bWU6aHVudGVyMg=="])
            wire.says(whole(200, b"{}", b"application/json", b"Connection: close"))
            self.reactor.advance(0)
        self.assertEqual([each.status for each in browser.got], [200] * 4)
        for page in (b"/status", b"/status.json", b"/metrics", b"/readyz"):
            browser.sends(request(page, method=b"GET"))
            self.reactor.advance(0)
        self.assertEqual([each.status for each in browser.got], [200] * 8)
        browser.leaves()
        self.successResultOf(service.stopService())
        self.assert_at_rest()
        shown = b"".join(each.body for each in browser.got).decode()
        shown += "".join(f"{formatEvent(event)} {event!r}" for event in events)
        shown += repr(service.settings)
        for secret in SECRETS:
            self.assertNotIn(secret, shown)

    def test_refused(self) -> None:
        """A proxy that wants other credentials is a 502 for the client, and nothing of its own."""
        service = self.configured(HTTP_PROXY=PROXY)
        self.platform.take()
        browser = self.browser()
        browser.sends(request(body=ask()))
        for _ in NAMES:
            fields = b'Proxy-Authenticate: Basic realm="hunter2"', b"Connection: close"
            self.platform.wire.says(whole(407, b"hunter2", b"text/html", *fields))
            self.reactor.advance(0)
        (response,) = browser.got
        self.assertEqual(response.status, 502)
        self.assertIn(b"upstream_connect_error", response.body)
        tried = ",".join(f"{name}=proxy_error" for name in NAMES)
        self.assertEqual(response.value(b"x-chutes-autopilot-tried"), tried.encode())
        self.assertNotIn(b"hunter2", browser.wire)
        browser.leaves()
        self.successResultOf(service.stopService())
        self.assert_at_rest()
