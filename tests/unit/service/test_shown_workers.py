"""Tests of the pages of a parent, whose workers the test plays."""

from __future__ import annotations

import json
import socket
from typing import Any

import msgspec

from autopilot.observability.metrics import Metrics
from autopilot.observability.worker_report import WorkerReport, encode_report
from autopilot.observability.workers import WorkersNow
from autopilot.service.frames import Frames, Kind
from autopilot.service.parent import ParentService
from autopilot.service.reports import COLLECTION_LIMIT, PERIOD
from autopilot.service.watched_worker import HELD_AFTER
from autopilot.web.status.collected_pages import PageName
from tests.unit.observability.records import record
from tests.unit.observability.test_merge import Series, series
from tests.unit.service.processes import FakeProcess
from tests.unit.service.test_parent import ParentTestCase
from tests.unit.web.browsers import Browser, request
from tests.unit.web.responses import Response


def frame(kind: Kind, payload: bytes) -> bytes:
    """Return a frame as it is on the wire."""
    sent: list[bytes] = []
    frames = Frames()
    frames.transport = type("Wire", (), {"write": staticmethod(sent.append)})()
    frames.connected = 1
    frames.send(kind, payload)
    return b"".join(sent)


def report(worker: int, served: int) -> bytes:
    """Return the frame of the report of a worker that has served so many requests."""
    metrics = Metrics("1")
    for _ in range(served):
        metrics.request(record(), ("m",))
    counted = WorkerReport(worker, 1, "1", metrics.counted(), served)
    return frame(Kind.REPORT, encode_report(counted))


