"""Tests of the sending of feeds to readers, over transports that the test empties."""

from __future__ import annotations

from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from autopilot.feeds.feed_publisher import FeedPublisher, FeedReader
from autopilot.feeds.polling import CATALOG, UTILIZATION
from autopilot.feeds.received_snapshots import ReceivedSnapshots
from autopilot.feeds.shared_snapshot import PIECE_BYTES, Assembly, Received
from autopilot.feeds.snapshot_service import SnapshotService
from autopilot.http.fetch_error import NETWORK, FetchError
from tests.unit.feeds.planes import MODELS_EVERY, UTILIZATION_EVERY, PlaneTestCase
from tests.unit.feeds.records import MEASURED, catalog_body, entry, record, utilization_body


class Pipe(FileDescriptor):
    """The sending end of a socket, with Twisted's own handling of producers."""

    def __init__(self) -> None:
        reactor: Any = self  # as far as a descriptor needs one
        super().__init__(reactor)
        self.connected = True
        self.sent: list[bytes] = []
        self.most = 0

    def addWriter(self, _writer: object) -> None:  # noqa: N802  Twisted's name
        """See `IReactorFDSet`."""

    def removeWriter(self, _writer: object) -> None:  # noqa: N802  Twisted's name
        """See `IReactorFDSet`."""

    def removeReader(self, _reader: object) -> None:  # noqa: N802  Twisted's name
        """See `IReactorFDSet`."""

    def send(self, piece: bytes) -> None:
        """Write a piece, and remember the largest number of bytes that were waiting."""
        self.sent.append(piece)
        self.write(piece)
        self.most = max(self.most, self.waiting)

    @property
    def waiting(self) -> int:
        """How many bytes have not been taken."""
        rest: Any = self
        waiting: int = len(rest.dataBuffer) - rest.offset + rest._tempDataLen
        return waiting

    def writeSomeData(self, data: bytes) -> int:
        """See `FileDescriptor`."""
        return len(data)

    def drain(self) -> None:
        """Let the other side take all that is waiting, and what is written then."""
        while self.waiting or self.producer is not None:
            self.doWrite()


