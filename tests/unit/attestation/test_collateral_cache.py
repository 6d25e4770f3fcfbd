"""Tests of the cache of Intel's data: fetched once, refreshed in time, kept across restarts."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.collateral import CollateralError, Fetched, Platform
from autopilot.attestation.collateral_cache import (
    LOOK_SECONDS,
    MAX_BYTES,
    MAX_PLATFORMS,
    RETRY_SECONDS,
    CollateralCache,
)
from tests.unit.attestation import world

PLATFORM, OTHER = Platform("B0C06F000000", "platform"), Platform("00906ED50000", "processor")
TEXT = world.collateral()
END = 1782864000
"""The next update of the collateral."""
DUE = (END - world.NOW) / 3


class CacheTestCase(SynchronousTestCase):
    """A cache, whose fetches the test answers."""

    def setUp(self) -> None:
        """Make a cache with a directory."""
        self.clock = Clock()
        self.folder = Path(self.mktemp())
        self.asked: list[Platform] = []
        self.fetches: list[Deferred[Fetched]] = []
        self.cancelled: list[int] = []
        self.cache = self.made()

    def made(self, folder: bool = True) -> CollateralCache:
        """Return a cache, as after a start."""
        cache = CollateralCache(
            self.clock,
            self.fetch,
            lambda: world.NOW + self.clock.seconds(),
            self.folder if folder else None,
        )
        cache.start()
        self.addCleanup(cache.stop)
        return cache

    def fetch(self, platform: Platform) -> Deferred[Fetched]:
        """Begin a fetch."""
        number = len(self.fetches)
        self.asked.append(platform)
        fetching: Deferred[Fetched] = Deferred(lambda _: self.cancelled.append(number))
        self.fetches.append(fetching)
        return fetching

    def fill(self, text: str = TEXT) -> None:
        """Fetch the data of the platform."""
        waiting = self.cache.get(PLATFORM)
        self.fetches[-1].callback(Fetched(text))
        self.assertEqual(self.successResultOf(waiting), text)

    def unanswered(self, cache: CollateralCache, platform: Platform) -> None:
        """Assert that a fetch is needed."""
        waiting = cache.get(platform)
        self.assertNoResult(waiting)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)

    def looked(self, seconds: float) -> None:
        """Let time pass, with all looks in it."""
        self.clock.pump([LOOK_SECONDS] * int(seconds // LOOK_SECONDS))
        self.clock.advance(seconds % LOOK_SECONDS)


class CacheTests(CacheTestCase):
    """Data that is asked for."""

    def test_once(self) -> None:
        """All that wait share a fetch, and later ones need none."""
        waiting = [self.cache.get(PLATFORM) for _ in range(5)]
        self.assertEqual(self.asked, [PLATFORM])
        self.fetches[0].callback(Fetched(TEXT))
        for each in [*waiting, self.cache.get(PLATFORM)]:
            self.assertEqual(self.successResultOf(each), TEXT)
        self.assertEqual(len(self.asked), 1)
        self.unanswered(self.cache, OTHER)

    def test_failure(self) -> None:
        """Without data the answer is None, and the next fetch waits a minute."""
        waiting = self.cache.get(PLATFORM)
        self.fetches[0].errback(ValueError())
        self.assertIsNone(self.successResultOf(waiting))
        self.clock.advance(RETRY_SECONDS - 1)
        self.assertIsNone(self.successResultOf(self.cache.get(PLATFORM)))
        self.assertEqual(len(self.asked), 1)
        self.clock.advance(1)
        self.fill()

    def test_broken_fetch(self) -> None:
        """A fetch that raises is a failure."""
        cache = CollateralCache(self.clock, lambda _: 1 // 0, lambda: 0.0)  # type: ignore[arg-type,return-value]
        self.assertIsNone(self.successResultOf(cache.get(PLATFORM)))

    def test_cancelled(self) -> None:
        """One that gives up does not disturb the others."""
        first, second = self.cache.get(PLATFORM), self.cache.get(PLATFORM)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.fetches[0].callback(Fetched(TEXT))
        self.assertEqual(self.successResultOf(second), TEXT)

    def test_stop(self) -> None:
        """Stopping ends the fetch and the looks, and fails those that wait."""
        waiting = self.cache.get(PLATFORM)
        self.cache.stop()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.cancelled, [0])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class RefreshTests(CacheTestCase):
    """Data that ages."""

    def test_due(self) -> None:
        """A third of the time to the next update later, the data is fetched again."""
        self.fill()
        self.looked(DUE - LOOK_SECONDS)
        self.assertEqual(len(self.asked), 1)
        self.looked(LOOK_SECONDS)
        self.assertEqual(len(self.asked), 2)
        self.assertEqual(self.successResultOf(self.cache.get(PLATFORM)), TEXT)
        self.fetches[1].callback(Fetched(TEXT + " "))
        self.assertEqual(self.successResultOf(self.cache.get(PLATFORM)), TEXT + " ")

    def test_failure(self) -> None:
        """A refresh that fails keeps the data, and is made again at the next look."""
        self.fill()
        self.looked(DUE)
        self.fetches[1].errback(ValueError())
        self.assertEqual(self.successResultOf(self.cache.get(PLATFORM)), TEXT)
        self.looked(LOOK_SECONDS)
        self.assertEqual(len(self.asked), 3)

    def test_ends_early(self) -> None:
        """Data of the days of grace counts until their end, whether other data can be fetched."""
        waiting = self.cache.get(PLATFORM)
        until = world.NOW + 3 * LOOK_SECONDS
        self.fetches[-1].callback(Fetched(TEXT, until))
        self.assertEqual(self.successResultOf(waiting), TEXT)
        self.assertEqual(self.cache.report().next_update, until)
        self.assertEqual(list(self.folder.glob("*")), [])
        self.looked(3 * LOOK_SECONDS)
        self.assertEqual(len(self.fetches), 2)
        self.fetches[-1].errback(CollateralError("TCB info: status 503"))
        self.assertIsNone(self.successResultOf(self.cache.get(PLATFORM)))
        self.assertEqual(self.cache.report().platforms, 0)
        self.assertTrue(self.cache.lacks)

    def test_bounded(self) -> None:
        """No more platforms are kept than a number: what a quote names is not verified yet."""
        for number in range(MAX_PLATFORMS + 1):
            self.cache.get(Platform(f"{number:012X}", "platform"))
            self.fetches[-1].callback(Fetched(TEXT))
        self.assertEqual(self.cache.report().platforms, MAX_PLATFORMS)

    def test_said(self) -> None:
        """A failure is said once, without an answer's text, and so is its end."""
        with capturedLogs() as logs:
            for error in (CollateralError("PCK CRL: status 500"), ZeroDivisionError("canary")):
                self.cache.get(PLATFORM)
                self.fetches[-1].errback(error)
                self.clock.advance(RETRY_SECONDS)
            self.cache.get(PLATFORM)
            self.fetches[-1].callback(Fetched(TEXT))
            self.cache.get(OTHER)
            self.fetches[-1].errback(ZeroDivisionError("canary"))
        said = [formatEvent(each) or "" for each in logs]
        self.assertEqual(
            [each.partition(";")[0] for each in said[:3]],
            [
                "Private mode: Intel's collateral could not be fetched (PCK CRL: status 500)",
                "Private mode: Intel's collateral was fetched again",
                "Private mode: Intel's collateral could not be fetched (internal error)",
            ],
        )
        self.assertNotIn("canary", repr(logs))

    def test_unreadable_dates(self) -> None:
        """Data without a readable date is fetched again at the next look."""
        for text in ("{}", '{"tcb_info":"{}","qe_identity":"{}"}', TEXT.replace("2026-07", "x")):
            self.fill(text)
            count = len(self.asked)
            self.looked(LOOK_SECONDS)
            self.assertEqual(len(self.asked), count + 1)
            self.fetches[-1].callback(Fetched(text))
            self.cache.stop()
            self.folder = Path(self.mktemp())
            self.cache = self.made()