class ShownWorkersTests(ParentTestCase):
    """What the parent shows of two workers."""

    def setUp(self) -> None:
        """Start them, with an operators' port."""
        super().setUp()
        self.served = {0: 3, 1: 4}
        self.answered: dict[int, int] = {}
        self.router = self.parent(admin_listen_addr="127.0.0.1:0")
        self.all_ready()

    def end(self, service: ParentService) -> None:
        """Disconnect the clients first."""
        for browser in self.browsers:
            browser.leaves()
        super().end(service)

    def open(self, path: bytes) -> Browser:
        """Request a page on the operators' port."""
        factory: Any = self.reactor.tcpServers[1][1]
        browser = self.browse(factory)
        browser.sends(request(path, method=b"GET"))
        return browser

    def answer(self, *workers: FakeProcess) -> None:
        """Let workers answer what they have been asked since the last time, and turn."""
        for each in workers or self.workers:
            asked = len(each.frames(Kind.REPORT))
            if not each.gone and asked > self.answered.get(each.pid, 0):
                self.answered[each.pid] = asked
                number = each.assignments[0].role.worker
                assert number is not None
                each.protocol.frames.dataReceived(report(number, self.served[number]))
        for _ in range(4):
            self.reactor.advance(0)

    def page(self, path: bytes) -> Response:
        """Return a page for which all workers report."""
        self.reactor.advance(1.0)
        browser = self.open(path)
        self.answer()
        return browser.response

    def metrics(self) -> Series:
        """Return the samples of /metrics."""
        return series(self.page(b"/metrics").body)

    def workers_now(self) -> WorkersNow:
        """Return the workers as /status.json lists them."""
        document = json.loads(self.page(b"/status.json").body)
        return msgspec.convert(document["workers"], WorkersNow)

    def test_pages(self) -> None:
        """Pages show what all workers did, and each of them."""
        for each, (requests, connections) in zip(self.workers, ((5, 7), (6, 8)), strict=True):
            slot = each.slot(each.assignments[0].slot)
            slot.requests, slot.connections, slot.received = requests, connections, 90
        found = self.metrics()
        self.assertEqual(found["requests_total", (("status", "200"),)], 7)
        self.assertEqual(found["workers", (("state", "ready"),)], 2)
        self.assertEqual(found["worker_requests_active", (("worker", "1"),)], 6)
        now = self.workers_now()
        self.assertEqual((now.wanted, now.serving, now.deaths), (2, 2, 0))
        self.assertEqual(
            [(each.worker, each.requests_active, each.connections) for each in now.processes],
            [(0, 5, 7), (1, 6, 8)],
        )
        self.assertIn(b"2 of 2 workers ready", self.page(b"/status").body)
        self.end(self.router)

    def test_held(self) -> None:
        """A worker that is held is shown with its last report, after a second."""
        self.metrics()
        first, held = self.workers
        for beat in range(int(HELD_AFTER) + 2):
            for each in self.workers[: 2 if beat == 0 else 1]:
                each.slot(each.assignments[0].slot).heartbeat = beat + 1
            self.reactor.advance(1.0)
            self.answer(first)
        browser = self.open(b"/status.json")
        self.answer(first)
        self.reactor.advance(COLLECTION_LIMIT)
        self.answer(first)
        document = json.loads(browser.response.body)
        now = msgspec.convert(document["workers"], WorkersNow)
        self.assertEqual([each.state for each in now.processes], ["ready", "held"])
        self.assertEqual((now.serving, now.holds, document["requests_active"]), (1, 1, 7))
        self.assertGreaterEqual(now.processes[1].report_age_seconds or 0.0, HELD_AFTER)
        self.answer(held)
        self.end(self.router)

    def test_killed(self) -> None:
        """A worker that dies is counted; what it had counted by its last report stays."""
        self.metrics()
        self.served[0] = 30
        self.workers[0].ends_with(number=9)
        self.reactor.advance(0)
        self.served[0] = 1
        self.workers[2].tells("Ready")
        found = self.metrics()
        self.assertEqual(found["worker_deaths_total", ()], 1)
        self.assertEqual(found["requests_total", (("status", "200"),)], 3 + 1 + 4)
        document = json.loads(self.page(b"/status.json").body)
        self.assertEqual(document["requests_active"], 1 + 4)
        self.end(self.router)

    def test_last_report(self) -> None:
        """What a process has sent before its end counts, even if its end is noticed first."""
        self.metrics()
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        ours.setblocking(False)
        vars(self.workers[0].protocol.frames.transport)["socket"] = ours
        with theirs:
            theirs.sendall(report(0, 30))
        self.workers[0].ends_with()
        self.reactor.advance(0)
        self.served[0] = 1
        found = self.metrics()
        self.assertEqual(found["requests_total", (("status", "200"),)], 30 + 1 + 4)
        self.end(self.router)

    def test_ready(self) -> None:
        """The operators' port is ready while a worker serves."""
        self.assertEqual(self.open(b"/readyz").response.status, 200)
        for each in tuple(self.workers):
            each.ends_with(number=9)
        got = self.open(b"/readyz").response
        self.assertEqual((got.status, got.error), (503, (503, "not_ready", "no_workers")))
        self.assertIn(b"No worker serves", self.page(b"/status").body)
        self.reactor.advance(0)
        self.workers[-1].tells("Ready")
        self.assertEqual(self.open(b"/readyz").response.status, 200)
        self.end(self.router)

    def test_asked_by_a_worker(self) -> None:
        """A worker gets a page of the parent, in which all workers are."""
        asking = self.workers[0]
        question = msgspec.msgpack.encode((1, PageName.METRICS))
        asking.protocol.frames.dataReceived(frame(Kind.PAGE, question))
        self.answer()
        (answer,) = asking.frames(Kind.PAGE)
        number, text = msgspec.msgpack.decode(answer, type=tuple[int, bytes])
        self.assertEqual(number, 1)
        self.assertEqual(series(text)["requests_total", (("status", "200"),)], 7)
        self.end(self.router)

    def test_period(self) -> None:
        """Without any page, workers report every few seconds."""
        self.reactor.advance(PERIOD)
        self.assertEqual([len(each.frames(Kind.REPORT)) for each in self.workers], [1, 1])
        self.end(self.router)


class RestartTests(ParentTestCase):
    """A rolling restart."""

    def test_two_of_a_number(self) -> None:
        """The worker that drains is listed behind its successor."""
        service: ParentService = self.parent(admin_listen_addr="127.0.0.1:0")
        self.all_ready()
        service._restart_workers()
        self.workers[2].tells("Ready")
        workers = service._parts.workers
        assert workers is not None
        self.assertEqual(
            [(each.worker, each.state) for each in workers.now().processes],
            [(0, "ready"), (0, "draining"), (1, "ready"), (1, "starting")],
        )
        self.workers[3].tells("Ready")
        self.end(service)
