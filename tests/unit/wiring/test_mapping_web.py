"""Tests of the live settings of the client side, each named after its setting."""

from __future__ import annotations

from tests.unit.relay.upstreams import whole
from tests.unit.web.browsers import ask, request
from tests.unit.wiring.cases import ONE, TWO, ReloadTestCase


class WebTests(ReloadTestCase):
    """Limits on clients."""

    def test_max_request_bytes(self) -> None:
        """The new size limit applies, also on an open connection."""
        self.start()
        browser = self.browser()
        sent = request(body=ask(ONE, stream=False))
        for most, status in ((1000, 200), (10, 413)):
            self.change(max_request_bytes=most)
            browser.sends(sent)
            if status == 200:
                self.platform.wire.says(whole(200, b"{}"))
            self.assertEqual(browser.got[-1].status, status)
        self.change(max_request_bytes=1000)
        self.ask(ONE)
        self.assertEqual(self.metric("autopilot_requests_active"), 1)

    def test_cors_allow_origins(self) -> None:
        """Pages of an added origin may call, and those of a removed one may not."""
        self.start()
        origin = b"https://chat.example"
        asks = (b"Origin: " + origin, b"Access-Control-Request-Method: POST")
        for origins, allowed, status in (
            ((), [], 405),
            ((origin.decode(),), [origin], 204),
            ((), [], 405),
        ):
            self.change(cors_allow_origins=origins)
            browser = self.ask(ONE, asks[0], stream=False)
            self.platform.wire.says(whole(200, b"{}"))
            values = browser.response.values(b"access-control-allow-origin")
            self.assertEqual(values, allowed)
            preflight = self.browser()
            preflight.sends(request(b"/v1/chat/completions", *asks, method=b"OPTIONS"))
            self.assertEqual(preflight.response.status, status)

    def test_require_key(self) -> None:
        """A key is required from the next request on, and no longer once it is turned off."""
        self.start()
        for required, status in (("auto", 200), ("on", 401), ("off", 200)):
            self.change(require_key=required)
            browser = self.ask(ONE, stream=False)
            if status == 200:
                self.platform.wire.says(whole(200, b"{}"))
            self.assertEqual(browser.response.status, status)

    def test_edge_rate(self) -> None:
        """A key's calls are limited from the next request on, and no longer once that is off."""
        self.start(pace_ms=0)
        self.reactor.advance(60.0)  # before that the router sends only what it has time for
        for rate, status in ((1, 200), (1, 429), ("off", 200), (1, 429), ("auto", 200)):
            self.change(edge_rate=rate)
            browser = self.ask(ONE, stream=False)
            self.reactor.advance(0)
            if status == 200:
                self.platform.wire.says(whole(200, b"{}"))
            self.assertEqual(browser.response.status, status, rate)

    def test_pace_ms(self) -> None:
        """The time that a request waits is the one at its arrival."""
        self.start(edge_rate=1)
        self.ask(ONE, stream=False)
        self.platform.wire.says(whole(200, b"{}"))
        for pace in (500, 100):
            self.change(pace_ms=pace)
            browser = self.ask(ONE, stream=False)
            self.reactor.advance(pace / 1000 - 0.001)
            self.assertEqual(browser.got, [])
            self.reactor.advance(0.002)
            self.assertEqual(browser.response.status, 429)

    def test_keepalive_after_ms(self) -> None:
        """A stream begins before its answer after the time that was set at its arrival."""
        self.start()
        for silence, begins in ((0, False), (1000, True), (5000, False), (0, False)):
            self.change(keepalive_after_ms=silence)
            browser = self.ask(ONE)
            self.reactor.advance(1.0)
            self.assertIs(b": keep-alive" in browser.wire, begins, silence)

    def test_hedge_after_p95(self) -> None:
        """A slow stream has a second attempt if that was so at its arrival."""
        self.start()
        proxy, now = self.router._parts.proxy, self.reactor.seconds()
        for _ in range(20):
            proxy.tables.latency.started(ONE, 0.1, now)
            proxy._shared.hedges.request(now)
        for times, calls in ((0, 1), (3, 2), (0, 1)):
            self.change(hedge_after_p95=times)
            before = self._calls
            browser = self.ask(f"{ONE},{TWO}")
            self.assertEqual(self._calls - before, 1, times)
            self.reactor.advance(0.31)
            self.assertEqual(self._calls - before, calls, times)
            browser.leaves()

    @property
    def _calls(self) -> int:
        self.platform.take()
        return sum(wire.value().count(b"POST ") for wire in self.platform.wires)

    def test_max_concurrent_requests(self) -> None:
        """A request above the new limit is rejected."""
        self.start()
        first, second = self.ask(ONE), self.ask(ONE)
        self.change(max_concurrent_requests=2, client_max_share=1.0)
        third = self.ask(ONE)
        self.assertEqual((first.wire, second.wire), (b"", b""))
        self.assertEqual(third.response.error[::2], (503, "overloaded"))

    def test_max_buffered_bytes(self) -> None:
        """Above the new limit a body is rejected by the head of its request."""
        self.start()
        for most, status in ((10, 503), (1000, 200)):
            self.change(max_buffered_bytes=most)
            browser = self.ask(ONE, stream=False)
            if status == 200:
                self.assertGreater(self.metric("autopilot_buffered_bytes"), 10)
                self.platform.wire.says(whole(200, b"{}"))
            self.assertEqual(browser.response.status, status)
        self.assertEqual(self.metric("autopilot_buffered_bytes"), 0)

    def test_client_max_share(self) -> None:
        """The new share applies to the address of every client, until it is 1."""
        self.start(max_concurrent_requests=4)
        first, second = self.ask(ONE), self.ask(ONE)
        self.change(client_max_share=0.5)
        third = self.ask(ONE)
        self.assertEqual((first.wire, second.wire), (b"", b""))
        self.assertEqual(third.response.error[::2], (429, "too_many_connections"))
        self.change(client_max_share=1.0)
        self.assertEqual(self.ask(ONE).wire, b"")
