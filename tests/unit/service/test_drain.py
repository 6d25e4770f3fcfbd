"""The stop of a service, which drains what is in progress, over memory transports."""

from __future__ import annotations

from unittest.mock import patch

from twisted.internet.defer import Deferred

from tests.unit.relay.upstreams import DONE, SSE, STOP, TOKEN, chunk, head, whole
from tests.unit.service.platforms import ServiceTestCase, logged
from tests.unit.web.browsers import Browser, ask, request


class DrainTests(ServiceTestCase):
    """The stop, step by step."""

    def streaming(self) -> Browser:
        """Return a client in the middle of a stream."""
        browser = self.browser()
        browser.sends(request(body=ask()))
        self.platform.wire.says(head(200, SSE), chunk(TOKEN))
        return browser

    def ready(self, browser: Browser) -> tuple[int, str | None]:
        """Return the code of `/readyz`, as a client gets it."""
        browser.sends(request(b"/readyz", method=b"GET"))
        got = browser.got[-1]
        return got.status, got.json.get("error", {}).get("code")

    def ended(self, stopped: Deferred[None]) -> None:
        """Assert that the service has stopped and left nothing behind."""
        self.assertEqual(self.successResultOf(stopped), None)
        self.assert_at_rest()

    def test_delay(self) -> None:
        """During DRAIN_DELAY_MS the router reports 503 on /readyz and serves requests."""
        service = self.running(drain_delay_ms=5000)
        browser = self.browser()
        self.assertEqual(self.ready(browser), (200, None))
        stopped = service.stopService()
        self.assertEqual(self.ready(browser), (503, "draining"))
        late = self.browser()
        late.sends(request(body=ask()))
        self.platform.wire.says(whole(200, b"{}"))
        self.assertEqual(late.response.status, 200)
        self.reactor.advance(4.9)
        self.assertEqual(len(service.ports), 1)
        self.reactor.advance(0.1)
        self.assertEqual(service.ports, [])
        self.assertTrue(browser.closed and late.closed)
        self.assertNoResult(stopped)
        browser.leaves()
        late.leaves()
        self.ended(stopped)

    def test_streams_finish(self) -> None:
        """A stream in flight finishes normally; idle connections close at once."""
        service = self.running()
        idle, streaming = self.browser(), self.streaming()
        wire = self.platform.wire
        stopped = service.stopService()
        self.assertTrue(idle.closed)
        idle.leaves()
        self.reactor.advance(20)
        self.assertFalse(streaming.closed)
        wire.says(chunk(STOP + DONE), chunk(b""))
        self.assertTrue(streaming.response.whole and streaming.closed)
        self.assertNoResult(stopped)
        streaming.leaves()
        self.ended(stopped)

    def test_stop_says_what_it_waits_for(self) -> None:
        """A stop logs how many requests have how long, and its end."""
        observer = self.observed()
        service = self.running(drain_timeout_ms=3000)
        streaming = self.streaming()
        stopped = service.stopService()
        self.reactor.advance(3.0)
        streaming.leaves()
        self.ended(stopped)
        expected = ["Stopping: requests in progress (1) have 3 s to finish", "Stopped"]
        self.assertEqual(logged(observer)[1:], [("info", each) for each in expected])

    def test_stop_says_its_delay(self) -> None:
        """The wait for load balancers is logged; a stop that waits for nothing logs its end."""
        for delay, expected in (
            (2000, ["Stopping: the port stays open for 2 s, so that load balancers notice"]),
            (0, []),
        ):
            observer = self.observed()
            stopped = self.running(drain_delay_ms=delay).stopService()
            self.assertEqual([text for _, text in logged(observer)[1:2]], expected or ["Stopped"])
            self.reactor.advance(delay / 1000)
            self.ended(stopped)
            self.assertEqual([text for _, text in logged(observer)[1:]], [*expected, "Stopped"])

    def test_streams_are_ended(self) -> None:
        """After DRAIN_TIMEOUT_MS a stream ends with an error event and without a clean end."""
        service = self.running(drain_timeout_ms=3000)
        streaming = self.streaming()
        waiting = self.browser()
        waiting.sends(request(body=ask()))
        stopped = service.stopService()
        self.reactor.advance(2.9)
        self.assertFalse(streaming.closed or waiting.closed)
        self.reactor.advance(0.1)
        self.assertIn(b"upstream_stream_interrupted", streaming.response.body)
        self.assertFalse(streaming.response.whole)
        self.assertTrue(streaming.closed)
        self.assertEqual(waiting.response.error, (503, "server_error", "draining"))
        self.assertEqual(waiting.response.value(b"connection"), b"close")
        streaming.leaves()
        waiting.leaves()
        self.ended(stopped)

    def drain_is_ended(self, delay: int) -> None:
        """A stream ends at once by `end_drain`, as after DRAIN_TIMEOUT_MS."""
        service = self.running(drain_delay_ms=delay)
        streaming = self.streaming()
        stopped = service.stopService()
        service.end_drain()
        self.reactor.advance(0)
        self.assertIn(b"upstream_stream_interrupted", streaming.response.body)
        self.assertFalse(streaming.response.whole)
        streaming.leaves()
        self.ended(stopped)
        service.end_drain()

    def test_drain_is_ended(self) -> None:
        """The drain can be ended before its time."""
        self.drain_is_ended(0)

    def test_delay_is_ended(self) -> None:
        """So can the delay before it."""
        self.drain_is_ended(5000)

    def test_deaf_clients(self) -> None:
        """A client that does not read the error event is aborted a moment later."""
        service = self.running(drain_timeout_ms=3000)
        streaming = self.streaming()
        stopped = service.stopService()
        self.reactor.advance(3.0)
        self.assertFalse(streaming.peer.aborted)
        self.reactor.advance(1.0)
        self.assertTrue(streaming.peer.aborted)
        streaming.leaves()
        self.ended(stopped)

    def test_no_new_requests(self) -> None:
        """The next request on a kept connection is rejected, and the connection closes."""
        service = self.running()
        browser = self.browser()
        browser.sends(request(body=ask())[:-3])
        stopped = service.stopService()
        browser.sends(request(body=ask())[-3:])
        self.assertEqual(browser.response.error, (503, "server_error", "draining"))
        self.assertEqual(browser.response.value(b"connection"), b"close")
        self.assertTrue(browser.closed)
        browser.leaves()
        self.ended(stopped)

    def test_a_step_fails(self) -> None:
        """A step of the stop that fails is logged, and all others follow."""
        service = self.running()
        streaming = self.streaming()
        parts = service._parts
        with (
            patch.object(parts.updates, "close", side_effect=ZeroDivisionError),
            patch.object(parts.attestation, "stop", side_effect=OverflowError),
        ):
            stopped = service.stopService()
            self.platform.wire.says(chunk(STOP + DONE), chunk(b""))
            self.assertTrue(streaming.response.whole and streaming.closed)
            streaming.leaves()
        self.assertEqual(self.successResultOf(stopped), None)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError, OverflowError)), 2)
        parts.updates.close()
        self.successResultOf(parts.attestation.stop())
        self.assert_at_rest()

    def test_without_a_port(self) -> None:
        """An embedded router waits for its streams only."""
        service = self.running(listen=False, drain_delay_ms=5000)
        self.assertEqual(self.reactor.tcpServers, [])
        self.ended(service.stopService())
