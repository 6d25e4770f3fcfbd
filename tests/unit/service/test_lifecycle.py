"""Tests of the service: starting, listening and a graceful stop."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from twisted.application.service import IService
from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.testing import StringTransport
from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import URI
from zope.interface.verify import verifyObject

from autopilot import AutopilotService, Settings, autopilot_resource, tap
from autopilot._version import __version__
from autopilot.http import tls_identity
from autopilot.http.forward_proxy import DIRECT
from autopilot.observability.records import RequestRecord
from autopilot.service.lifecycle import use_monotonic_clock
from autopilot.service.parent import ParentService
from autopilot.upstream.endpoints import VerifiedEndpoints, trust_root
from autopilot.wiring.agent import PlatformAgent
from tests.unit.relay.upstreams import whole
from tests.unit.service.platforms import NAMES, ServiceTestCase, logged, settings
from tests.unit.web.browsers import CHAT, ask, request


class RunningTests(ServiceTestCase):
    """Start, traffic, stop."""

    def test_is_a_service(self) -> None:
        """It is an ordinary Twisted service with a name."""
        service = self.service()
        self.assertTrue(verifyObject(IService, service))
        self.assertEqual(service.name, "autopilot")
        self.assertIs(autopilot_resource(service), service.resource)

    def test_serves(self) -> None:
        """With both feeds the router is ready, and relays."""
        service = self.service()
        service.startService()
        browser = self.browser()
        browser.sends(request(b"/readyz", method=b"GET"))
        self.platform.take()
        browser.sends(request(b"/readyz", method=b"GET") + request(b"/metrics", method=b"GET"))
        browser.sends(request(body=ask()))
        self.assertEqual([each.status for each in browser.got], [503, 200, 200])
        self.assertIn(b"chutes_autopilot_ready_candidates 2.0", browser.got[2].body)
        self.platform.wire.says(whole(200, b'{"a":1}'))
        self.assertEqual(browser.got[3].value(b"x-chutes-autopilot-selected"), b"acme/one")
        browser.leaves()
        self.successResultOf(service.stopService())
        self.assert_at_rest()

    def test_status(self) -> None:
        """The status page shows the router's state and recent events, and nothing about clients."""
        service = self.running()
        browser = self.browser()
        browser.sends(request(CHAT, b"Authorization: Bearer secret", body=ask()))
        self.platform.wire.says(whole(503, b"{}"))
        self.platform.take()
        self.platform.wire.says(whole(200, b"{}"))
        browser.sends(request(b"/status.json", method=b"GET"))
        status = browser.got[1].json
        self.assertTrue(status["ready"])
        self.assertEqual([each["name"] for each in status["ranking"]], list(NAMES))
        (failed,) = status["recent"][0]["failovers"]
        self.assertEqual(failed["reason"], "status_503")
        self.assertNotIn("secret", json.dumps(status))
        browser.leaves()
        self.successResultOf(service.stopService())

    def recorded(self, records: Callable[[RequestRecord], None]) -> AutopilotService:
        """Return a running service that requires a key, with this consumer of records."""
        service = AutopilotService(
            settings(require_key="on"), reactor=self.reactor, records=records
        )
        service.startService()
        self.platform.take()
        return service

    def test_refused_head(self) -> None:
        """What is refused at its head leaves one record, and is counted once."""
        records: list[RequestRecord] = []
        service = self.recorded(records.append)
        browser = self.browser()
        browser.sends(request(CHAT, b"X-Request-ID: mine", body=ask()))
        (record,) = records
        facts = (record.req_id, record.endpoint, record.status, record.code, record.outcome)
        self.assertEqual(facts, ("mine", CHAT.decode(), 401, "missing_key", "refused"))
        self.assertEqual(record.snapshot_age_ms, 0.0)
        text = service._parts.metrics.text()
        self.assertIn(b'_outcomes_total{outcome="refused"} 1.0', text)
        self.assertIn(b"chutes_autopilot_request_duration_seconds_count 0", text)

    def test_a_consumer_that_fails(self) -> None:
        """What a consumer of records raises is logged, and the client gets its error."""

        def fail(record: RequestRecord) -> None:
            raise ZeroDivisionError

        self.recorded(fail)
        browser = self.browser()
        browser.sends(request(CHAT, body=ask()))
        self.assertEqual(browser.response.status, 401)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_activity(self) -> None:
        """What the reactor does is noted for its watch: the feeds, requests and pages."""
        activity = self.running()._parts.hold_watch.activity
        self.assertIn(" feed", activity.since(0.0))
        browser = self.browser()
        browser.sends(request(body=ask()))
        self.assertEqual(activity.since(0.0), "reading a request")
        self.platform.wire.says(whole(200, b"{}"))
        for path, work in ((b"/metrics", "/metrics"), (b"/status", "the status page")):
            browser.sends(request(path, method=b"GET"))
            self.assertEqual(activity.since(0.0), f"rendering {work}")

    def test_ages_in_metrics(self) -> None:
        """Ages are computed at scrape time; -1 before the first fetch."""
        self.service().startService()
        browser = self.browser()
        browser.sends(request(b"/metrics", method=b"GET"))
        self.platform.take()
        self.reactor.advance(2.0)
        browser.sends(request(b"/metrics", method=b"GET"))
        before, after = (each.body for each in browser.got)
        for name in (b"snapshot", b"allowlist"):
            self.assertIn(b"chutes_autopilot_ready_%b_age_ms -1.0" % name, before)
            self.assertIn(b"chutes_autopilot_ready_%b_age_ms 2000.0" % name, after)

    def test_warns(self) -> None:
        """A start and a reload warn of settings that leave no room for a second attempt."""
        observer = self.observed()

        def warned() -> list[str]:
            texts = [formatEvent(event) for event in observer if event["log_level"].name == "warn"]
            return [text.partition(" ")[0] for text in texts if "second attempt" in text]

        service = self.running(max_attempts=1)
        self.assertEqual(warned(), ["MAX_ATTEMPTS=1"])
        service.reload(service.settings)
        self.assertEqual(warned(), ["MAX_ATTEMPTS=1"])
        service.reload(replace(service.settings, max_attempts=2, total_deadline_ms=11_000))
        self.assertEqual(len(warned()), 3)
        self.successResultOf(service.stopService())

    def test_embedded_workers(self) -> None:
        """An application is one process, and learns that WORKERS has no effect in it."""
        for workers, own, warnings in (
            (4, False, 1),
            ("auto", False, 1),
            (4, True, 0),
            (1, False, 0),
        ):
            observer = self.observed()
            service = self.service(workers=workers)
            if own:
                service.own_process(())
            service.startService()
            texts = [formatEvent(event) or "" for event in observer]
            self.assertEqual(sum("WORKERS is ignored" in text for text in texts), warnings)
            self.successResultOf(service.stopService())

    def test_feeds_are_quiet(self) -> None:
        """A successful fetch logs nothing."""
        observer = self.observed()
        service = self.running()
        for _ in range(40):
            self.reactor.advance(1.0)
            self.platform.take()
        self.assertGreaterEqual(len(self.platform.wires), 4)
        self.successResultOf(service.stopService())
        self.assertEqual([event for event in observer if "actory" in str(event)], [])

    def test_https_feeds(self) -> None:
        """Feeds are fetched over TLS with the same verification as calls."""
        ways = VerifiedEndpoints(self.reactor, trust_root(None))
        agent = PlatformAgent(self.reactor, ways, DIRECT)
        made = agent.endpointForURI(URI.fromBytes(b"https://feeds.test/x"))
        self.assertTrue(verifyObject(IStreamClientEndpoint, made))
        factory = Factory.forProtocol(Protocol)
        made.connect(factory)
        (_host, port, wrapping, _timeout, _bind) = self.reactor.tcpClients[0]
        self.assertEqual((port, factory.noisy), (443, False))
        wire: Any = StringTransport()
        protocol: Any = wrapping.buildProtocol(None)
        protocol.makeConnection(wire)
        self.assertEqual(wire.value()[:1], b"\x16")
        self.assertIn(b"feeds.test", wire.value())

    def test_tls_at_start(self) -> None:
        """The TLS contexts of calls, feeds and evidence are made at start."""
        made: list[str] = []

        def counted(host: str, **options: Any) -> Any:
            made.append(host)
            return optionsForClientTLS(host, **options)

        self.patch(tls_identity, "optionsForClientTLS", counted)
        service = self.service(
            backend_base_url="https://LLM.test/v1",
            messages_base_url="https://[2001:DB8::1]:8443",
            responses_base_url="https://responses.test",
            models_url="https://LLM.test/v1/models",
            utilization_url="https://[2001:DB8::2]/chutes/utilization",
            api_base_url="https://api.test",
        )
        hosts = ["llm.test", "2001:db8::1", "responses.test", "2001:db8::2", "api.test"]
        self.assertEqual(made, hosts)
        service.startService()
        self.assertEqual(len(self.reactor.tcpClients), 2)
        self.assertEqual(made, hosts)
        self.successResultOf(service.stopService())

    def test_ports(self) -> None:
        """The service listens on the addresses of the settings, and reports its ports."""
        service = self.service(listen_addr="127.0.0.1:8081", admin_listen_addr="[::1]:8082")
        self.assertEqual(service.ports, [])
        service.privilegedStartService()
        service.startService()
        self.assertEqual(service.ports, [8081, 8082])
        listening = [(port, backlog, host) for port, _, backlog, host in self.reactor.tcpServers]
        self.assertEqual(listening, [(8081, 1024, "127.0.0.1"), (8082, 1024, "::1")])
        self.successResultOf(service.stopService())
        self.assertEqual(service.ports, [])

    def test_operators_apart(self) -> None:
        """ADMIN_LISTEN_ADDR moves metrics and status from the clients' port to its own."""
        service = self.running(admin_listen_addr="127.0.0.1:8082")
        for path in (b"/metrics", b"/status", b"/status.json"):
            for port, status in ((0, 404), (1, 200)):
                browser = self.browser(port)
                browser.sends(request(path, method=b"GET"))
                self.assertEqual(browser.response.status, status)
                browser.leaves()
        admin = self.browser(1)
        admin.sends(request(body=ask()) + request(b"/readyz", method=b"GET"))
        self.assertEqual([each.status for each in admin.got], [404, 200])
        admin.leaves()
        self.successResultOf(service.stopService())

    def test_operators_by_default(self) -> None:
        """Without ADMIN_LISTEN_ADDR the operators' pages have a port of the loopback interface."""
        service = self.running(admin_listen_addr=Settings().admin_listen_addr)
        listening = [(port, host) for port, _, _, host in self.reactor.tcpServers]
        self.assertEqual(listening, [(8080, "0.0.0.0"), (8081, "127.0.0.1")])
        for port, statuses in ((0, [404, 200, 200]), (1, [200, 200, 200])):
            browser = self.browser(port)
            for path in (b"/metrics", b"/healthz", b"/readyz"):
                browser.sends(request(path, method=b"GET"))
            self.assertEqual([each.status for each in browser.got], statuses)
            browser.leaves()
        self.successResultOf(service.stopService())

    def test_operators_with_the_api(self) -> None:
        """With a dash clients and operators share one port."""
        service = self.running(admin_listen_addr="-")
        self.assertEqual(len(self.reactor.tcpServers), 1)
        browser = self.browser()
        for path in (b"/metrics", b"/healthz", b"/v1/models"):
            browser.sends(request(path, method=b"GET"))
        self.assertEqual([each.status for each in browser.got], [200, 200, 200])
        browser.leaves()
        self.successResultOf(service.stopService())

    def test_addresses_are_logged(self) -> None:
        """The start is one line: product, version, and the URLs of the API and the operators."""
        for address, expected in (
            ("-", "http://0.0.0.0:81 (API)"),
            ("[::1]:82", "http://0.0.0.0:81 (API) and http://[::1]:82 (operators)"),
        ):
            observer = self.observed()
            service = self.running(listen_addr="0.0.0.0:81", admin_listen_addr=address)
            line = f"chutes-autopilot {__version__} on {expected}"
            self.assertEqual(logged(observer), [("info", line)])
            self.successResultOf(service.stopService())
        observer = self.observed()
        self.successResultOf(self.running(listen=False).stopService())
        self.assertEqual(logged(observer), [("info", "Stopped")])

    def test_usual_port_taken(self) -> None:
        """Another port takes the place of the usual one, with a warning; a given one is an error.

        Two routers of one process, or of one host, then both start.
        """
        listen, refused = self.reactor.listenTCP, CannotListenError("127.0.0.1", 8081, OSError())

        def listen_elsewhere(port: int, factory: Any, backlog: int, host: str) -> Any:
            if port == 8081:
                raise refused
            bound = listen(port or 4000, factory, backlog, host)
            bound._hostAddress = IPv4Address("TCP", host, port or 4000)
            return bound

        with patch.object(self.reactor, "listenTCP", listen_elsewhere):
            observer = self.observed()
            service = self.running(admin_listen_addr=Settings().admin_listen_addr)
            self.assertEqual(service.ports, [8080, 4000])
            (warning, started) = logged(observer)
            expected = "127.0.0.1:8081 is taken, so that /status and /metrics are on 127.0.0.1:4000"
            self.assertEqual((warning[0], warning[1].partition(" until")[0]), ("warn", expected))
            self.assertTrue(started[1].endswith(" and http://127.0.0.1:4000 (operators)"))
            self.successResultOf(service.stopService())
            given = self.service(admin_listen_addr="127.0.0.1:8081")
            self.assertRaises(CannotListenError, given.startService)
            self.successResultOf(given.stopService())

    def test_port_taken(self) -> None:
        """A port that is taken is an error at once, before anything else starts."""
        taken = CannotListenError("127.0.0.1", 1, OSError())
        with patch.object(self.reactor, "listenTCP", side_effect=taken):
            self.assertRaises(CannotListenError, self.service().startService)
        self.assert_at_rest()
        self.assertEqual(self.reactor.tcpClients, [])

    def test_stop_without_start(self) -> None:
        """Stopping a service that never started does nothing."""
        self.successResultOf(self.service().stopService())
        self.assert_at_rest()

    def test_stop_during_a_fetch(self) -> None:
        """A fetch in flight is cancelled."""
        service = self.service()
        service.startService()
        self.successResultOf(service.stopService())
        self.assertEqual([each.stoppedConnecting for each in self.reactor.connectors], [True] * 2)
        self.assert_at_rest()

    def test_monotonic_clock(self) -> None:
        """A step of the wall clock does not move the reactor's timers."""
        reactor: Any = SelectReactor()
        self.addCleanup(lambda: [each.connectionLost(None) for each in reactor.removeAll()])
        self.addCleanup(lambda: [each.connectionLost(None) for each in reactor._internalReaders])
        use_monotonic_clock(reactor)
        fired: list[int] = []
        call = reactor.callLater(5.0, fired.append, 1)
        with patch("time.time", return_value=time.time() + 3600):
            reactor.runUntilCurrent()
            self.assertLess(reactor.timeout(), 5.1)
        self.assertEqual(fired, [])
        self.assertLess(abs(reactor.seconds() - time.monotonic()), 1.0)
        self.assertLess(call.getTime() - time.monotonic(), 5.1)


