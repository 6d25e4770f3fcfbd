"""Tests of the feed of measurements: the last good list counts, for a day."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.measurements_feed import (
    HURRY_SECONDS,
    LOOK_SECONDS,
    MAX_AGE_SECONDS,
    REFRESH_SECONDS,
    MeasurementsFeed,
)
from autopilot.http.fetch import FetchedResponse
from autopilot.http.fetch_error import NETWORK, FetchError
from tests.unit.attestation import world

BODY = json.dumps(world.world()["measurements"]).encode()
WALL = 1_780_000_000.0


class MeasurementsFeedTests(SynchronousTestCase):
    """`MeasurementsFeed`."""

    def setUp(self) -> None:
        """Make a feed with a directory."""
        self.clock = Clock()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.fetches: list[Deferred[FetchedResponse]] = []
        self.cancelled: list[int] = []
        self.slept = 0.0
        self.feed = self.made()

    def made(self, folder: bool = True) -> MeasurementsFeed:
        """Return a feed, as after a start of the router."""
        feed = MeasurementsFeed(
            self.clock,
            self.fetch,
            lambda: WALL + self.slept + self.clock.seconds(),
            self.folder if folder else None,
        )
        self.addCleanup(feed.stop)
        return feed

    def fetch(self) -> Deferred[FetchedResponse]:
        """Begin a fetch."""
        number = len(self.fetches)
        self.fetches.append(Deferred(lambda _: self.cancelled.append(number)))
        return self.fetches[-1]

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with all looks in it."""
        self.clock.pump([LOOK_SECONDS] * int(seconds // LOOK_SECONDS))

    def answer(self, body: bytes = BODY, status: int = 200) -> None:
        """Answer the last fetch."""
        self.fetches[-1].callback(FetchedResponse(status, body))

    def test_fetched(self) -> None:
        """The list is fetched at the start, and again every ten minutes."""
        self.assertEqual((self.feed.rows(), self.feed.age), ((), None))
        self.feed.start()
        self.feed.start()
        self.answer()
        self.assertEqual(self.feed.rows(), world.rows())
        self.pass_time(REFRESH_SECONDS - LOOK_SECONDS)
        self.assertEqual(len(self.fetches), 1)
        self.pass_time(LOOK_SECONDS)
        self.assertEqual(len(self.fetches), 2)
        self.assertEqual(self.feed.age, REFRESH_SECONDS)

    def test_ready(self) -> None:
        """Those that come before the first answer wait for it; one may leave."""
        self.assertFalse(self.successResultOf(self.feed.ready()))
        self.feed.start()
        first, second = self.feed.ready(), self.feed.ready()
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.assertNoResult(first)
        self.answer()
        self.assertTrue(self.successResultOf(first))
        self.assertTrue(self.successResultOf(self.feed.ready()))

    def test_failures(self) -> None:
        """A failure is said once, and leaves the former list; its end is said too."""
        self.feed.start()
        waiting = self.feed.ready()
        with capturedLogs() as logs:
            self.answer(status=500)
            self.assertFalse(self.successResultOf(waiting))
            self.assertTrue(self.feed.tried)
            self.pass_time(LOOK_SECONDS)
            self.fetches[-1].errback(FetchError(NETWORK, "connection refused"))
            self.pass_time(LOOK_SECONDS)
            self.answer(b"[{}]")
            self.pass_time(LOOK_SECONDS)
            self.answer()
        self.assertEqual(
            [formatEvent(each) for each in logs],
            [
                (
                    "Private mode: the platform's measurements could not be fetched (status 500);"
                    " retrying"
                ),
                "Private mode: the platform's measurements were fetched again",
            ],
        )
        self.pass_time(REFRESH_SECONDS)
        self.answer(b"not JSON")
        self.assertEqual(self.feed.rows(), world.rows())

    def test_bug(self) -> None:
        """A bug of ours is logged without its text, and the feed goes on."""
        self.feed.start()
        with capturedLogs() as logs:
            self.fetches[-1].errback(ZeroDivisionError("canary"))
        self.assertNotIn("canary", repr(logs))
        self.assertIn("ZeroDivisionError", repr(logs))
        self.pass_time(LOOK_SECONDS)
        self.answer()
        self.assertEqual(self.feed.rows(), world.rows())

    def test_too_old(self) -> None:
        """After a day without an answer the list vouches for nothing."""
        self.feed.start()
        self.answer()
        self.clock.advance(MAX_AGE_SECONDS - 1)
        self.assertEqual(self.feed.rows(), world.rows())
        self.clock.advance(1)
        self.assertEqual(self.feed.rows(), ())

    def test_hurry(self) -> None:
        """For registers that it lacks the list is fetched soon, but not again and again."""
        self.feed.start()
        self.answer()
        self.feed.hurry()
        self.pass_time(HURRY_SECONDS)
        self.assertEqual(len(self.fetches), 1)
        self.feed.hurry()
        self.pass_time(LOOK_SECONDS)
        self.assertEqual(len(self.fetches), 2)

    def test_stop(self) -> None:
        """Stopping ends the fetch, and answers those that wait; it may start again."""
        self.feed.start()
        waiting = self.feed.ready()
        self.feed.stop()
        self.assertFalse(self.successResultOf(waiting))
        self.assertEqual(self.cancelled, [0])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.feed.start()
        self.answer()
        self.assertEqual(self.feed.rows(), world.rows())

    def test_restart(self) -> None:
        """What was kept in the directory counts at once, with its age, and is fetched again."""
        self.feed.start()
        self.answer()
        self.feed.stop()
        self.slept = 3600.0
        again = self.made()
        again.start()
        self.assertEqual((again.rows(), again.age), (world.rows(), 3600))
        self.assertEqual(len(self.fetches), 2)

    def test_kept_too_long(self) -> None:
        """What is a day old, or from the future, does not count."""
        self.feed.start()
        self.answer()
        self.feed.stop()
        for slept in (MAX_AGE_SECONDS, -1.0):
            self.slept = slept
            again = self.made()
            again.start()
            self.assertEqual(again.rows(), ())

    def test_unusable(self) -> None:
        """Without a directory, and with a file of another kind, the platform is waited for."""
        self.folder.joinpath("measurements.json").write_bytes(b'{"fetched":1,"rows":[{}]}')
        self.feed.start()
        self.assertEqual(self.feed.rows(), ())
        self.feed.stop()
        self.folder.joinpath("measurements.json").unlink()
        self.folder.rmdir()
        self.feed.start()
        self.answer()
        self.assertEqual(self.feed.rows(), world.rows())
