"""Tests of polling: the schedule, failures, and stopping."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel

from autopilot.feeds import polling
from autopilot.feeds.polling import RETRY_BEFORE_FIRST
from autopilot.feeds.snapshot_service import SnapshotService
from autopilot.http.fetch_error import INTERNAL, NETWORK, SHAPE, FetchError
from tests.unit.feeds.planes import UTILIZATION_EVERY, FeedInHand, Fetch, PlaneTestCase
from tests.unit.feeds.records import catalog_body, entry, record, utilization_body


class PaceTests(PlaneTestCase):
    """The schedule of fetches."""

    def test_both_at_start(self) -> None:
        """Both feeds are fetched when the plane starts, and not before."""
        self.assertEqual((self.models.started, self.utilization.started), ([], []))
        self.plane.start()
        self.plane.start()
        self.assertEqual((self.models.started, self.utilization.started), ([0.0], [0.0]))

    def test_every_interval(self) -> None:
        """Each feed has its own interval, counted from start to start."""
        self.models.gives(catalog_body(entry()))
        self.utilization.gives(utilization_body(record()))
        self.plane.start()
        self.clock.pump([1.0] * 600)
        self.assertEqual(self.models.started, [0.0, 300.0, 600.0])
        self.assertEqual(self.utilization.started, [15.0 * n for n in range(41)])

    def test_one_in_flight(self) -> None:
        """During a fetch that exceeds the interval no second one starts."""
        self.plane.start()
        self.clock.pump([1.0] * 100)
        self.assertEqual(self.utilization.started, [0.0])
        self.utilization.gives(utilization_body(record()))
        self.clock.pump([1.0] * 40)
        self.assertEqual(self.utilization.started, [0.0, 105.0, 120.0, 135.0])

    def test_slow_fetch_keeps_pace(self) -> None:
        """The duration of a fetch does not extend the interval."""
        self.plane.start()
        self.clock.advance(4.0)
        self.utilization.gives(utilization_body(record()))
        self.clock.advance(10.5)
        self.assertEqual(len(self.utilization.started), 1)
        self.clock.advance(0.5)
        self.assertEqual(self.utilization.started, [0.0, 15.0])

    def test_failures_keep_pace(self) -> None:
        """A failing feed is fetched at the usual interval, indefinitely."""
        self.utilization.fails(FetchError(NETWORK, "connection refused"))
        self.plane.start()
        self.clock.pump([15.0] * 50)
        self.assertEqual(len(self.utilization.started), 51)

    def test_never_fetched(self) -> None:
        """Before its first success a feed is fetched at a short interval."""
        self.models.fails(FetchError(NETWORK, "connection refused"))
        self.plane.start()
        self.clock.pump([RETRY_BEFORE_FIRST] * 2)
        self.models.gives(catalog_body(entry()))
        self.clock.advance(RETRY_BEFORE_FIRST)
        self.models.fails(FetchError(NETWORK, "connection refused"))
        self.clock.pump([300.0] * 2)
        self.assertEqual(self.models.started, [0.0, 15.0, 30.0, 45.0, 345.0, 645.0])

    @given(st.lists(st.floats(-1, 1), min_size=1, max_size=8))
    def test_jitter_bounds(self, draws: list[float]) -> None:
        """Every pause is the interval ±10 %, drawn by the random source."""
        clock = Clock()
        feed = FeedInHand(clock)
        feed.gives(utilization_body(record()))
        left = list(draws)

        def jitter() -> float:
            return left.pop(0) if left else 0.0

        never: Fetch = Deferred
        plane = SnapshotService(
            clock, never, feed.fetch, 1e9, 10.0, jitter, lambda *_event: None, clock.seconds
        )
        left.insert(0, 0.0)  # the catalog feed draws first
        plane.start()
        for _ in draws:
            (timer,) = clock.getDelayedCalls()
            clock.advance(timer.getTime() - clock.seconds())
        pauses = [b - a for a, b in zip(feed.started, feed.started[1:], strict=False)]
        self.assertEqual(len(pauses), len(draws))
        for pause, draw in zip(pauses, draws, strict=True):
            self.assertTrue(8.999 < pause < 11.001, pause)
            self.assertLess(abs(pause - 10.0 - draw), 0.001)

    def test_later(self) -> None:
        """Polling can begin later, and again after a stop, which is no failure."""
        polling = self.plane._polls["utilization"]
        polling.start(4.0)
        self.assertTrue(polling.running)
        self.assertEqual(self.plane.refreshed_in("utilization"), 5)
        self.clock.advance(4.0)
        self.assertEqual(self.utilization.started, [4.0])
        self.successResultOf(polling.stop())
        self.assertEqual((polling.running, self.utilization.cancelled), (False, 1))
        polling.start(2.0)
        self.utilization.gives(utilization_body(record()))
        self.clock.advance(2.0)
        self.clock.advance(15.0)
        self.assertEqual(self.utilization.started, [4.0, 6.0, 21.0])
        self.assertIsNone(polling.status.last_error)


class FailureTests(PlaneTestCase):
    """Failed refreshes."""

    def _started_well(self) -> None:
        self.models.gives(catalog_body(entry("a")))
        self.utilization.gives(utilization_body(record("a")))
        self.plane.start()
        self.seen.clear()

    def test_keeps_last_good(self) -> None:
        """Data and age survive failures; the status states their beginning and reason."""
        self._started_well()
        before = self.plane.snapshot
        self.utilization.fails(FetchError(NETWORK, "connection refused"))
        self.clock.advance(15.0)
        self.utilization.gives(b'{"not": "a feed"}')
        self.clock.advance(15.0)
        self.assertIs(self.plane.snapshot, before)
        status = self.plane.statuses[1]
        self.assertEqual((status.fetched_at, status.failing_since), (0.0, 15.0))
        self.assertEqual((status.last_error, status.size), ("not a list of records", 1))
        self.assertEqual(self.seen, [("utilization", NETWORK, 0), ("utilization", SHAPE, 0)])

    def test_recovers(self) -> None:
        """The next success ends the failure, with its own time of arrival."""
        self._started_well()
        self.utilization.fails(FetchError(NETWORK, "connection refused"))
        self.clock.advance(15.0)
        self.utilization.gives(utilization_body(record("a")))
        self.clock.advance(15.0)
        status = self.plane.statuses[1]
        self.assertEqual((status.fetched_at, status.failing_since), (30.0, None))
        self.assertIsNone(status.last_error)
        self.assertEqual(self.plane.snapshot.utilization_at, 30.0)

    def test_feeds_fail_alone(self) -> None:
        """One feed's failure does not delay the other."""
        self.models.fails(FetchError(NETWORK, "connection refused"))
        self.utilization.gives(utilization_body(record("a-TEE")))
        self.plane.start()
        self.assertEqual([ranked.name for ranked in self.plane.snapshot.ranking], ["a-TEE"])

    def test_fetch_that_raises(self) -> None:
        """An exception in fetching is logged and counted as internal, and polling continues."""

        def broken() -> Deferred[bytes]:
            raise ZeroDivisionError("secret detail")

        self.utilization.answer = broken
        self.plane.start()
        self.clock.advance(15.0)
        self.assertEqual(len(self.utilization.started), 2)
        self.assertEqual(self.plane.statuses[1].last_error, "internal error")
        self.assertEqual(self.seen, [("utilization", INTERNAL, 0)] * 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_observer_that_raises(self) -> None:
        """An exception in the observer is logged and affects neither data nor polling."""
        clock = Clock()
        feed = FeedInHand(clock)
        feed.gives(utilization_body(record()))

        def broken(_feed: str, _outcome: str, _rejected: int) -> None:
            raise ZeroDivisionError

        plane = SnapshotService(
            clock, Deferred, feed.fetch, 300.0, 15.0, lambda: 0.0, broken, clock.seconds
        )
        plane.start()
        clock.advance(15.0)
        self.assertEqual(len(feed.started), 2)
        self.assertEqual(plane.snapshot.utilization_at, 15.0)
        self.assertIsNone(plane.statuses[1].last_error)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_log(self) -> None:
        """The first failure warns, reminders follow at growing intervals, then the recovery."""
        self._started_well()
        self.utilization.fails(FetchError(NETWORK, "connection refused"))
        self.clock.pump([15.0] * int(3600 / 15))
        self.assertEqual(len(self.messages(LogLevel.warn)), 9)
        self.assertEqual(len(self.messages(LogLevel.debug)), 3600 / 15 - 9)
        again = [event["again"] for event in self.events if event["log_level"] is LogLevel.warn]
        self.assertEqual(again[:3], ["", " (4 times since it was last logged)", *again[2:3]])
        self.assertEqual(again[2], " (8 times since it was last logged)")
        self.utilization.gives(utilization_body(record("a")))
        self.clock.pump([15.0] * 3)
        self.assertEqual(
            self.messages(LogLevel.info), ["Feed {feed} recovered after {seconds:.0f} s"]
        )
        self.utilization.fails(FetchError(NETWORK, "connection refused"))
        self.clock.advance(15.0)
        self.assertEqual(len(self.messages(LogLevel.warn)), 10)

    def test_log_without_data(self) -> None:
        """A failure before any success does not promise data."""
        self.utilization.fails(FetchError(NETWORK, "connection refused"))
        self.plane.start()
        (rest,) = (event["rest"] for event in self.events if event["log_level"] is LogLevel.warn)
        self.assertEqual(rest, "there was no data yet")
        self.utilization.gives(utilization_body(record("a")))
        self.clock.advance(15.0)
        self.utilization.fails(FetchError(NETWORK, "connection refused"))
        self.clock.advance(15.0)
        rests = [event["rest"] for event in self.events if event["log_level"] is LogLevel.warn]
        self.assertEqual(rests[1:], ["the last good data stays in use"])

    def test_log_of_another_reason(self) -> None:
        """A new reason is logged at once."""
        self._started_well()
        for reason in ("connection refused", "connection refused", "HTTP 503", "HTTP 503"):
            self.utilization.fails(FetchError(NETWORK, reason))
            self.clock.advance(15.0)
        warned = [event["error"] for event in self.events if event["log_level"] is LogLevel.warn]
        self.assertEqual(warned, ["connection refused", "HTTP 503"])

    def test_log_of_a_bug(self) -> None:
        """A repeated internal error is not logged with each refresh."""
        self._started_well()
        self.utilization.fails(ZeroDivisionError())
        self.clock.pump([15.0] * int(3600 / 15))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 9)

    def test_mistake_before_fetching(self) -> None:
        """An exception before a fetch is a failed refresh, and the next one is on time."""
        self.models.gives(catalog_body(entry()))
        self.utilization.gives(utilization_body(record()))
        self.plane.start()
        self.patch(polling, "JITTER", None)
        self.clock.pump([UTILIZATION_EVERY] * 3)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertEqual(self.plane.statuses[1].last_error, "internal error")
        self.patch(polling, "JITTER", 0.1)
        self.clock.advance(UTILIZATION_EVERY)
        self.assertIsNone(self.plane.statuses[1].last_error)