class FolderTests(CacheTestCase):
    """Data that is kept across restarts."""

    def test_restart(self) -> None:
        """After a restart no fetch is needed until the refresh is due."""
        self.fill()
        again = self.made()
        self.assertEqual(self.successResultOf(again.get(PLATFORM)), TEXT)
        self.assertEqual(len(self.asked), 1)
        names = [each.name for each in self.folder.iterdir()]
        self.assertEqual(names, ["collateral-B0C06F000000-platform.json"])

    def test_known_at_start(self) -> None:
        """What is in the directory is known from the start, without the first quote."""
        self.fill()
        self.folder.joinpath("collateral-unrelated.json").write_text("{}")
        again = self.made()
        self.assertTrue(again.has_data)
        self.assertEqual(again.report().platforms, 1)
        self.clock.advance(END - world.NOW)
        late = self.made()
        self.assertFalse(late.has_data)

    def test_refresh_after_restart(self) -> None:
        """Data from the directory is refreshed when it is due, and not before."""
        self.fill()
        self.cache.stop()
        self.successResultOf(self.made().get(PLATFORM))
        self.looked(DUE - LOOK_SECONDS)
        self.assertEqual(len(self.asked), 1)
        self.looked(LOOK_SECONDS)
        self.assertEqual(len(self.asked), 2)

    def test_folders(self) -> None:
        """The directory is made with those above it, if it is missing."""
        self.folder = self.folder / "above" / "it"
        for text in (TEXT, TEXT + " "):
            self.cache = self.made()
            self.fill(text)
            self.assertEqual(self.successResultOf(self.made().get(PLATFORM)), text)
            (self.folder / "collateral-B0C06F000000-platform.json").unlink()

    def test_ended(self) -> None:
        """Data that ended in the meantime is fetched at once; it is used if that fails."""
        self.fill()
        self.cache.stop()
        self.clock.advance(END - world.NOW)
        again = self.made()
        waiting = [again.get(PLATFORM) for _ in range(2)]
        for each in waiting:
            self.assertNoResult(each)
        self.fetches[-1].errback(ValueError())
        for each in [*waiting, again.get(PLATFORM)]:
            self.assertEqual(self.successResultOf(each), TEXT)
        self.assertEqual(len(self.asked), 2)

    def test_no_folder(self) -> None:
        """Without a directory nothing is written or read."""
        self.cache = self.made(folder=False)
        self.fill()
        self.assertFalse(self.folder.exists())
        self.unanswered(self.made(), PLATFORM)

    def test_unusable_files(self) -> None:
        """A file that is not text, too large, or cannot be written, is ignored."""
        self.folder.mkdir()
        (self.folder / "collateral-B0C06F000000-platform.json").write_bytes(b"\xff")
        self.fill()
        (self.folder / "collateral-B0C06F000000-platform.json").write_text(
            TEXT.rjust(MAX_BYTES + 1)
        )
        self.unanswered(self.made(), PLATFORM)
        self.folder = Path(self.mktemp())
        self.folder.write_text("a file")
        self.cache = self.made()
        self.fill()

    def test_names(self) -> None:
        """A platform that no file is named for has none."""
        odd = Platform("../../x", "platform")
        waiting = self.cache.get(odd)
        self.fetches[-1].callback(Fetched(TEXT))
        self.successResultOf(waiting)
        self.assertFalse(self.folder.exists())