class PublisherTests(PlaneTestCase):
    """One plane that fetches, and its readers."""

    make_clock = Clock

    def setUp(self) -> None:
        """Build a plane that keeps bodies, and a publisher."""
        super().setUp()
        self.plane = SnapshotService(
            self.clock,
            self.models.fetch,
            self.utilization.fetch,
            MODELS_EVERY,
            UTILIZATION_EVERY,
            lambda: 0.0,
            lambda *_: self.publisher.changed(),
            lambda: MEASURED + 1800.0 + self.clock.seconds(),
            keeps_bodies=True,
        )
        self.publisher = FeedPublisher(self.clock, self.plane)
        self.pipe = Pipe()

    def join(self, pipe: Pipe | None = None) -> FeedReader:
        """Let a reader join."""
        pipe = pipe or self.pipe
        return self.publisher.join(pipe.send, pipe)

    def received(self) -> list[Received]:
        """Return what has arrived since the last call."""
        self.clock.advance(0.0)
        self.pipe.drain()
        pieces, self.pipe.sent = self.pipe.sent, []
        assembly = Assembly()
        whole = (assembly.add(piece, self.clock.seconds()) for piece in pieces)
        return [each for each in whole if each is not None]

    def bodies(self) -> dict[str, bytes | None]:
        """Return the bodies that have arrived since the last call."""
        return {each.head.name: each.body for each in self.received()}

    def test_at_once(self) -> None:
        """A reader that joins gets the latest of both feeds, or that there is none yet."""
        models = catalog_body(entry())
        self.models.gives(models)
        self.plane.start()
        self.join()
        self.assertEqual(self.bodies(), {CATALOG: models, UTILIZATION: None})
        self.assertIsNone(self.pipe.producer)

    def test_each_refresh(self) -> None:
        """Each refresh is sent; a body that the reader has is not."""
        self.models.gives(catalog_body(entry()))
        self.plane.start()
        self.join()
        self.received()
        loads = utilization_body(record())
        self.utilization.gives(loads)
        self.assertEqual(self.bodies(), {CATALOG: None, UTILIZATION: loads})
        self.clock.advance(UTILIZATION_EVERY)
        catalog, utilization = self.received()
        self.assertEqual((catalog.head.age, utilization.head.age), (15.0, 0.0))
        self.assertEqual((catalog.body, utilization.body), (None, None))

    def test_failure(self) -> None:
        """A failed refresh is sent too."""
        self.models.fails(FetchError(NETWORK, "connection refused"))
        self.plane.start()
        self.join()
        head = self.received()[0].head
        self.assertEqual((head.outcome, head.last_error), (NETWORK, "connection refused"))

    def test_due(self) -> None:
        """A refresh says when the next one is due, as it is known behind it alone."""
        self.join()
        self.received()
        self.utilization.gives(utilization_body(record()))
        self.plane.start()
        self.assertEqual(self.received()[-1].head.due_in, UTILIZATION_EVERY)

    def test_slow_reader(self) -> None:
        """No more than a piece waits for a reader, who then gets the latest, not all."""
        large = catalog_body(entry(), " " * (5 * PIECE_BYTES))
        self.models.gives(large)
        self.plane.start()
        self.clock.advance(0.0)
        self.join()
        other = Pipe()
        self.join(other)
        for number in range(20):
            self.utilization.gives(utilization_body(record(), number))
            self.clock.advance(UTILIZATION_EVERY)
            other.drain()
        self.assertLess(self.pipe.most, PIECE_BYTES + 1000)
        arrived = self.received()
        self.assertLess(self.pipe.most, PIECE_BYTES + 1000)
        self.assertLess(len(arrived), 6)
        self.assertEqual(arrived[-1].body, utilization_body(record(), 19))
        self.assertGreater(len(other.sent), 20)

    def test_close(self) -> None:
        """A reader that is closed is sent nothing more, in the midst of a body or later."""
        self.models.gives(catalog_body(entry(), " " * (5 * PIECE_BYTES)))
        self.plane.start()
        self.clock.advance(0.0)
        reader = self.join()
        self.pipe.doWrite()
        before = len(self.pipe.sent)
        reader.close()
        reader.close()
        reader.note()
        self.publisher.changed()
        self.pipe.drain()
        self.assertEqual(len(self.pipe.sent), before)
        self.assertIsNone(self.pipe.producer)

    def test_lost(self) -> None:
        """A connection that is lost ends its reader, and one that is lost already gets none."""
        self.models.gives(catalog_body(entry(), " " * (5 * PIECE_BYTES)))
        self.plane.start()
        self.clock.advance(0.0)
        self.join()
        before = len(self.pipe.sent)
        self.pipe.connectionLost(Failure(ConnectionDone()))
        self.publisher.changed()
        self.join()
        self.assertEqual(len(self.pipe.sent), before)
        self.assertEqual(len(self.publisher._readers), 0)

    def test_stop(self) -> None:
        """The publisher stops with nothing left behind."""
        self.plane.start()
        self.join()
        self.utilization.gives(utilization_body(record()))
        self.publisher.stop()
        self.successResultOf(self.plane.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIsNone(self.pipe.producer)

    def test_same_readiness(self) -> None:
        """A worker has the same snapshot, and says the same of both feeds, as its parent."""
        worker = ReceivedSnapshots(self.clock, lambda: MEASURED + 1800.0 + self.clock.seconds())
        self.models.gives(catalog_body(entry("a"), entry("b"), 5))
        self.utilization.gives(utilization_body(record("a"), record("b"), 7))
        self.plane.start()
        self.join()

        def deliver() -> None:
            self.clock.advance(0.0)
            self.pipe.drain()
            for piece in self.pipe.sent:
                worker.frame(piece)
            self.pipe.sent.clear()
            self.assertEqual(worker.statuses, self.plane.statuses)
            self.assertEqual(worker.snapshot, self.plane.snapshot)
            for feed in (None, CATALOG, UTILIZATION):
                self.assertEqual(worker.refreshed_in(feed), self.plane.refreshed_in(feed))

        deliver()
        self.assertEqual([status.rejected for status in worker.statuses], [1, 1])
        self.utilization.fails(FetchError(NETWORK, "connection refused"))
        self.clock.advance(UTILIZATION_EVERY)
        deliver()
        self.clock.advance(UTILIZATION_EVERY)
        deliver()
        self.models.gives(catalog_body(entry("b")))
        self.clock.advance(MODELS_EVERY)
        deliver()
        self.assertEqual(worker.statuses[1].last_error, "connection refused")
