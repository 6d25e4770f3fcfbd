"""Tests of a feed that another process fetched."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import LogLevel

from autopilot.feeds.polling import CATALOG, RecordCounts
from autopilot.feeds.received_feed import ReceivedFeed
from autopilot.feeds.shared_snapshot import FeedHead, Received
from autopilot.http.fetch_error import INTERNAL, NETWORK, OK, SHAPE, FetchError
from autopilot.routing.steps import Steps
from tests.unit.feeds.planes import PlaneTestCase


class Shelf:
    """What bodies are read into, each in two steps."""

    def __init__(self) -> None:
        self.read_at: list[tuple[bytes, float | None]] = []
        self.stamped: list[float] = []

    def read(self, _feed: str, body: bytes, at: float | None = None) -> Steps[RecordCounts]:
        """Read a body; some are bad."""
        yield
        if body == b"bad":
            raise FetchError(SHAPE, "no records")
        if body == b"bug":
            raise RuntimeError("a bug")
        self.read_at.append((body, at))
        return RecordCounts(len(body), 1)

    def stamp(self, _feed: str, at: float) -> None:
        """Note the same data again."""
        self.stamped.append(at)


def arrival(
    version: str, body: bytes | None, at: float, age: float = 2.0, error: str | None = None
) -> Received:
    """Return an arrival."""
    failing = None if error is None else 5.0
    outcome = OK if error is None else NETWORK
    fetched = age if version else None
    return Received(FeedHead(CATALOG, version, 4, fetched, failing, error, outcome, 10.0), at, body)


class ReceivedFeedTests(PlaneTestCase):
    """Arrivals, one after the other."""

    make_clock = Clock

    def setUp(self) -> None:
        """Build a feed."""
        super().setUp()
        self.clock.advance(100.0)
        self.shelf = Shelf()
        self.feed = ReceivedFeed(
            self.clock, CATALOG, self.shelf, self.activity, lambda *event: self.seen.append(event)
        )

    def take(self, *arrivals: Received) -> None:
        """Let these arrive, and be read."""
        for each in arrivals:
            self.feed.take(each)
        self.clock.pump([0.0] * 8)

    def test_body(self) -> None:
        """A body is read in steps, as fetched when its head says, counted from its arrival."""
        self.feed.take(arrival("1", b"body", 100.0))
        self.assertEqual((self.shelf.read_at, self.feed.status.fetched_at), ([], None))
        self.assertEqual(self.activity.latest[0], "reading the catalog feed")
        self.clock.advance(3.0)
        self.assertEqual(self.shelf.read_at, [(b"body", 98.0)])
        status = self.feed.status
        self.assertEqual((status.fetched_at, status.size, status.rejected), (98.0, 4, 1))
        self.assertEqual((self.feed.due, self.feed.version), (110.0, "1"))
        self.assertEqual(self.seen, [(CATALOG, OK, 1)])

    def test_same_version(self) -> None:
        """The version that it has is not read again, and counts as fetched again."""
        self.take(arrival("1", b"body", 100.0), arrival("1", None, 101.0, age=0.5))
        self.assertEqual((len(self.shelf.read_at), self.shelf.stamped), (1, [100.5]))
        self.assertEqual((self.feed.status.fetched_at, self.feed.status.size), (100.5, 4))

    def test_failing(self) -> None:
        """The failure of the one who fetches is this feed's, before the first body and later."""
        self.take(arrival("", None, 100.0, error="status 500"))
        status = self.feed.status
        self.assertEqual((status.fetched_at, status.failing_since), (None, 95.0))
        self.assertEqual((status.last_error, status.outcome), ("status 500", NETWORK))
        self.take(arrival("1", b"body", 100.0))
        self.assertEqual((self.feed.status.last_error, self.feed.status.outcome), (None, OK))
        self.take(arrival("1", None, 100.0, age=20.0, error="status 502"))
        status = self.feed.status
        self.assertEqual((status.last_error, status.fetched_at, status.size), ("status 502", 80, 4))
        self.take(arrival("", None, 100.0, error="status 503"))
        self.assertEqual((self.feed.status.fetched_at, self.feed.status.size), (80, 4))
        self.assertEqual([outcome for _, outcome, _ in self.seen], [NETWORK, OK, NETWORK, NETWORK])

    def test_latest_waits(self) -> None:
        """While one is read, the latest of those that arrive waits; a head keeps its body."""
        self.take(
            arrival("1", b"one", 100.0),
            arrival("2", b"two", 100.0),
            arrival("3", b"three", 100.0),
            arrival("3", None, 100.0, age=0.0),
        )
        self.assertEqual(self.shelf.read_at, [(b"one", 98.0), (b"three", 100.0)])
        self.assertEqual(self.feed.version, "3")

    def test_waiting_head(self) -> None:
        """A head that arrives while its body is read is taken behind it."""
        self.take(arrival("1", b"one", 100.0), arrival("1", None, 100.0, age=0.0))
        self.assertEqual((len(self.shelf.read_at), self.shelf.stamped), (1, [100.0]))

    def test_unreadable(self) -> None:
        """A body that cannot be read keeps the data, and its reason until the next one."""
        self.take(arrival("1", b"body", 100.0), arrival("2", b"bad", 100.0))
        status = self.feed.status
        self.assertEqual((status.fetched_at, status.size), (98.0, 4))
        self.assertEqual((status.last_error, status.failing_since), ("no records", 100.0))
        self.take(arrival("2", None, 101.0))
        self.assertEqual(self.feed.status, status)
        self.take(arrival("3", b"good", 102.0))
        self.assertIsNone(self.feed.status.last_error)
        self.assertEqual(self.seen, [(CATALOG, OK, 1), (CATALOG, SHAPE, 0), (CATALOG, OK, 1)])
        self.flushLoggedErrors(FetchError)

    def test_bug(self) -> None:
        """A bug of ours is logged, and the next body is read."""
        self.take(arrival("1", b"bug", 100.0), arrival("2", b"bug", 100.0))
        self.assertEqual(self.feed.status.last_error, "internal error")
        self.assertEqual(self.seen[-1], (CATALOG, INTERNAL, 0))
        self.assertEqual(len(self.messages(LogLevel.critical)), 1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.take(arrival("3", b"good", 100.0))
        self.assertEqual(self.feed.version, "3")

    def test_stop(self) -> None:
        """A stop ends the reading, and what arrives later is ignored."""
        self.feed.take(arrival("1", b"body", 100.0))
        self.feed.take(arrival("2", b"next", 100.0))
        self.successResultOf(self.feed.stop())
        self.take(arrival("3", b"more", 100.0))
        self.assertEqual((self.shelf.read_at, self.seen), ([], []))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.successResultOf(self.feed.stop())
