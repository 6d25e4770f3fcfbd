"""Tests of the collection of reports, with workers that answer when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.observability.metrics import Metrics
from autopilot.observability.worker_report import WorkerReport, encode_report
from autopilot.service.frames import Kind
from autopilot.service.reports import (
    ANSWER_LIMIT,
    ASK_AGAIN,
    COLLECTION_LIMIT,
    PERIOD,
    ParentAnswers,
    Reports,
    answer_page,
)
from autopilot.web.status.collected_pages import PageName
from autopilot.web.status.parents_pages import NoAnswerError
from tests.unit.observability.records import record
from tests.unit.observability.test_merge import series
from tests.unit.relay.profiled import calls


@dataclass
class Wire:
    """One direction of a stream of frames."""

    sent: list[tuple[Kind, bytes]] = field(default_factory=list)
    receive: Callable[[bytes], None] | None = None

    def send(self, kind: Kind, payload: bytes) -> None:
        """Keep a frame, or pass it on."""
        self.sent.append((kind, payload))
        if self.receive is not None:
            self.receive(payload)


@dataclass(eq=False)
class Child:
    """A worker that has served some requests."""

    number: int
    served: int = 0
    frames: Wire = field(default_factory=Wire)

    def payload(self) -> bytes:
        """Return its report."""
        metrics = Metrics("1")
        for _ in range(self.served):
            metrics.request(record(), ("m",))
        return encode_report(WorkerReport(self.number, 1, "1", metrics.counted(), self.served))

    @property
    def asks(self) -> int:
        """How often it was asked."""
        return len(self.frames.sent)


class ReportsTests(SynchronousTestCase):
    """The reports of two workers."""

    def setUp(self) -> None:
        """Begin to collect."""
        self.clock = Clock()
        self.children = [Child(0, 3), Child(1, 4)]
        self.reports = Reports(self.clock, lambda: self.children)

    def report(self, *children: Child) -> None:
        """Let workers answer."""
        for child in children:
            self.reports.received(child, child.payload())

    def turn(self) -> None:
        """Let the reactor turn until nothing is due."""
        for _ in range(len(self.children) + 1):
            self.clock.advance(0)

    def collected(self) -> int:
        """Return the number of requests in the metrics as they were collected last."""
        found = series(Metrics("1").text(self.reports.whole.totals))
        return int(found.get(("requests_total", (("status", "200"),)), 0))

    def end(self, child: Child) -> None:
        """Let a worker end."""
        self.children.remove(child)
        self.reports.ended(child)

    def test_collect(self) -> None:
        """A collection is complete when all have reported, and takes a turn for each report."""
        first, second = self.children
        done = self.reports.collect()
        self.report(first)
        self.assertNoResult(done)
        self.report(second)
        self.assertNoResult(done)
        self.turn()
        self.assertTrue(self.successResultOf(done))
        self.assertEqual((self.collected(), self.reports.whole.active), (7, 7))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_held(self) -> None:
        """A worker that does not answer holds up one page for a second, and later ones not."""
        first, held = self.children
        self.report(first, held)
        self.clock.advance(9.0)
        done = self.reports.collect()
        first.served = 5
        self.report(first)
        self.clock.advance(COLLECTION_LIMIT)
        self.turn()
        self.successResultOf(done)
        self.assertEqual(self.collected(), 9)
        self.assertEqual((self.reports.age(first), self.reports.age(held)), (1.0, 10.0))
        done = self.reports.collect()
        self.report(first)
        self.turn()
        self.successResultOf(done)
        self.assertEqual(held.asks, 1)
        self.report(held)
        self.reports.collect()
        self.assertEqual(held.asks, 2)
        self.report(first, held)
        self.turn()

    def test_never_reported(self) -> None:
        """A worker that has just been started costs a page no more than a second."""
        first, starting = self.children
        self.report(first)
        done = self.reports.collect()
        self.report(first)
        self.clock.advance(COLLECTION_LIMIT)
        self.turn()
        self.successResultOf(done)
        self.assertEqual(self.collected(), 3)
        self.assertIsNone(self.reports.age(starting))
        self.assertIsNone(self.reports.report(starting))

    def test_ended(self) -> None:
        """No counter decreases when a worker ends, or when it does so during a collection."""
        first, second = self.children
        self.report(first, second)
        done = self.reports.collect()
        self.report(first)
        second.served = 6
        self.report(second)
        self.end(second)
        self.turn()
        self.successResultOf(done)
        self.assertEqual((self.collected(), self.reports.whole.active), (9, 9))
        done = self.reports.collect()
        self.children.append(Child(1, 0))
        self.report(first)
        self.turn()
        self.successResultOf(done)
        self.assertEqual((self.collected(), self.reports.whole.active), (9, 3))

    def test_ends_while_asked(self) -> None:
        """A collection does not wait for a worker that has ended."""
        first, second = self.children
        self.report(first, second)
        done = self.reports.collect()
        self.report(first)
        self.end(second)
        self.turn()
        self.successResultOf(done)
        self.assertEqual(self.collected(), 7)

    def test_period(self) -> None:
        """Without a page each worker is asked every few seconds, until the router stops."""
        first, second = self.children
        self.reports.start()
        self.clock.advance(PERIOD)
        self.report(first)
        self.clock.advance(PERIOD)
        self.assertEqual((first.asks, second.asks), (2, 1))
        done = self.reports.collect()
        self.reports.stop()
        self.reports.stop()
        self.turn()
        self.successResultOf(done)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_asked_again(self) -> None:
        """A worker that owes an answer is asked again after half a minute."""
        first, silent = self.children
        self.reports.start()
        for _ in range(int(2 * ASK_AGAIN / PERIOD)):
            self.clock.advance(PERIOD)
            self.report(first)
        self.assertEqual((first.asks, silent.asks), (12, 2))
        self.reports.stop()

    def test_unreadable(self) -> None:
        """A report that cannot be read is left out, and logged once."""
        first, second = self.children
        self.report(first)
        self.reports.received(second, b"\xc1")
        for _ in range(2):
            done = self.reports.collect()
            self.report(first)
            self.clock.advance(COLLECTION_LIMIT)
            self.turn()
            self.successResultOf(done)
        self.assertEqual(self.collected(), 3)
        self.end(second)

    def test_kept_unread(self) -> None:
        """A report that no page shows costs the parent next to nothing."""
        payload = self.children[0].payload()
        self.assertLess(calls(lambda _: self.reports.received(self.children[0], payload), None), 20)


class PageTests(SynchronousTestCase):
    """A worker that asks its parent for pages."""

    def setUp(self) -> None:
        """Connect both ends."""
        self.clock = Clock()
        self.up, self.down = Wire(), Wire()
        self.answers = ParentAnswers(self.clock, self.up)
        self.page: Callable[[PageName], Deferred[bytes]] = lambda name: succeed(name.encode())

    def connect(self) -> None:
        """Let the parent answer from now on."""
        self.up.receive = lambda payload: answer_page(
            self.down, payload, lambda name: self.page(name)
        )
        self.down.receive = self.answers.received

    def test_answer(self) -> None:
        """Each question gets its own answer."""
        self.connect()
        later: Deferred[bytes] = Deferred()
        self.page = lambda name: later if name is PageName.JSON else succeed(name.encode())
        first = self.answers.ask(PageName.JSON)
        self.assertEqual(self.successResultOf(self.answers.ask(PageName.METRICS)), b"metrics")
        later.callback(b"{}")
        self.assertEqual(self.successResultOf(first), b"{}")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_time_limit(self) -> None:
        """A parent that does not answer in time is not waited for; its late answer is ignored."""
        asked = self.answers.ask(PageName.PAGE)
        self.clock.advance(ANSWER_LIMIT)
        self.failureResultOf(asked, NoAnswerError)
        self.answers.received(msgspec.msgpack.encode((1, b"late")))

    def test_bug(self) -> None:
        """A page that fails is logged by the parent, and the worker learns of it at once."""
        self.connect()
        self.page = lambda name: fail(ZeroDivisionError())
        self.failureResultOf(self.answers.ask(PageName.PAGE), NoAnswerError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_ends(self) -> None:
        """Without a parent, and for a client that has left, nothing remains."""
        left, asked = self.answers.ask(PageName.PAGE), self.answers.ask(PageName.JSON)
        left.addErrback(lambda _: None).cancel()
        self.answers.close()
        self.failureResultOf(asked, NoAnswerError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