class MakeServiceTests(SynchronousTestCase):
    """The service that ``twistd`` runs."""

    def make(self, *arguments: str) -> Any:
        """Return the service of the default settings, without changing this process."""
        options = tap.Options()
        options.environ = {}
        options.parseOptions(["--env-file=/dev/null", "--listen-addr=127.0.0.1:1", *arguments])
        with (
            patch("autopilot.service.lifecycle.use_monotonic_clock") as made_monotonic,
            patch("autopilot.http.resolver.share_lookups") as shared_lookups,
            patch("autopilot.tap.keep_freed_memory") as kept_memory,
            patch("autopilot.tap.use_all_descriptors") as used_descriptors,
        ):
            service = tap.makeService(options)
        for each in (made_monotonic, shared_lookups, kept_memory, used_descriptors):
            self.assertEqual(each.call_count, 1)
        return service

    def test_service(self) -> None:
        """It contains one router with the parsed settings."""
        (router,) = self.make()
        self.assertIsInstance(router, AutopilotService)
        self.assertEqual(router.settings.listen_addr, "127.0.0.1:1")

    def test_workers(self) -> None:
        """With workers, it is their parent; an effective 1 has none."""
        for arguments, cores, parent in (
            ("--workers=3", 1, True),
            ("--workers=auto", 3, True),
            ("--workers=auto", 1, False),
            ("--workers=1", 3, False),
        ):
            with patch("autopilot.tap.usable_cores", lambda cores=cores: cores):
                (router,) = self.make(arguments)
            self.assertEqual(isinstance(router, ParentService), parent)
            if parent:
                self.assertEqual(router.supervisor.count, 3)
                router._board.close()

    def test_signals(self) -> None:
        """While stopping, it ignores the signals that stop the reactor, and no others."""
        from twisted.internet import reactor as installed

        reactor: Any = installed
        root = self.make()
        (router,) = root
        handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: reactor.sigTerm}
        with (
            patch("signal.getsignal", handlers.get),
            patch("signal.signal") as set_handler,
            patch.object(router, "stopService"),
        ):
            root.stopService()
        set_handler.assert_called_once_with(signal.SIGTERM, signal.SIG_IGN)

    def test_defaults(self) -> None:
        """Without arguments a service has the default settings and the global reactor."""
        from twisted.internet import reactor

        service = AutopilotService()
        self.assertIs(service._reactor, reactor)
        before = reactor.seconds
        self.addCleanup(setattr, reactor, "seconds", before)
        use_monotonic_clock()
        self.assertIs(reactor.seconds, time.monotonic)
