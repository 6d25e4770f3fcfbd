"""Tests of the operations on a feed in the store; test_shared_feed.py has those of its lease."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from autopilot.feeds.feed_store import FeedStore, Publication, aged, publication_of
from autopilot.feeds.polling import CATALOG
from autopilot.feeds.shared_snapshot import FeedHead
from autopilot.feeds.stored_body import PIECE_BYTES
from autopilot.http.fetch_error import OK
from autopilot.process.hold_watch import Activity
from tests.unit.feeds.replicas import EPOCH, MemoryStore, ReplicasTestCase

HEAD = FeedHead(CATALOG, "ignored", 4, 2.0, None, None, OK, 10.0)


class FeedStoreTests(ReplicasTestCase):
    """One feed in the store."""

    def setUp(self) -> None:
        """Take the lease."""
        super().setUp()
        self.clock = self.server.clock
        self.link = self.of(self.clock, "one")
        self.assertIsNone(self.result(Deferred.fromCoroutine(self.link.acquire())))

    def of(self, clock: Clock, token: str) -> FeedStore:
        """Return what a replica has to do with the feed."""
        store = MemoryStore(self.server, clock)
        return FeedStore(store, clock, Activity(), CATALOG, b"scope", token, 30.0, 100.0)

    def result(self, waiting: Deferred[Any]) -> object:
        """Return a result for which the store needs a moment."""
        while not waiting.called:
            self.clock.advance(0.01)
        return self.successResultOf(waiting)

    def publish(self, body: bytes | None, head: FeedHead = HEAD) -> object:
        """Publish a body."""
        return self.result(Deferred.fromCoroutine(self.link.publish(lambda: (head, body))))

    def read(self) -> Publication:
        """Return what is published."""
        value = self.result(Deferred.fromCoroutine(self.link.latest()))
        assert isinstance(value, bytes)
        return publication_of(value)

    def body(self, publication: Publication) -> object:
        """Return the body of a publication."""
        return self.result(Deferred.fromCoroutine(self.link.body(publication)))

    def test_publication(self) -> None:
        """What is published is read with the store's time, and the body with it."""
        self.assertIs(self.publish(b"body"), True)
        read = self.read()
        self.assertEqual((read.by, read.pieces, read.head.size, read.head.age), ("one", 1, 4, 2.0))
        self.assertLess(abs(read.at - EPOCH), 1.0)
        self.assertEqual(self.body(read), b"body")

    def test_many_pieces(self) -> None:
        """A large body lies there in pieces, all of which are needed."""
        body = random.Random(1).randbytes(3 * PIECE_BYTES)
        self.publish(body)
        read = self.read()
        self.assertEqual(read.pieces, 4)
        self.assertEqual(self.body(read), body)
        (middle,) = (key for key in self.server.values if key.endswith(b":2"))
        del self.server.values[middle]
        self.assertIsNone(self.body(read))
        # The same body again is written again, because a piece is gone.
        self.publish(body)
        self.assertEqual(self.body(self.read()), body)

    def test_same_body(self) -> None:
        """The same body is not written again, but kept."""
        body = b"body"
        self.publish(body)
        self.clock.advance(20.0)
        before = self.server.commands.count(b"SET")
        self.publish(body)
        self.assertEqual(self.server.commands.count(b"SET"), before)
        self.clock.advance(90.0)
        self.assertEqual(self.body(self.read()), body)

    def test_replaced(self) -> None:
        """A body that another has replaced stays for those who read it now, and no longer."""
        self.publish(b"old")
        old = self.read()
        self.publish(b"new")
        self.clock.advance(10.0)
        self.assertEqual(self.body(old), b"old")
        self.clock.advance(10.0)
        self.assertIsNone(self.body(old))
        self.assertEqual(self.body(self.read()), b"new")

    def test_refreshed_meanwhile(self) -> None:
        """A head never goes with the body of another fetch."""
        bodies = [b"old", b"new", b"new"]
        current = Deferred.fromCoroutine(
            self.link.publish(lambda: (HEAD, bodies.pop(0) if len(bodies) > 1 else bodies[0]))
        )
        self.result(current)
        self.assertEqual(self.body(self.read()), b"new")

    def test_nothing_yet(self) -> None:
        """A feed that could not be fetched yet is published without a body."""
        self.assertIsNone(self.result(Deferred.fromCoroutine(self.link.latest())))
        self.publish(None, FeedHead(CATALOG, "", 0, None, 3.0, "status 500", "status", 10.0))
        read = self.read()
        self.assertEqual((read.pieces, read.head.last_error), (0, "status 500"))

    def test_expiry(self) -> None:
        """Everything in the store expires."""
        self.publish(b"body")
        self.clock.advance(101.0)
        self.assertEqual([key for key in self.server.values if self.server.get(key)], [])

    def test_lease(self) -> None:
        """Another learns how long the lease still lasts; its own holder has it again."""
        other = self.of(self.clock, "two")
        self.clock.advance(10.0)
        left = self.result(Deferred.fromCoroutine(other.acquire()))
        assert isinstance(left, float)
        self.assertLess(abs(left - 20.0), 0.1)
        self.assertIsNone(self.result(Deferred.fromCoroutine(self.link.acquire())))
        self.assertIs(self.result(Deferred.fromCoroutine(other.renew())), False)
        self.result(Deferred.fromCoroutine(other.release()))
        self.assertIs(self.result(Deferred.fromCoroutine(self.link.renew())), True)
        self.result(Deferred.fromCoroutine(self.link.release()))
        self.assertIs(self.publish(b"body"), False)
        self.assertIsNone(self.result(Deferred.fromCoroutine(other.acquire())))

    @given(st.binary(max_size=60))
    def test_nonsense(self, value: bytes) -> None:
        """No value is taken for a publication that is none."""
        for each in (value, b"1 " + value, b'1 {"by":"a","pieces":1,"head":%b}' % value):
            with self.assertRaises(ValueError):
                publication_of(each)

    def test_aged(self) -> None:
        """A head gets older in all that it says."""
        head = FeedHead(CATALOG, "1", 4, 2.0, 3.0, "status 500", "status", 10.0)
        later = aged(head, 5.0)
        self.assertEqual((later.age, later.failing_for, later.due_in), (7.0, 8.0, 5.0))
        self.assertEqual(aged(HEAD, 50.0).due_in, 0.0)
        self.assertIsNone(aged(HEAD, 1.0).failing_for)
