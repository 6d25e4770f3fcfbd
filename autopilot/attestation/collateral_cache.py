"""Intel's data by platform: fetched when first needed, refreshed in time, kept in a directory.

What is kept is not trusted: every verification checks its signatures and dates. A refresh that
fails changes nothing, so that Intel's service may be away until the data ends.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import datetime
from math import inf
from pathlib import Path
from re import fullmatch
from typing import Any, Final

from msgspec import DecodeError, Struct
from msgspec.json import Decoder
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from autopilot.attestation.bug_log import log_bug
from autopilot.attestation.collateral import CollateralError, Fetched, Platform
from autopilot.attestation.grace import evaluation_of
from autopilot.attestation.private_report import CollateralReport
from autopilot.http.fetch_error import FetchError

LOOK_SECONDS: Final = 3600.0
"""How often it is looked whether a refresh is due."""
RETRY_SECONDS: Final = 60.0
"""After a failure to fetch data of which there is none."""
SHARE: Final = 1 / 3
"""Data is refreshed after this share of the time until the next update."""
MAX_BYTES: Final = 1024 * 1024
_NAME: Final = re.compile("collateral-([0-9A-F]{12})-([a-z]{1,16})[.]json")
MAX_PLATFORMS: Final = 64
"""Which one a quote is of is read before it is verified."""


class _Dates(Struct):
    nextUpdate: str  # noqa: N815 - Intel's name


class _Collateral(Struct):
    tcb_info: str
    qe_identity: str


_dates = Decoder(_Dates)
_collateral = Decoder(_Collateral)


class _Kept:
    """What is kept of a platform: the data, or nothing after a failure, and when to fetch again.

    ``late`` data had ended when it was read, and is used only if none can be fetched. ``since`` is
    when it was fetched, by the time of day, and ``until`` when it counts no more, if that is before
    its own dates.
    """

    __slots__ = ("_text", "due", "late", "since", "until")

    def __init__(
        self,
        text: str | None,
        due: float,
        since: float,
        *,
        late: bool = False,
        until: float = inf,
    ) -> None:
        self._text = text
        self.due = min(due, until)
        self.since = since
        self.late = late
        self.until = until

    def text(self, now: float) -> str | None:
        """Return the data, unless it counts no more."""
        return self._text if now < self.until else None

    def serves(self, now: float) -> bool:
        """Return whether this is the answer, instead of a fetch."""
        return not self.late and (self.text(now) is not None or now < self.due)


class CollateralCache:
    """The data of every platform that was asked for. ``wall`` is the time of day.

    Start it for refreshes; `stop` cancels them, and fails those that wait.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        fetch: Callable[[Platform], Deferred[Fetched]],
        wall: Callable[[], float],
        folder: Path | None = None,
    ) -> None:
        self._fetch = fetch
        self._wall = wall
        self._folder = folder
        self._kept: dict[Platform, _Kept] = {}
        self._fetching: dict[Platform, Deferred[Any]] = {}
        self._waiting: dict[Platform, list[Deferred[str | None]]] = {}
        self._fails = False
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock

    def start(self) -> None:
        """Begin to refresh, what a former run has kept too."""
        for platform in self._files():
            self._read(platform)
        self._loop.start(LOOK_SECONDS, now=False)

    def stop(self) -> None:
        """End the refreshes and the fetches under way."""
        if self._loop.running:
            self._loop.stop()
        for each in list(self._fetching.values()):
            each.cancel()

    def get(self, platform: Platform) -> Deferred[str | None]:
        """Return the data of a platform, or None if there is none. It fails only by cancelling."""
        kept = self._kept.get(platform) or self._read(platform)
        if kept is not None and kept.serves(self._wall()):
            ready: Deferred[str | None] = Deferred()
            ready.callback(kept.text(self._wall()))
            return ready
        waiting: Deferred[str | None] = Deferred(
            lambda cancelled: self._waiting[platform].remove(cancelled)
        )
        self._waiting.setdefault(platform, []).append(waiting)
        if platform not in self._fetching:
            self._refresh(platform)
        return waiting

    def _look(self) -> None:
        now = self._wall()
        for platform, kept in list(self._kept.items()):
            if now >= kept.due and platform not in self._fetching:
                self._refresh(platform)

    def _refresh(self, platform: Platform) -> None:
        fetching: Deferred[Any] = Deferred(lambda _: begun.cancel())
        self._fetching[platform] = fetching
        fetching.addBoth(self._land, platform)
        begun = maybeDeferred(self._fetch, platform)
        begun.addBoth(fetching.callback)

    def _land(self, result: Fetched | Failure, platform: Platform) -> None:
        del self._fetching[platform]
        waiting = self._waiting.pop(platform, [])
        if isinstance(result, Failure) and result.check(CancelledError):
            for each in waiting:
                each.errback(Failure(CancelledError()))
            return
        self._note(result)
        before = self._kept.pop(platform, None)
        kept = self._after_failure(before) if isinstance(result, Failure) else self._after(result)
        if isinstance(result, Fetched) and result.until == inf:
            self._write(platform, result.text)
        while len(self._kept) >= MAX_PLATFORMS:
            del self._kept[next(iter(self._kept))]
        self._kept[platform] = kept
        for each in waiting:
            each.callback(kept.text(self._wall()))

    def _after(self, fetched: Fetched) -> _Kept:
        now = self._wall()
        return _Kept(fetched.text, self._due(fetched.text), now, until=fetched.until)

    def _after_failure(self, before: _Kept | None) -> _Kept:
        now = self._wall()
        retry = now + RETRY_SECONDS
        text = None if before is None else before.text(now)
        if before is None or text is None:
            return _Kept(None, retry, now)
        return _Kept(text, retry, before.since, until=before.until)

    def report(self) -> CollateralReport:
        """Return what the pages show of it."""
        now = self._wall()
        kept = [
            (text, each) for each in self._kept.values() if (text := each.text(now)) is not None
        ]
        ends = [min(end, each.until) for text, each in kept if (end := _end(text)) is not None]
        numbers = [number for text, _ in kept if (number := _evaluation(text)) is not None]
        return CollateralReport(
            platforms=len(kept),
            age=max((now - each.since for _, each in kept), default=None),
            next_update=min(ends, default=None),
            evaluation=min(numbers, default=None),
        )

    @property
    def has_data(self) -> bool:
        """Whether there is data of any platform that had not ended when it came."""
        now = self._wall()
        return any(each.text(now) is not None and not each.late for each in self._kept.values())

    @property
    def lacks(self) -> bool:
        """Whether data was asked for and could not be fetched, and there is none of another."""
        return bool(self._kept) and not self.has_data

    def _note(self, result: Fetched | Failure) -> None:
        """Log that the data cannot be fetched, and that it can again, once each."""
        if isinstance(result, Failure):
            if not self._fails:
                known = result.check(FetchError, CollateralError)
                problem = result.getErrorMessage() if known else "internal error"
                self._log.warn(
                    "Private mode: Intel's collateral could not be fetched ({problem}); retrying",
                    problem=problem,
                )
                if not known:
                    log_bug(self._log, "collateral was fetched", result)
        elif self._fails:
            self._log.info("Private mode: Intel's collateral was fetched again")
        self._fails = isinstance(result, Failure)

    def _due(self, text: str | None) -> float:
        """Return when data is to be refreshed: now, if its dates have passed or are unreadable."""
        now = self._wall()
        end = _end(text)
        return now if end is None else now + max(0.0, end - now) * SHARE

    def _read(self, platform: Platform) -> _Kept | None:
        path = self._path(platform)
        if path is None:
            return None
        try:
            with path.open("rb") as file:
                text = file.read(MAX_BYTES).decode()
                since = os.fstat(file.fileno()).st_mtime
        except (OSError, UnicodeDecodeError):
            return None
        due = self._due(text)
        self._kept[platform] = _Kept(text, due, since, late=due <= self._wall())
        return self._kept[platform]

    def _write(self, platform: Platform, text: str) -> None:
        """Keep data in the directory; without it, a restart fetches it again."""
        path = self._path(platform)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            scratch = path.with_suffix(".new")
            scratch.write_text(text, "utf-8")
            os.replace(scratch, path)
        except OSError:
            return

    def _files(self) -> list[Platform]:
        """Return the platforms whose data is in the directory."""
        if self._folder is None:
            return []
        found = (_NAME.fullmatch(each.name) for each in self._folder.glob("collateral-*.json"))
        named = [Platform(match[1], match[2]) for match in found if match is not None]
        return sorted(named, key=lambda each: (each.fmspc, each.ca))[:MAX_PLATFORMS]

    def _path(self, platform: Platform) -> Path | None:
        named = fullmatch("[0-9A-F]{12}", platform.fmspc) and fullmatch("[a-z]{1,16}", platform.ca)
        if self._folder is None or not named:
            return None
        return self._folder / f"collateral-{platform.fmspc}-{platform.ca}.json"


def _end(text: str | None) -> float | None:
    """Return when data is to be updated at the latest; None if its dates are unreadable."""
    try:
        read = _collateral.decode(text or "")
        ends = [_dates.decode(each).nextUpdate for each in (read.tcb_info, read.qe_identity)]
        return min(datetime.fromisoformat(each).timestamp() for each in ends)
    except (DecodeError, ValueError, RecursionError, OverflowError):
        return None


def _evaluation(text: str | None) -> int | None:
    """Return the number of the data's evaluation, if it has one."""
    try:
        return evaluation_of(_collateral.decode(text or "").tcb_info)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return None
