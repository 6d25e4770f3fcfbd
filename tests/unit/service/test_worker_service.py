"""Tests of the router as a worker, whose connections come over a pair of sockets."""

from __future__ import annotations

import socket
from array import array
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, succeed

from autopilot.attestation import private_wire
from autopilot.attestation.private_wire import Found
from autopilot.feeds.polling import CATALOG, UTILIZATION, FeedStatus
from autopilot.feeds.shared_snapshot import head_of, pieces
from autopilot.observability.worker_report import decode_report
from autopilot.process.board import Board
from autopilot.service.assignment import Assignment
from autopilot.service.worker_service import WorkerService
from autopilot.settings import NO_PORT
from autopilot.state.events import Stuck, encode
from autopilot.web.shared_rendering import FRESHNESS
from autopilot.wiring.role import Place, Role
from tests.unit.attestation.fake_instances import FOUND
from tests.unit.attestation.sealed import instance_key
from tests.unit.feeds.records import catalog_body, entry, record, utilization_body
from tests.unit.relay.upstreams import DONE, SSE, TOKEN, chunk, head, whole
from tests.unit.service.platforms import NAMES, ServiceTestCase, settings
from tests.unit.web.browsers import Browser, ask, request


class WorkerServiceTests(ServiceTestCase):
    """A worker in this process."""

    admin_listen_addr = "127.0.0.1:0"
    given: dict[str, Any] = {}  # noqa: RUF012  a test has its own

    def setUp(self) -> None:
        """Start a worker."""
        super().setUp()
        self.log = self.observed()
        board = Board.create(1)
        self.addCleanup(board.close)
        self.near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.addCleanup(self.near.close)
        vars(self.reactor)["adoptStreamConnection"] = self.adopt
        self.role = Role.first(None, Place.PARENT).of_worker(3)
        given = settings(admin_listen_addr=self.admin_listen_addr, **self.given)
        admin = () if self.admin_listen_addr == NO_PORT else (("127.0.0.1", 8081),)
        self.assignment = Assignment(self.role, given, 0, admin)
        self.slot = board.slot(0)
        self.worker = WorkerService(
            self.assignment, self.slot, reactor=self.reactor, connections=far.detach()
        )
        self.worker.startService()
        self.platform.take()
        self.assertEqual(self.platform.wires, [])
        self.receive_feeds()

    def receive_feeds(self) -> None:
        """Pass both feeds, as a parent has fetched them."""
        self.assertFalse(self.worker.has(()))
        self.worker.learn(b"")
        self.assertTrue(self.worker.has(()))
        bodies = {
            CATALOG: catalog_body(*map(entry, NAMES)),
            UTILIZATION: utilization_body(*map(record, NAMES)),
        }
        for feed, body in bodies.items():
            self.assertFalse(self.worker.has((feed,)))
            status = FeedStatus(feed, fetched_at=0.0)
            for piece in pieces(head_of(status, "1", len(body), None, 0.0), body):
                self.worker.feed(piece)
            while not self.worker.has((feed,)):
                self.reactor.advance(0.01)

    def adopt(self, descriptor: int, family: Any, factory: Any) -> None:
        """Connect a client in memory in place of the one that was passed."""
        self.browse(factory)

    def connect(self) -> Browser:
        """Pass a connection, and return its client."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            client = socket.create_connection(listening.getsockname())
            self.addCleanup(client.close)
            passed, _ = listening.accept()
            with passed:
                descriptors = array("i", (passed.fileno(),))
                self.near.sendmsg((b"4",), ((socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors),))
        for reader in list(self.reactor.getReaders()):
            reader.doRead()
        return self.browsers[-1]

    def stop(self) -> None:
        """Stop the worker, whose parent passes nothing more."""
        self.end(self.worker.stopService())

    def end(self, stopped: Deferred[None]) -> None:
        """Let a stop come to its end."""
        self.near.close()
        for browser in self.browsers:
            browser.leaves()
        for _ in range(30):
            self.reactor.advance(0.05)
        self.successResultOf(stopped)
        self.assert_at_rest()

    def test_serves(self) -> None:
        """A passed connection is served, without a port of the worker's own."""
        self.assertEqual(self.reactor.tcpServers, [])
        browser = self.connect()
        browser.sends(request(body=ask(NAMES[0], stream=False)))
        self.platform.wire.says(whole(200, b"{}"))
        self.assertEqual(browser.response.status, 200)
        self.stop()

    def test_shows_its_load(self) -> None:
        """The slot has the connection, and the request from its arrival to its end."""
        seen = []
        browser = self.connect()
        for act in (
            lambda: None,
            lambda: browser.sends(request(body=ask(NAMES[0], stream=False))),
            lambda: self.platform.wire.says(whole(200, b"{}")),
            browser.leaves,
        ):
            act()
            seen.append((self.slot.connections, self.slot.fresh, self.slot.requests))
        self.assertEqual(seen, [(1, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 0)])
        self.stop()

    def test_drain_is_announced(self) -> None:
        """While the router stops, the worker serves, but is not ready."""
        self.worker.announce_drain()
        browser = self.connect()
        browser.sends(request(b"/readyz", method=b"GET"))
        self.assertEqual(browser.response.status, 503)
        browser = self.connect()
        browser.sends(request(b"/healthz", method=b"GET"))
        self.assertEqual(browser.response.status, 200)
        self.stop()

    def test_reports(self) -> None:
        """The report for the parent has what this worker did, under its number."""
        browser = self.connect()
        browser.sends(request(body=ask(NAMES[0], stream=False)))
        self.assertEqual(decode_report(self.worker.report()).active, 1)
        self.platform.wire.says(whole(200, b"{}"))
        report = decode_report(self.worker.report())
        self.assertEqual((report.worker, report.active, len(report.recent)), (3, 0, 1))
        counted = dict(report.counted.counters["chutes_autopilot_selection_total"])
        self.assertEqual(counted, {(NAMES[0], 200): 1})
        self.assertEqual(sum(each.requests for each in report.history), 1)
        self.stop()

    def test_asks_its_parent(self) -> None:
        """Without a port for operators, the worker serves the pages of its parent."""
        self.assertEqual(self.pages(), [404, 404])
        self.stop()
        self.admin_listen_addr = NO_PORT
        self.setUp()
        self.assertEqual(self.pages(), [503, 200])
        self.worker.ask_parent_by(lambda name: succeed(b"parent's " + name.encode()))
        self.reactor.advance(FRESHNESS)
        browser = self.connect()
        browser.sends(request(b"/metrics", method=b"GET"))
        self.assertEqual(browser.response.body, b"parent's metrics")
        self.stop()

    def test_asks_for_instances(self) -> None:
        """Private requests of a worker get their instances from the parent; it fetches nothing."""
        self.stop()
        self.given = {"private": "ask"}
        self.setUp()
        private = self.worker._parts.private
        assert private is not None
        sent: list[bytes] = []
        self.worker.ask_for_instances(sent.append)
        waiting = private.instances.acquire("chute", b"client", "Bearer a", (), None)
        asked = [private_wire.question.decode(each) for each in sent]
        self.assertEqual([type(each).__name__ for each in asked], ["Hello", "Acquire"])
        found = Found(1, "id", instance_key().text, "nonce", FOUND, 0.0, "attested")
        self.worker.private_answer(private_wire.encode(found))
        self.assertEqual(self.successResultOf(waiting).nonce, "nonce")
        self.assertEqual(self.platform.wires, [])
        self.stop()

    def test_no_private_mode(self) -> None:
        """Without private mode a worker asks for no instance, and takes no answer."""
        sent: list[bytes] = []
        self.worker.ask_for_instances(sent.append)
        self.worker.private_answer(b"")
        self.assertEqual(sent, [])
        self.stop()

    def pages(self) -> list[int]:
        """Return the statuses of /metrics and /status.json."""
        found = []
        for path in (b"/metrics", b"/status.json"):
            browser = self.connect()
            browser.sends(request(path, method=b"GET"))
            for _ in range(5):
                self.reactor.advance(0)
            found.append(browser.response.status)
        return found

    def test_learns_before_it_is_linked(self) -> None:
        """What the router has learned counts, although the commands' connection is not up yet."""
        (batch,) = encode([Stuck((1, 7), 0, b"c" * 16, b"s" * 16, b"", NAMES[0])])
        self.worker.learn(batch)
        self.assertEqual(len(self.worker._parts.tables.affinity), 1)
        self.stop()

    def test_reload(self) -> None:
        """What the parent assigns later is applied, unless the worker has begun to stop."""
        other = replace(settings(), max_attempts=9)
        self.worker.apply(replace(self.assignment, settings=other))
        self.assertEqual(self.worker.settings.max_attempts, 9)
        self.stop()
        self.worker.apply(self.assignment)
        self.assertEqual(self.worker.settings.max_attempts, 9)

    def test_silent(self) -> None:
        """What the parent says for all workers, they do not repeat."""
        self.worker.apply(replace(self.assignment, settings=settings(max_attempts=9)))
        self.stop()
        self.assertEqual([event["log_format"] for event in self.log if "log_format" in event], [])

    def test_replaced(self) -> None:
        """One that another replaces is ready to the end, and serves what is on its way."""
        idle, half = self.connect(), self.connect()
        idle.sends(request(b"/healthz", method=b"GET"))
        sent = request(body=ask(NAMES[0], stream=False))
        half.sends(sent[:-9])
        stopped = self.worker.stopService()
        self.reactor.advance(0)
        for _ in range(60):
            self.reactor.advance(0.05)
        self.assertFalse(idle.closed)
        idle.sends(request(b"/readyz", method=b"GET"))
        self.assertEqual([each.status for each in idle.got], [200, 200])
        self.assertTrue(idle.closed)
        half.sends(sent[-9:])
        self.platform.wire.says(whole(200, b"{}"))
        self.assertEqual(half.response.status, 200)
        self.assertTrue(half.closed)
        self.end(stopped)

    def test_replaced_during_a_stream(self) -> None:
        """A client whose stream ends may send its next request, unless the router stops."""
        for stops in (False, True):
            if stops:
                self.setUp()
            browser = self.connect()
            browser.sends(request(body=ask(NAMES[0])))
            self.platform.wire.says(head(200, SSE), chunk(TOKEN))
            if stops:
                self.worker.announce_drain()
            stopped = self.worker.stopService()
            for _ in range(int((self.worker.settings.drain_timeout_ms / 1000 - 1) / 0.05)):
                self.reactor.advance(0.05)
            self.platform.wire.says(chunk(DONE), chunk(b""))
            self.assertIs(browser.closed, stops)
            if not stops:
                browser.sends(request(b"/healthz", method=b"GET"))
                self.assertEqual([each.status for each in browser.got], [200, 200])
                self.assertTrue(browser.closed)
            self.end(stopped)

    def test_replaced_while_idle(self) -> None:
        """An idle connection is closed after the drain time, or as soon as the router stops."""
        for hurry in (False, True):
            if hurry:
                self.setUp()
            idle = self.connect()
            idle.sends(request(b"/healthz", method=b"GET"))
            stopped = self.worker.stopService()
            if hurry:
                self.reactor.advance(0.05)
                self.worker.announce_drain()
            seconds = 2 if hurry else self.worker.settings.drain_timeout_ms / 1000
            for _ in range(int(seconds * 20) + 2):
                self.assertNoResult(stopped)
                self.reactor.advance(0.05)
                if idle.closed:
                    break
            self.assertTrue(idle.closed)
            self.end(stopped)

    def test_drains(self) -> None:
        """A worker with requests in progress says so, and who it is."""
        browser = self.connect()
        browser.sends(request(body=ask(NAMES[0])))
        self.stop()
        (event,) = (each for each in self.log if "drains" in str(each.get("log_format")))
        self.assertEqual((event["number"], event["active"]), (3, 1))
