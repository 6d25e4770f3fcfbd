"""Tests of the router inside another application."""

from __future__ import annotations

from unittest.mock import patch

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from twisted.application.service import MultiService
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.web.resource import Resource
from twisted.web.server import Site

from autopilot import AutopilotService, autopilot_resource
from autopilot.observability.history import History
from autopilot.observability.key_counts import KeyCounts
from autopilot.observability.metrics import Metrics
from autopilot.observability.records import Outcome, RequestRecord
from autopilot.observability.reporter import Reporter
from tests.unit.observability.records import record
from tests.unit.relay.upstreams import DONE, SSE, STOP, TOKEN, chunk, head, whole
from tests.unit.service.platforms import NAMES, ServiceTestCase, settings
from tests.unit.web.browsers import CHAT, ask, request


class EmbeddingTests(ServiceTestCase):
    """Embedding as the README shows it."""

    def test_service(self) -> None:
        """A service beside others, started and stopped with them."""
        parent = MultiService()
        AutopilotService(settings(), reactor=self.reactor).setServiceParent(parent)
        parent.startService()
        self.platform.take()
        browser = self.browser()
        browser.sends(request(body=ask()))
        self.platform.wire.says(head(200, SSE), chunk(TOKEN + STOP + DONE), chunk(b""))
        self.assertEqual(browser.response.body, TOKEN + STOP + DONE)
        stopped = parent.stopService()
        browser.leaves()
        self.successResultOf(stopped)
        self.assert_at_rest()

    def refuses_one(self, service: AutopilotService) -> None:
        """Run a service for one request, which it rejects."""
        service.startService()
        self.platform.take()
        browser = self.browser()
        browser.sends(request(body=ask("no/such-model")))
        browser.leaves()
        self.successResultOf(service.stopService())

    def test_records(self) -> None:
        """Requests are events of the application's log, or whatever it makes of their records."""
        events = EventLoggingObserver()
        globalLogPublisher.addObserver(events)
        self.addCleanup(globalLogPublisher.removeObserver, events)
        records: list[RequestRecord] = []
        for write in (None, records.append):
            service = AutopilotService(settings(), reactor=self.reactor, records=write)
            self.refuses_one(service)
            self.reactor.tcpServers.clear()
        logged = [each["outcome"] for each in events if "req_id" in each]
        self.assertEqual((logged, [each.outcome for each in records]), (["refused"], ["refused"]))

    def test_records_that_raise(self) -> None:
        """A callback that raises costs no request, no slot and no stop; it is logged, not often."""

        def broken(record: RequestRecord) -> None:
            raise ZeroDivisionError("secret")

        service = AutopilotService(
            settings(max_concurrent_requests=2), reactor=self.reactor, records=broken
        )
        service.startService()
        self.platform.take()
        browser = self.browser()
        for _ in range(50):
            browser.sends(request(body=ask(stream=False)))
            self.platform.wire.says(whole(200, b'{"a":1}'))
            self.assertEqual(browser.got[-1].body, b'{"a":1}')
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        browser.sends(request(b"/metrics", method=b"GET"))
        metrics = browser.got[-1].body
        self.assertIn(b"chutes_autopilot_requests_active 0.0\n", metrics)
        self.assertIn(b'chutes_autopilot_requests_total{status="200"} 50', metrics)
        browser.sends(request(b"/status.json", method=b"GET"))
        self.assertEqual(browser.got[-1].json["past"]["whole"]["requests"], 50)
        browser.leaves()
        self.successResultOf(service.stopService())
        self.assert_at_rest()

    def test_consumers_that_raise(self) -> None:
        """Whatever takes in a record, its failure keeps no other one from the record."""
        kind: type[object]
        for kind, method in (
            (Metrics, "request"),
            (KeyCounts, "record"),
            (History, "add"),
            (Reporter, "report"),
        ):
            records: list[RequestRecord] = []
            with patch.object(kind, method, side_effect=ZeroDivisionError):
                service = AutopilotService(
                    settings(), reactor=self.reactor, listen=False, records=records.append
                )
                parts = service._parts
                parts.record(record(outcome=Outcome.REFUSED, key="ci"))
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
            self.assertEqual(len(records), kind is not Reporter)
            self.assertEqual(len(parts.history.latest()), kind is not History)
            self.assertEqual(parts.history.window().whole.requests, kind is not History)
            text = parts.metrics.text()
            self.assertEqual(b"autopilot_requests_total{" in text, kind is not Metrics)
            self.assertEqual(b'key_requests_total{key="ci"' in text, kind is not KeyCounts)

    def test_traces(self) -> None:
        """An application that traces gets the router's spans among its own."""
        spans = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(spans))
        service = AutopilotService(settings(), reactor=self.reactor, traces=provider)
        self.refuses_one(service)
        self.assertEqual(
            [each.name for each in spans.get_finished_spans()], ["POST /v1/chat/completions"]
        )
        self.assertTrue(provider.force_flush())

    def test_resource(self) -> None:
        """A resource in another site, on Twisted's own channel: at the root or under a prefix."""
        service = self.running(listen=False)
        self.assertEqual(self.reactor.tcpServers, [])
        root = Resource()
        root.putChild(b"llm", autopilot_resource(service))
        for resource, prefix in ((autopilot_resource(service), b""), (root, b"/llm")):
            browser = self.browse(Site(resource, reactor=self.reactor))
            browser.sends(request(prefix + CHAT + b"?x=1", body=ask("acme/two")))
            wire = self.platform.wire
            self.assertIn(b"POST /v1/chat/completions?x=1 HTTP/1.1\r\n", wire.value())
            wire.says(whole(200, b'{"a":1}'))
            self.assertEqual(browser.response.body, b'{"a":1}')
            for path in (b"/readyz", b"/metrics", b"/v1/models", b"/v1/models/acme/one"):
                browser.sends(request(prefix + path, method=b"GET"))
                self.assertEqual(browser.got[-1].status, 200)
            self.assertEqual(browser.got[-1].json["id"], NAMES[0])
            browser.leaves()
        self.successResultOf(service.stopService())
        self.assert_at_rest()

    def test_resource_for_operators(self) -> None:
        """A resource has the operators' pages only if they share the port of the API."""
        for address, status in (("127.0.0.1:8081", 404), ("127.0.0.1:9999", 404), ("-", 200)):
            service = self.running(listen=False, admin_listen_addr=address)
            self.assertEqual(self.reactor.tcpServers, [])
            browser = self.browse(Site(autopilot_resource(service), reactor=self.reactor))
            for path in (b"/metrics", b"/status", b"/status.json"):
                browser.sends(request(path, method=b"GET"))
                self.assertEqual(browser.got[-1].status, status, (address, path))
            browser.sends(request(b"/readyz", method=b"GET"))
            self.assertEqual(browser.got[-1].status, 200)
            browser.sends(request(b"/", method=b"GET"))
            start = browser.got[-1].json
            self.assertEqual(start["openai_base_url"], "http://router.test/v1")
            self.assertEqual("status" in start, status == 200)
            browser.leaves()
            self.successResultOf(service.stopService())
        self.assert_at_rest()

    def test_operators_resource(self) -> None:
        """The operators' pages can be put anywhere, whatever the settings say of their port."""
        for address in ("127.0.0.1:8081", "-"):
            service = self.running(listen=False, admin_listen_addr=address)
            root, inside = Resource(), Resource()
            root.putChild(b"llm", autopilot_resource(service))
            root.putChild(b"internal", inside)
            inside.putChild(b"router", service.operators_resource)
            browser = self.browse(Site(root, reactor=self.reactor))
            for path, status in (
                (b"/internal/router/metrics", 200),
                (b"/internal/router/status", 200),
                (b"/internal/router/status.json", 200),
                (b"/internal/router/readyz", 200),
                (b"/internal/router/v1/models", 404),
                (b"/llm/v1/models", 200),
            ):
                browser.sends(request(path, method=b"GET"))
                self.assertEqual(browser.got[-1].status, status, path)
            browser.leaves()
            self.successResultOf(service.stopService())
        self.assert_at_rest()

    def test_stop_ends_streams(self) -> None:
        """Stopping the service ends its streams on a foreign site too, and refuses new requests."""
        service = self.running(listen=False, drain_timeout_ms=3000)
        site = Site(autopilot_resource(service), reactor=self.reactor)
        streaming, other = self.browse(site), self.browse(site)
        streaming.sends(request(body=ask()))
        self.platform.wire.says(head(200, SSE), chunk(TOKEN))
        stopped = service.stopService()
        other.sends(request(body=ask()))
        self.assertEqual(other.response.error, (503, "server_error", "draining"))
        self.reactor.advance(3.0)
        self.assertIn(b"upstream_stream_interrupted", streaming.response.body)
        self.assertFalse(streaming.response.whole)
        self.assertTrue(streaming.closed)
        self.successResultOf(stopped)
        for browser in (streaming, other):
            browser.leaves()
        self.assert_at_rest()
