"""Tests of which pages a process has."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.observability.history import FinishedRequest, History
from autopilot.observability.key_counts import PoolKeyNow
from autopilot.observability.metrics import Metrics
from autopilot.observability.worker_report import Whole, WorkerReport
from autopilot.observability.workers import WorkersNow
from autopilot.settings import Settings
from autopilot.state.sharing.hub import Hub
from autopilot.state.sharing.outbox import Outbox
from autopilot.web.status.collected_pages import CollectedPages, PageName
from autopilot.web.status.keys import KeysNow, LentKeyNow
from autopilot.web.status.page import OperatorPages
from autopilot.web.status.parents_pages import NoAnswerError, ParentsPages
from autopilot.web.status.sharing import SharingNow
from autopilot.wiring import mapping
from autopilot.wiring.face import no_parent, of_whole, pages_by_place, shared_now
from autopilot.wiring.role import Place
from autopilot.wiring.store import shared_store
from tests.unit.observability.records import record
from tests.unit.web.status.values import facts


class Collected:
    """Workers whose reports have been collected."""

    def __init__(self, *reports: WorkerReport) -> None:
        self.whole = Whole()
        self.serving = len(reports)
        for each in reports:
            self.whole.add(each)

    def now(self) -> WorkersNow:
        """See `Workers`."""
        return WorkersNow(2, self.serving)

    def collect(self) -> Deferred[bool]:
        """See `Workers`."""
        return succeed(True)


class FaceTests(SynchronousTestCase):
    """The pages, and the report of a parent."""

    def test_by_place(self) -> None:
        """A single process has its own pages; a parent collects; a worker asks."""
        clock = Clock()
        own = OperatorPages(clock, facts, lambda: b"own\n")

        def pages(place: Place) -> object:
            return pages_by_place(
                place, clock.seconds, own, lambda: succeed(True), lambda name: succeed(b"parent\n")
            )

        self.assertIs(pages(Place.SINGLE), own)
        parent, worker = pages(Place.PARENT), pages(Place.WORKER)
        assert isinstance(parent, CollectedPages) and isinstance(worker, ParentsPages)
        self.assertEqual(self.successResultOf(parent.metrics()), b"own\n")
        self.assertEqual(self.successResultOf(worker.metrics()), b"parent\n")

    def test_no_parent(self) -> None:
        """Before a worker is connected with its parent it cannot ask."""
        self.failureResultOf(no_parent(PageName.PAGE), NoAnswerError)

    def test_shared(self) -> None:
        """The facts of the hub and of the store, if the router has these."""
        self.assertIsNone(shared_now(None, None, {}))
        outbox, clock = Outbox(1, 1, lambda model: True), Clock()
        hub = Hub(clock, mapping.shared_tables(Settings(), outbox))
        self.assertEqual(shared_now(hub, None, {}), SharingNow(0, 0, 0, 0))
        settings = Settings(state_url="redis://192.0.2.1", sticky_hash_key=b"k" * 32)
        shared = shared_store(Place.SINGLE, settings, MemoryReactorClock(), clock, None, hub)
        assert shared is not None
        shown = shared_now(hub, shared, {"catalog": "reader"})
        assert shown is not None and shown.store is not None
        self.assertEqual((shown.store.state, shown.store.fault), ("down", "stopped"))
        self.assertEqual((shown.store.queued, shown.store.warm_start), (0, "waiting"))
        self.assertEqual(shown.feeds, {"catalog": "reader"})

    def test_whole(self) -> None:
        """The report of a parent has its own feeds and models, and what its workers did."""
        clock = Clock()
        clock.advance(100.0)
        history, served = History(clock.seconds), History(clock.seconds)
        served.add(record())
        workers = Collected(
            *(
                WorkerReport(
                    number,
                    number,
                    "1",
                    Metrics("1").counted(),
                    active=number,
                    cooling={"a": 1.0},
                    recent=(FinishedRequest(number, record()),),
                    history=served.counted(),
                    pool=(
                        PoolKeyNow(
                            "p", number, 10 * number, 0.5 / number, 9.0 / number, f"{number}"
                        ),
                        PoolKeyNow("q", 0, 1, None, None, ""),
                    ),
                )
                for number in (1, 2)
            )
        )
        own = facts("a", "b", active=0, keys=KeysNow())
        report = of_whole(own, workers, history)
        self.assertEqual((report.ranking, report.readiness), (own.ranking, own.readiness))
        self.assertEqual((report.active, report.cooling), (3, {"a": 1.0}))
        self.assertEqual([each.worker for each in report.recent], [2, 1])
        self.assertEqual(report.window.whole.requests, 2)
        self.assertEqual(report.workers, WorkersNow(2, 2))
        pool = LentKeyNow("p", 30, 3, 0.25, 9.0, "1"), LentKeyNow("q", 2, 0, None, None, "")
        self.assertEqual(report.keys, KeysNow((), pool))
        self.assertIsNone(of_whole(facts("a"), workers, history).keys)
