"""Tests of the live settings of times, each named after its setting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.unit.relay.upstreams import SSE, TOKEN, chunk, head
from tests.unit.web.browsers import Browser, ask, request
from tests.unit.wiring.cases import ONE, ReloadTestCase

_SHORT = 100
"""Milliseconds."""


class TimeTests(ReloadTestCase):
    """Each timeout expires only after the change."""

    def assert_shortened(
        self, name: str, code: str, *said: bytes, stream: bool = True, **given: Any
    ) -> None:
        """Assert that a request ends with this error once the named time is shortened."""
        self.start(**given)
        for pause in (None, _SHORT):
            if pause:
                self.change(**{name: pause})
            browser = self.ask(ONE, stream=stream)
            if said:
                self.platform.wire.says(*said)
            self.reactor.advance(_SHORT / 1000 + 0.001)
            self.assertEqual(code in browser.wire.decode(), bool(pause))

    def test_total_deadline_ms(self) -> None:
        """The deadline of all attempts together."""
        self.platform_is_silent()
        self.assert_shortened("total_deadline_ms", "upstream_total_timeout")

    def test_upstream_header_timeout_ms(self) -> None:
        """The timeout of a stream's head."""
        self.platform_is_silent()
        self.assert_shortened("upstream_header_timeout_ms", "upstream_header_timeout")

    def test_upstream_unary_timeout_ms(self) -> None:
        """The timeout of a plain response's head."""
        self.platform_is_silent()
        self.assert_shortened("upstream_unary_timeout_ms", "upstream_header_timeout", stream=False)

    def platform_is_silent(self) -> None:
        """Accept connections without sending a byte."""
        send: Callable[..., Browser] = self.ask

        def ask_and_connect(*given: Any, **also: Any) -> Browser:
            browser = send(*given, **also)
            self.platform.take()
            return browser

        self.patch(self, "ask", ask_and_connect)

    def test_upstream_connect_timeout_ms(self) -> None:
        """The connect timeout."""
        self.assert_shortened("upstream_connect_timeout_ms", "upstream_connect_error")

    def test_upstream_first_body_byte_timeout_ms(self) -> None:
        """The timeout of the first body byte."""
        self.assert_shortened(
            "upstream_first_body_byte_timeout_ms",
            "upstream_first_body_byte_timeout",
            head(200, SSE),
        )

    def test_upstream_idle_timeout_ms(self) -> None:
        """The timeout of silence within a response."""
        self.assert_shortened(
            "upstream_idle_timeout_ms",
            "upstream_stream_interrupted",
            head(200, SSE),
            chunk(TOKEN),
        )

    def test_error_body_timeout_ms(self) -> None:
        """An error whose body does not arrive in time is relayed as it is."""
        self.start()
        for pause, sent in ((2000, False), (_SHORT, True)):
            self.change(error_body_timeout_ms=pause)
            browser = self.ask(ONE)
            self.half_a_refusal()
            self.reactor.advance(_SHORT / 1000 + 0.001)
            self.assertEqual(browser.wire.startswith(b"HTTP/1.1 429"), sent)

    def test_failover_after_ms(self) -> None:
        """The time before a stream's failover to another model."""
        self.assert_fails_over("failover_after_ms", stream=True)

    def test_plain_failover_after_ms(self) -> None:
        """The time before the failover of another request."""
        self.assert_fails_over("plain_failover_after_ms", stream=False)

    def assert_fails_over(self, name: str, *, stream: bool) -> None:
        """Assert that a silent model is given up only once the named time is shortened."""
        self.start()
        for patience, attempts in ((12_000, 1), (_SHORT, 2)):
            self.change(**{name: patience})
            before = len(self.platform.wires)
            self.ask(stream=stream)
            self.platform.take()
            self.reactor.advance(_SHORT / 1000 + 0.1)
            self.platform.take()
            self.assertEqual(len(self.platform.wires) - before, attempts)

    def test_readyz_max_snapshot_age_ms(self) -> None:
        """A fresh utilization feed becomes stale."""
        self.assert_stale("readyz_max_snapshot_age_ms", "stale_snapshot")

    def test_readyz_max_allowlist_age_ms(self) -> None:
        """A fresh catalog becomes stale."""
        self.assert_stale("readyz_max_allowlist_age_ms", "stale_allowlist")

    def assert_stale(self, name: str, code: str) -> None:
        """Assert that the router is ready after a second, but not with the new setting."""
        self.start()
        self.reactor.advance(1.0)
        self.assertEqual(self.get(b"/readyz").status, 200)
        self.change(**{name: 500})
        self.assertEqual(self.get(b"/readyz").json["error"]["code"], code)

    def test_client_header_timeout_ms(self) -> None:
        """The timeout of a request's head."""
        self.assert_too_slow("client_header_timeout_ms", request(body=ask())[:20])

    def test_client_body_timeout_ms(self) -> None:
        """The timeout of a request's body."""
        self.assert_too_slow("client_body_timeout_ms", request(body=ask())[:-1])

    def test_client_idle_timeout_ms(self) -> None:
        """The time between two requests of a connection."""
        self.start()
        for pause in (None, _SHORT):
            if pause:
                self.change(client_idle_timeout_ms=pause)
            browser = self.browser()
            browser.sends(request(b"/healthz", method=b"GET"))
            self.reactor.advance(_SHORT / 1000 + 0.001)
            self.assertEqual(browser.closed, bool(pause))

    def assert_too_slow(self, name: str, sent: bytes) -> None:
        """Assert that half a request times out only after the change."""
        self.start()
        for pause in (None, _SHORT):
            if pause:
                self.change(**{name: pause})
            browser = self.browser()
            browser.sends(sent)
            self.reactor.advance(_SHORT / 1000 + 0.001)
            self.assertEqual(b"408" in browser.wire, bool(pause))

    def test_drain_delay_ms(self) -> None:
        """The port stays open during the delay."""
        self.start()
        self.change(drain_delay_ms=_SHORT)
        stopped = self.router.stopService()
        self.assertEqual(len(self.router.ports), 1)
        self.reactor.advance(_SHORT / 1000)
        self.assertEqual(self.router.ports, [])
        self.successResultOf(stopped)

    def test_drain_timeout_ms(self) -> None:
        """Streams have less time to finish while draining."""
        self.start()
        browser = self.ask()
        self.platform.wire.says(head(200, SSE), chunk(TOKEN))
        self.change(drain_timeout_ms=_SHORT)
        self.router.stopService()
        self.assertNotIn(b"shutting down", browser.wire)
        self.reactor.advance(_SHORT / 1000)
        self.assertIn(b"shutting down", browser.wire)
