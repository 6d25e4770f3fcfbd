"""Live settings that are times. Each test bears its setting's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.unit.relay.upstreams import SSE, TOKEN, chunk, head
from tests.unit.web.browsers import Browser, ask, request
from tests.unit.wiring.cases import ONE, ReloadTestCase

_SHORT = 100
"""Milliseconds."""


class TimeTests(ReloadTestCase):
    """Before the change nothing happens for a while, after it something does."""

    def assert_shortened(
        self, name: str, code: str, *said: bytes, stream: bool = True, **given: Any
    ) -> None:
        """With the named time cut short, a request to one model ends with this error."""
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
        """All attempts together."""
        self.platform_is_silent()
        self.assert_shortened("total_deadline_ms", "upstream_header_timeout")

    def test_upstream_header_timeout_ms(self) -> None:
        """The head of a stream."""
        self.platform_is_silent()
        self.assert_shortened("upstream_header_timeout_ms", "upstream_header_timeout")

    def test_upstream_unary_timeout_ms(self) -> None:
        """The head of a whole answer."""
        self.platform_is_silent()
        self.assert_shortened("upstream_unary_timeout_ms", "upstream_header_timeout", stream=False)

    def platform_is_silent(self) -> None:
        """Connections open, and that is all."""
        send: Callable[..., Browser] = self.ask

        def ask_and_connect(*given: Any, **also: Any) -> Browser:
            browser = send(*given, **also)
            self.platform.take()
            return browser

        self.patch(self, "ask", ask_and_connect)

    def test_upstream_connect_timeout_ms(self) -> None:
        """The way to the platform."""
        self.assert_shortened("upstream_connect_timeout_ms", "upstream_connect_error")

    def test_upstream_first_body_byte_timeout_ms(self) -> None:
        """A head with nothing behind it."""
        self.assert_shortened(
            "upstream_first_body_byte_timeout_ms",
            "upstream_first_body_byte_timeout",
            head(200, SSE),
        )

    def test_upstream_idle_timeout_ms(self) -> None:
        """Silence within an answer."""
        self.assert_shortened(
            "upstream_idle_timeout_ms",
            "upstream_stream_interrupted",
            head(200, SSE),
            chunk(TOKEN),
        )

    def test_error_body_timeout_ms(self) -> None:
        """An error that does not come to its point is relayed as it is."""
        self.start()
        for pause, sent in ((2000, False), (_SHORT, True)):
            self.change(error_body_timeout_ms=pause)
            browser = self.ask(ONE)
            self.half_a_refusal()
            self.reactor.advance(_SHORT / 1000 + 0.001)
            self.assertEqual(browser.wire.startswith(b"HTTP/1.1 429"), sent)

    def test_failover_after_ms(self) -> None:
        """Less patience while there is another model."""
        self.start()
        for patience, attempts in ((12_000, 1), (_SHORT, 2)):
            self.change(failover_after_ms=patience)
            before = len(self.platform.wires)
            self.ask()
            self.platform.take()
            self.reactor.advance(_SHORT / 1000 + 0.1)
            self.platform.take()
            self.assertEqual(len(self.platform.wires) - before, attempts)

    def test_readyz_max_snapshot_age_ms(self) -> None:
        """What was fresh is stale."""
        self.assert_stale("readyz_max_snapshot_age_ms", "stale_snapshot")

    def test_readyz_max_allowlist_age_ms(self) -> None:
        """The same for the catalog."""
        self.assert_stale("readyz_max_allowlist_age_ms", "stale_allowlist")

    def assert_stale(self, name: str, code: str) -> None:
        """After a second the router is ready, and by the new setting it is not."""
        self.start()
        self.reactor.advance(1.0)
        self.assertEqual(self.get(b"/readyz").status, 200)
        self.change(**{name: 500})
        self.assertEqual(self.get(b"/readyz").json["error"]["code"], code)

    def test_client_header_timeout_ms(self) -> None:
        """A client that is slow with its head."""
        self.assert_too_slow("client_header_timeout_ms", request(body=ask())[:20])

    def test_client_body_timeout_ms(self) -> None:
        """A client that is slow with its body."""
        self.assert_too_slow("client_body_timeout_ms", request(body=ask())[:-1])

    def assert_too_slow(self, name: str, sent: bytes) -> None:
        """The same half of a request is waited for, and then it is not."""
        self.start()
        for pause in (None, _SHORT):
            if pause:
                self.change(**{name: pause})
            browser = self.browser()
            browser.sends(sent)
            self.reactor.advance(_SHORT / 1000 + 0.001)
            self.assertEqual(b"408" in browser.wire, bool(pause))

    def test_drain_delay_ms(self) -> None:
        """The port stays open for a moment."""
        self.start()
        self.change(drain_delay_ms=_SHORT)
        stopped = self.router.stopService()
        self.assertEqual(len(self.router.ports), 1)
        self.reactor.advance(_SHORT / 1000)
        self.assertEqual(self.router.ports, [])
        self.successResultOf(stopped)

    def test_drain_timeout_ms(self) -> None:
        """Streams have less time to finish."""
        self.start()
        browser = self.ask()
        self.platform.wire.says(head(200, SSE), chunk(TOKEN))
        self.change(drain_timeout_ms=_SHORT)
        self.router.stopService()
        self.assertNotIn(b"shutting down", browser.wire)
        self.reactor.advance(_SHORT / 1000)
        self.assertIn(b"shutting down", browser.wire)