class StopTests(PlaneTestCase):
    """Stopping."""

    def test_mid_fetch(self) -> None:
        """Stopping cancels a fetch in flight, leaves no timer, and does not count as a failure."""
        self.plane.start()
        self.successResultOf(self.plane.stop())
        self.assertEqual((self.models.cancelled, self.utilization.cancelled), (1, 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.seen, [])
        self.assertEqual([status.last_error for status in self.plane.statuses], [None, None])

    def test_between_fetches(self) -> None:
        """Stopping between two fetches leaves no timer and keeps the snapshot."""
        self.models.gives(catalog_body(entry()))
        self.utilization.gives(utilization_body(record()))
        self.plane.start()
        snapshot = self.plane.snapshot
        self.successResultOf(self.plane.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(1000.0)
        self.assertEqual(len(self.utilization.started), 1)
        self.assertIs(self.plane.snapshot, snapshot)

    def test_waits(self) -> None:
        """Stopping waits for the fetch to end, and discards a late response."""
        late: Deferred[bytes] = Deferred(lambda deferred: None)
        slow: Deferred[bytes] = Deferred(lambda deferred: None)
        late.addErrback(lambda _failure: slow)
        self.utilization.answer = lambda: late
        self.plane.start()
        stopped = self.plane.stop()
        self.assertNoResult(stopped)
        slow.callback(utilization_body(record("a-TEE")))
        self.successResultOf(stopped)
        self.assertEqual((self.plane.snapshot.ranking, self.seen), ((), []))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_never_started(self) -> None:
        """Stopping twice, or without a start, completes at once."""
        self.successResultOf(self.plane.stop())
        self.plane.start()
        self.successResultOf(self.plane.stop())
        self.successResultOf(self.plane.stop())

    def test_again(self) -> None:
        """A stopped plane can be started again."""
        self.utilization.gives(utilization_body(record()))
        self.plane.start()
        self.successResultOf(self.plane.stop())
        self.clock.advance(7.0)
        self.plane.start()
        self.clock.advance(15.0)
        self.assertEqual(self.utilization.started, [0.0, 7.0, 22.0])

    def test_from_a_listener(self) -> None:
        """The observer itself may stop the plane."""
        clock = Clock()
        feed = FeedInHand(clock)
        feed.gives(utilization_body(record()))
        stopped: list[Deferred[None]] = []
        plane = SnapshotService(
            clock,
            Deferred,
            feed.fetch,
            300.0,
            15.0,
            lambda: 0.0,
            lambda *_event: stopped.append(plane.stop()),
            clock.seconds,
        )
        plane.start()
        self.successResultOf(stopped[0])
        self.assertEqual(clock.getDelayedCalls(), [])
