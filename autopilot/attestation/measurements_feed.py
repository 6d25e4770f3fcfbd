"""The platform's measurements as a feed: fetched without a key, the last good list kept for a day.

Nothing signs the list. What is kept in a directory is trusted as much as that directory is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec import DecodeError, Raw, Struct, ValidationError
from msgspec.json import Decoder, encode
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from autopilot.attestation.bug_log import log_bug
from autopilot.attestation.measurements import parse_published
from autopilot.http.fetch import FetchedResponse, cancel
from autopilot.http.fetch_error import FetchError
from autopilot.measurement import Measurement, MeasurementsError

LOOK_SECONDS: Final = 15.0
"""How often it is looked whether a fetch is due; also the time after a failure."""
REFRESH_SECONDS: Final = 600.0
HURRY_SECONDS: Final = 60.0
"""The age from which the list is fetched again for registers that it lacks."""
MAX_AGE_SECONDS: Final = 86_400.0
"""The age from which the list vouches for nothing: the platform may have withdrawn rows."""
MAX_BYTES: Final = 8 * 1024 * 1024


class _File(Struct):
    fetched: float
    rows: Raw


_file = Decoder(_File)


class MeasurementsFeed:
    """Keeps the list current from `start` to `stop`. ``wall`` is the time of day."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        fetch: Callable[[], Deferred[FetchedResponse]],
        wall: Callable[[], float],
        folder: Path | None = None,
    ) -> None:
        self._clock = clock
        self._fetch = fetch
        self._wall = wall
        self._path = None if folder is None else folder / "measurements.json"
        self._rows: tuple[Measurement, ...] = ()
        self._fetched_at: float | None = None
        self._due = 0.0
        self._tried = False
        self._fails = False
        self._waiting: list[Deferred[bool]] = []
        self._in_flight: Deferred[None] | None = None
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock

    @property
    def age(self) -> float | None:
        """Seconds since the list was fetched, None if it never was."""
        return None if self._fetched_at is None else self._clock.seconds() - self._fetched_at

    @property
    def tried(self) -> bool:
        """Whether a fetch has ended."""
        return self._tried

    def rows(self) -> tuple[Measurement, ...]:
        """Return the list, which is empty if it is too old."""
        age = self.age
        return self._rows if age is not None and age < MAX_AGE_SECONDS else ()

    def ready(self) -> Deferred[bool]:
        """Wait for the first fetch, unless there is a list; return whether there is one."""
        if self.rows() or self._tried or not self._loop.running:
            return succeed(bool(self.rows()))
        waiting: Deferred[bool] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def hurry(self) -> None:
        """Fetch the list soon, unless it was fetched a moment ago."""
        age = self.age
        if age is None or age >= HURRY_SECONDS:
            self._due = 0.0

    def start(self) -> None:
        """Begin to fetch, after what was kept has been read. Does nothing if it has begun."""
        if self._loop.running:
            return
        self._read()
        self._due = 0.0
        self._loop.start(LOOK_SECONDS)

    def stop(self) -> None:
        """End the fetch under way, and wait for no list."""
        if self._loop.running:
            self._loop.stop()
        cancel(self._in_flight)
        self._release()

    def _look(self) -> Deferred[None] | None:
        if self._clock.seconds() < self._due:
            return None
        self._in_flight = maybeDeferred(self._fetch).addCallback(self._take).addErrback(self._miss)
        return self._in_flight

    def _take(self, answer: FetchedResponse) -> None:
        if answer.status != 200:
            raise MeasurementsError(f"status {answer.status}")
        self._rows = parse_published(answer.body)
        now = self._clock.seconds()
        self._fetched_at = now
        self._due = now + REFRESH_SECONDS
        self._note(None)
        self._write(answer.body)

    def _miss(self, failure: Failure) -> None:
        """Keep the former list. Never fails, as that would end the loop."""
        if failure.check(CancelledError):
            return
        if failure.check(FetchError, MeasurementsError):
            self._note(failure.getErrorMessage())
        else:
            log_bug(self._log, "measurements were read", failure)
            self._note("internal error")

    def _note(self, problem: str | None) -> None:
        """Log that the list cannot be fetched, and that it can again, once each."""
        if problem is not None and not self._fails:
            self._log.warn(
                "Private mode: the platform's measurements could not be fetched ({problem});"
                " retrying",
                problem=problem,
            )
        elif problem is None and self._fails:
            self._log.info("Private mode: the platform's measurements were fetched again")
        self._fails = problem is not None
        self._tried = True
        self._release()

    def _release(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(bool(self.rows()))

    def _read(self) -> None:
        """Take the list of a former run, unless its age is unknown or too great."""
        if self._path is None or self._fetched_at is not None:
            return
        try:
            with self._path.open("rb") as file:
                kept = _file.decode(file.read(MAX_BYTES))
            rows = parse_published(bytes(kept.rows))
        except (OSError, DecodeError, ValidationError, MeasurementsError, RecursionError):
            return
        age = self._wall() - kept.fetched
        if 0 <= age < MAX_AGE_SECONDS:
            self._rows, self._fetched_at = rows, self._clock.seconds() - age

    def _write(self, body: bytes) -> None:
        """Keep the list in the directory; without it, a restart waits for the platform."""
        if self._path is None:
            return
        try:
            scratch = self._path.with_suffix(".new")
            scratch.write_bytes(encode(_File(self._wall(), Raw(body))))
            os.replace(scratch, self._path)
        except OSError:
            return
