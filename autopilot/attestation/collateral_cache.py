"""Intel's data by platform: fetched when first needed, refreshed in time, kept in a directory.

What is kept is not trusted: every verification checks its signatures and dates. A refresh that
fails changes nothing, so that Intel's service may be away until the data ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from re import fullmatch
from typing import Final

from msgspec import DecodeError, Struct
from msgspec.json import Decoder
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from autopilot.attestation.collateral import Platform

LOOK_SECONDS: Final = 3600.0
"""How often it is looked whether a refresh is due."""
RETRY_SECONDS: Final = 60.0
"""After a failure to fetch data of which there is none."""
SHARE: Final = 1 / 3
"""Data is refreshed after this share of the time until the next update."""
MAX_BYTES: Final = 1024 * 1024


class _Dates(Struct):
    nextUpdate: str  # noqa: N815 - Intel's name


class _Collateral(Struct):
    tcb_info: str
    qe_identity: str


_dates = Decoder(_Dates)
_collateral = Decoder(_Collateral)


class _Kept:
    """What is kept of a platform: the data, or nothing after a failure, and when to fetch again.

    ``late`` data had ended when it was read, and is used only if none can be fetched.
    """

    __slots__ = ("due", "late", "text")

    def __init__(self, text: str | None, due: float, late: bool = False) -> None:
        self.text = text
        self.due = due
        self.late = late

    def serves(self, now: float) -> bool:
        """Return whether this is the answer, instead of a fetch."""
        return not self.late and (self.text is not None or now < self.due)


class CollateralCache:
    """The data of every platform that was asked for. ``wall`` is the time of day.

    Start it for refreshes; `stop` cancels them, and fails those that wait.
    """

    def __init__(
        self,
        clock: IReactorTime,
        fetch: Callable[[Platform], Deferred[str]],
        wall: Callable[[], float],
        folder: Path | None = None,
    ) -> None:
        self._fetch = fetch
        self._wall = wall
        self._folder = folder
        self._kept: dict[Platform, _Kept] = {}
        self._fetching: dict[Platform, Deferred[str | None]] = {}
        self._waiting: dict[Platform, list[Deferred[str | None]]] = {}
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock

    def start(self) -> None:
        """Begin to refresh."""
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
            ready.callback(kept.text)
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
        fetching: Deferred[str | None] = Deferred(lambda _: begun.cancel())
        self._fetching[platform] = fetching
        fetching.addBoth(self._land, platform)
        begun = maybeDeferred(self._fetch, platform)
        begun.addBoth(fetching.callback)

    def _land(self, result: str | Failure | None, platform: Platform) -> None:
        del self._fetching[platform]
        waiting = self._waiting.pop(platform, [])
        if isinstance(result, Failure) and result.check(CancelledError):
            for each in waiting:
                each.errback(Failure(CancelledError()))
            return
        text = result if isinstance(result, str) else None
        if text is not None:
            self._write(platform, text)
        elif (before := self._kept.get(platform)) is not None:
            text = before.text
        fetched = isinstance(result, str)
        self._kept[platform] = _Kept(text, self._due(text) if fetched else self._retry())
        for each in waiting:
            each.callback(text)

    def _retry(self) -> float:
        return self._wall() + RETRY_SECONDS

    def _due(self, text: str | None) -> float:
        """Return when data is to be refreshed: now, if its dates have passed or are unreadable."""
        now = self._wall()
        try:
            read = _collateral.decode(text or "")
            ends = [_dates.decode(each).nextUpdate for each in (read.tcb_info, read.qe_identity)]
            end = min(datetime.fromisoformat(each).timestamp() for each in ends)
        except (DecodeError, ValueError, RecursionError, OverflowError):
            return now
        return now + max(0.0, end - now) * SHARE

    def _read(self, platform: Platform) -> _Kept | None:
        path = self._path(platform)
        if path is None:
            return None
        try:
            with path.open("rb") as file:
                text = file.read(MAX_BYTES).decode()
        except (OSError, UnicodeDecodeError):
            return None
        due = self._due(text)
        self._kept[platform] = _Kept(text, due, late=due <= self._wall())
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

    def _path(self, platform: Platform) -> Path | None:
        named = fullmatch("[0-9A-F]{12}", platform.fmspc) and fullmatch("[a-z]{1,16}", platform.ca)
        if self._folder is None or not named:
            return None
        return self._folder / f"collateral-{platform.fmspc}-{platform.ca}.json"
