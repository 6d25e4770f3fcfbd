"""Feeds with thousands of records, which are read in steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from unittest.mock import patch

from twisted.internet.task import Clock

from autopilot.feeds import parsers
from autopilot.feeds.parsers import MAX_RECORDS, catalog_steps, utilization_steps
from autopilot.http.fetch_error import FetchError
from autopilot.routing.catalog import Catalog
from autopilot.routing.ranking import rank, ranking_steps
from autopilot.routing.steps import STEP
from tests.unit.feeds.planes import PlaneTestCase

STEP_BYTES = 1 << 20
LOOK_BYTES = 1 << 18
LARGE = 2 * STEP_BYTES
MANY = 4 * STEP + 7


def catalog(count: int) -> bytes:
    """Return a catalog of so many models."""
    return b'{"data":[%b]}' % b",".join(b'{"id":"org/m%d-TEE"}' % i for i in range(count))


def loads(count: int, instances: int = 1) -> bytes:
    """Return a utilization feed of so many models."""
    one = b'{"name":"org/m%d-TEE","active_instance_count":%d,"utilization_current":0.%d}'
    return b"[%b]" % b",".join(one % (i, instances, i % 97) for i in range(count))


class StepsTests(PlaneTestCase):
    """Between two steps the reactor serves others."""

    make_clock = Clock

    def turns(self) -> int:
        """Run what is due, and return how many turns of the reactor that takes."""
        with patch.object(self.clock, "callLater", wraps=self.clock.callLater) as later:
            self.clock.advance(0)
        return later.call_count + 1

    def test_turns(self) -> None:
        """No turn handles more than some hundred records; the snapshot is replaced at the end."""
        self.plane.start()
        self.models.gives(catalog(MANY))
        self.assertIsNone(self.plane.snapshot.catalog)
        self.assertGreater(self.turns(), 2 * MANY // STEP)
        self.assertEqual(len(self.plane.snapshot.catalog or ()), MANY)
        self.utilization.gives(loads(MANY))
        self.assertEqual(self.plane.snapshot.ranking, ())
        self.assertGreater(self.turns(), 2 * MANY // STEP)
        self.assertEqual(len(self.plane.snapshot.ranking), MANY)

    def test_activity(self) -> None:
        """Each step is noted, so that the watch on the reactor can name it."""
        self.plane.start()
        self.clock.advance(7.0)
        self.models.gives(catalog(MANY))
        self.assertEqual(self.activity.latest, ("reading the catalog feed", 7.0))
        self.utilization.gives(loads(3))
        self.assertEqual(self.activity.since(7.0), "reading the utilization feed")
        self.clock.advance(0)
        self.assertEqual(self.activity.since(7.0), "reading the catalog feed")

    def test_few(self) -> None:
        """The platform's feeds are read at once."""
        self.plane.start()
        self.models.gives(catalog(220))
        self.utilization.gives(loads(220))
        self.assertEqual(len(self.plane.snapshot.ranking), 220)

    def test_both_at_once(self) -> None:
        """Two feeds that are read at the same time do not undo each other."""
        self.plane.start()
        self.models.gives(catalog(MANY))
        self.utilization.gives(loads(2 * MANY))
        self.turns()
        snapshot = self.plane.snapshot
        self.assertEqual((len(snapshot.catalog or ()), len(snapshot.ranking)), (MANY, MANY))

    def test_stopped(self) -> None:
        """A stop in the midst of the steps publishes nothing and leaves nothing behind."""
        self.plane.start()
        self.models.gives(catalog(MANY))
        stopped = self.plane.stop()
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIsNone(self.plane.snapshot.catalog)
        self.assertEqual(self.seen, [])

    def test_same_result(self) -> None:
        """Steps rank as the whole does, whatever the number of records."""
        for count in (0, 1, STEP, MANY):
            parsed = parsers.parse_utilization(loads(count or 1)).loads[:count]
            listed = Catalog.of(parsers.parse_catalog(catalog(MANY)).models)
            whole = sorted(rank(parsed, listed), key=lambda each: (-each.score, each.name))
            self.assertEqual(list(rank(parsed, listed)), whole)
            pauses = sum(1 for _ in ranking_steps(parsed, listed))
            self.assertGreaterEqual(pauses, count // STEP)

    def test_limit(self) -> None:
        """Too many records are a failed refresh, found before each is looked at."""
        for body in (loads(MAX_RECORDS + 1), b"[" + b"{}," * 500_000 + b"{}]"):
            self.assert_refused(utilization_steps, body)
        self.assert_refused(catalog_steps, catalog(MAX_RECORDS + 1))
        with patch.object(parsers, "_decode", side_effect=AssertionError):
            self.assert_refused(utilization_steps, b"[" + b"1," * 500_000 + b"1]")
            self.assert_refused(utilization_steps, b"[" + b"{}," * 500_000 + b"{}]")

    def test_large_values(self) -> None:
        """What is no list of records of usual size is not decoded at all."""
        with patch.object(parsers, "_decode", side_effect=AssertionError):
            self.assert_refused(utilization_steps, b"[1" + b"1" * LARGE + b"]")
            self.assert_refused(utilization_steps, b'[{"name":"' + b"a" * LARGE + b'"}]')
            self.assert_refused(catalog_steps, b'{"data":[{"id":"' + b"a" * LARGE + b'"}]}')

    def test_large_record(self) -> None:
        """A record of more than 256 KiB is unreadable, and is not decoded."""
        large, padding = b'{"id":"x","y":"%b"}' % (b"y" * (1 << 18)), b'{"id":"org/m%d"}'
        entries = [*(padding % number for number in range(40)), large]
        with patch.object(parsers, "_entry", wraps=parsers._entry) as decoder:
            parsed = parsers.parse_catalog(b'{"data":[%b]}' % b",".join(entries))
        self.assertEqual((len(parsed.models), parsed.rejected), (40, 1))
        self.assertEqual(decoder.decode.call_count, 40)
        record = b'{"name":"a","active_instance_count":1%b}'
        body = b"[%b,%b]" % (record % b"", record % (b',"y":"%b"' % (b"y" * (1 << 18))))
        self.assertEqual(parsers.parse_utilization(body).rejected, 1)

    def test_bytes(self) -> None:
        """No step of a large feed handles more than a megabyte of records."""
        one = b'{"id":"org/m%d","x":"%b"}'
        body = b'{"data":[%b]}' % b",".join(one % (i, b"x" * 50_000) for i in range(160))
        with patch.object(parsers, "_entry", wraps=parsers._entry) as decoder:
            counts = [decoder.decode.call_count for _ in catalog_steps(body)]
        handled = [after - before for before, after in pairwise(counts)]
        self.assertEqual(sum(handled), 147)
        self.assertEqual(max(handled), 21)
        self.assertEqual(counts[:3], [0, 0, 0])  # joined, counted, decoded

    def test_text(self) -> None:
        """What is not ASCII is checked in steps, which may end within a character."""
        text = "\u20ac".encode() * 2000
        body = b"[%b]" % b",".join(
            b'{"name":"%d","active_instance_count":1,"x":"%b"}' % (number, text)
            for number in range(700)
        )
        self.assertGreater(sum(1 for _ in utilization_steps(body)), len(body) // STEP_BYTES + 2)
        self.assertEqual(len(parsers.parse_utilization(body).loads), 700)
        for broken in (body[:-3] + b"\xe2" + body[-3:], body + b"\xe2\x82"):
            with self.assertRaisesRegex(FetchError, "not UTF-8"):
                parsers.parse_utilization(broken)

    def test_looks(self) -> None:
        """No step looks at more than 256 KiB: a byte that is counted takes nanoseconds."""
        looks: list[int] = []

        class Decoder:
            def decode(self, data: bytes, final: bool) -> None:
                looks.append(len(data))

        for body in (b"," * LARGE, b"{" * LARGE, b"x" * LARGE):
            looks.clear()
            with patch.object(parsers, "_utf8", Decoder):
                self.assert_refused(utilization_steps, body)
            self.assertEqual(looks, [LOOK_BYTES] * (LARGE // LOOK_BYTES))
            reading = utilization_steps(body)
            for _ in range(LARGE // LOOK_BYTES):
                next(reading)
            self.assertRaises(FetchError, next, reading)

    def assert_refused(self, read: Callable[[bytes], Iterator[None]], body: bytes) -> None:
        """Reading fails as soon as all of the body has been looked at."""
        reading = read(body)
        with self.assertRaises(FetchError):
            for _ in range(len(body) // LOOK_BYTES + 3):
                next(reading)
