"""The supervision of the workers: who is started, replaced, told to end, or killed, and when.

It knows neither processes nor sockets, only a clock and an interface to each worker, so that tests
can play every course of events on a clock of their own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from autopilot.service.watched_worker import Child, WatchedWorker, WorkerState

READY_WITHIN: Final = 120.0
"""Seconds after which a worker that does not serve yet is killed."""
LONGEST_PAUSE: Final = 30.0
"""Seconds before a worker is started again that fails each time."""
SETTLED_AFTER: Final = 60.0
"""Seconds after which a worker that ends counts as one that worked."""
DRAIN_MARGIN: Final = 15.0
"""Seconds beyond the drain time after which a worker that should end is killed."""

_TICK = 1.0


@dataclass(slots=True)
class _Place:
    """One of the router's workers, through all processes that fill its place."""

    current: WatchedWorker | None = None
    successor: WatchedWorker | None = None
    failures: int = 0
    """How often in a row its process ended soon after its start."""
    restart: IDelayedCall | None = field(default=None)


class Supervisor:
    """Keeps ``count`` workers running from `start` to `stop`.

    ``launch`` starts the process of a worker, by its number from 0; it may raise `OSError`. The
    process is then reported by `ready` and `ended`. ``drain_seconds`` returns how long a worker may
    take to end. ``became_ready`` is called when the first worker is ready.
    """

    _log = Logger()

    def __init__(
        self,
        clock: Any,
        count: int,
        launch: Callable[[int], Child],
        drain_seconds: Callable[[], float],
        became_ready: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._launch = launch
        self._drain_seconds = drain_seconds
        self._became_ready: Callable[[], None] | None = became_ready
        self._places = [_Place() for _ in range(count)]
        self._watched: dict[Child, WatchedWorker] = {}
        self._to_roll: deque[int] = deque()
        self._roll_again = False
        self._rolling = False
        self._stopped: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None
        self._ticked = 0.0
        self.deaths = 0
        """How many workers have ended unexpectedly."""
        self.holds = 0
        """How many times a worker's reactor was held for `HELD_AFTER` seconds."""
        self.rolls = 0
        """How many rolling restarts have been completed."""

    def start(self) -> None:
        """Start all workers, and watch their heartbeats."""
        self._ticked = self._clock.seconds()
        self._timer = self._clock.callLater(_TICK, self._tick)
        for number in range(len(self._places)):
            self._start(number)

    @property
    def count(self) -> int:
        """The number of workers that there should be."""
        return len(self._places)

    @property
    def serving(self) -> int:
        """The number of workers that are ready and not held."""
        return sum(each.state == "ready" for each in self._watched.values())

    def states(self) -> tuple[WorkerState, ...]:
        """Return all processes: those that serve by their numbers, and those that drain."""
        now = self._clock.seconds()
        return tuple(
            each.shown(now)
            for each in sorted(
                self._watched.values(), key=lambda each: (each.number, each.draining, each.began)
            )
        )

    def ready(self, child: Child) -> None:
        """Note that a worker serves connections; one that it succeeds may end."""
        watched = self._watched.get(child)
        if watched is None or watched.ready:
            return
        watched.ready = True
        if not watched.draining:
            watched.ends_by = inf
        self._log.info(
            "Worker {number} (process {pid}) serves", number=watched.number, pid=child.pid
        )
        if self._became_ready is not None:
            first, self._became_ready = self._became_ready, None
            first()
        place = self._places[watched.number]
        if place.successor is watched:
            before, place.current, place.successor = place.current, watched, None
            if before is not None:
                self._drain(before, in_haste=False)
            self._roll_next()

    def ended(self, child: Child, how: str) -> None:
        """Note that a worker's process has ended, and ``how``; replace it if it should run."""
        watched = self._watched.pop(child, None)
        if watched is None:
            return
        place = self._places[watched.number]
        if watched.draining:
            self._log.info(
                "Worker {number} (process {pid}) has drained and {how}",
                number=watched.number,
                pid=child.pid,
                how=how,
            )
        elif place.successor is watched:
            place.successor = None
            self._give_up_rolling(watched, how)
            if place.current is None:
                self._replace(watched, how)
        else:
            place.current = None
            self._replace(watched, how)
        self._finish_stop()
        if self._roll_again and not self._draining:
            self.roll()

    def roll(self) -> None:
        """Replace every worker by a new process, one after the other, each new one first."""
        if self._stopped is not None:
            return
        if self._rolling or self._draining:
            if not self._roll_again:
                self._log.info("Workers are being restarted; they are restarted again after that")
            self._roll_again = True
            return
        self._roll_again = False
        self._rolling = True
        self._log.info("Restarting {count} workers one after the other", count=self.count)
        self._to_roll.extend(range(self.count))
        self._roll_next()

    def announce_drain(self) -> None:
        """Tell every worker that the router stops; start none any more, but go on serving."""
        if self._stopped is not None:
            return
        self._stopped = Deferred()
        self._end_roll()
        for place in self._places:
            if place.restart is not None:
                place.restart.cancel()
                place.restart = None
        for each in tuple(self._watched.values()):
            each.child.announce_drain()

    def stop(self, *, in_haste: bool = False) -> Deferred[None]:
        """Tell every worker to end; the Deferred fires when all have."""
        self.announce_drain()
        assert self._stopped is not None
        stopped = self._stopped
        for each in tuple(self._watched.values()):
            self._drain(each, in_haste=in_haste)
        self._finish_stop()
        return stopped

    @property
    def _draining(self) -> bool:
        return any(each.draining for each in self._watched.values())

    def _start(self, number: int) -> None:
        place = self._places[number]
        place.restart = None
        place.current = self._launched(number)
        if place.current is None:
            self._schedule(number)

    def _launched(self, number: int) -> WatchedWorker | None:
        """Start a process, and return it; log why if there is none."""
        try:
            child = self._launch(number)
        except OSError as error:
            self._log.error(
                "Worker {number} could not be started: {problem}",
                number=number,
                problem=error.strerror or str(error),
            )
            return None
        now = self._clock.seconds()
        watched = WatchedWorker(number, child, now, ends_by=now + READY_WITHIN)
        self._watched[child] = watched
        return watched

    def _replace(self, watched: WatchedWorker, how: str) -> None:
        """Start another process for one that has ended, later and later if that goes on."""
        if self._stopped is not None:
            return
        self.deaths += 1
        place = self._places[watched.number]
        if self._clock.seconds() - watched.began >= SETTLED_AFTER:
            place.failures = 0
        if place.successor is not None:  # it fills the place as soon as it is ready
            self._log_death(watched, how, "its successor is starting")
            return
        pause = self._schedule(watched.number)
        self._log_death(
            watched, how, f"another starts in {pause:g} s" if pause else "another starts"
        )

    def _log_death(self, watched: WatchedWorker, how: str, then: str) -> None:
        self._log.error(
            "Worker {number} (process {pid}) {how}{cut}; {then}",
            number=watched.number,
            pid=watched.child.pid,
            how=how,
            cut="; its connections are cut" if watched.ready else "",
            then=then,
        )

    def _schedule(self, number: int) -> float:
        """Start a worker after a pause, and return that pause."""
        place = self._places[number]
        pause = min(LONGEST_PAUSE, 2.0 ** (place.failures - 1)) if place.failures else 0.0
        place.failures += 1
        place.restart = self._clock.callLater(pause, self._start, number)
        return pause

    def _roll_next(self) -> None:
        """Start the next successor; what is not running now is new when it starts."""
        while self._rolling and self._to_roll:
            number = self._to_roll.popleft()
            place = self._places[number]
            if place.current is None:
                continue
            place.successor = self._launched(number)
            if place.successor is not None:
                return
            self._end_roll()
            self._log.error("The workers are not restarted; those that run go on")
            return
        if self._rolling:
            self._end_roll()
            self.rolls += 1
            self._log.info("All workers have been restarted")

    def _give_up_rolling(self, watched: WatchedWorker, how: str) -> None:
        if self._stopped is not None:
            return
        self._end_roll()
        self._log.error(
            "The workers are not restarted, because the new process of worker {number} {how}; those"
            " that run go on",
            number=watched.number,
            how=how,
        )

    def _end_roll(self) -> None:
        self._rolling = False
        self._to_roll.clear()

    def _drain(self, watched: WatchedWorker, *, in_haste: bool) -> None:
        if not watched.draining or in_haste:
            watched.draining = True
            seconds = 0.0 if in_haste else self._drain_seconds()
            watched.ends_by = self._clock.seconds() + seconds + DRAIN_MARGIN
            watched.child.drain(in_haste)

    def _finish_stop(self) -> None:
        if self._stopped is None or self._watched:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._stopped.called:
            self._stopped.callback(None)

    def _tick(self) -> None:
        """Look at every heartbeat.

        A pause of this process itself says nothing about the workers, so that it counts as one
        period.
        """
        self._timer = self._clock.callLater(_TICK, self._tick)
        now = self._clock.seconds()
        passed = min(now - self._ticked, 2 * _TICK)
        self._ticked = now
        for each in tuple(self._watched.values()):
            self.holds += each.look(passed)
            if now >= each.ends_by:
                each.ends_by = inf
                self._log.error(
                    "Worker {number} (process {pid}) did not {what} in its time and is killed",
                    number=each.number,
                    pid=each.child.pid,
                    what="end" if each.draining else "begin to serve",
                )
                each.child.kill()
