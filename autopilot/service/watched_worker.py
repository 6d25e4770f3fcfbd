"""A worker's process as its supervisor watches it: its state, and what its heartbeat says of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final, Protocol

from twisted.logger import Logger

HELD_AFTER: Final = 10.0
"""Seconds without a heartbeat after which a worker counts as held."""
KILLED_AFTER: Final = 60.0
"""Seconds without a heartbeat after which a worker is replaced."""

_log = Logger()


class Child(Protocol):
    """A worker's process, as the supervisor sees it."""

    @property
    def pid(self) -> int:
        """The number of the process."""

    @property
    def heartbeat(self) -> int:
        """A number that changes while the worker's reactor runs; 0 before it does."""

    def drain(self, in_haste: bool) -> None:
        """Pass no connection to the worker, and tell it to finish its requests and end."""

    def announce_drain(self) -> None:
        """Tell the worker that the router stops, so that it reports not to be ready."""

    def kill(self) -> None:
        """End the process at once."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker as the status page and the metrics show it."""

    number: int
    pid: int
    state: str
    """``starting``, ``ready``, ``held`` or ``draining``."""
    age: float
    """Seconds since the process was started."""


@dataclass(eq=False, slots=True)
class WatchedWorker:
    """A process, and what is known of it."""

    number: int
    child: Child
    began: float
    ready: bool = False
    draining: bool = False
    heartbeat: int = 0
    held: float = 0.0
    """Seconds since the heartbeat last changed, as far as this process was there to see."""
    ends_by: float = inf

    @property
    def state(self) -> str:
        """The state as `WorkerState` names it."""
        if self.heartbeat and self.held >= HELD_AFTER:
            return "held"
        if self.draining:
            return "draining"
        return "ready" if self.ready else "starting"

    def shown(self, now: float) -> WorkerState:
        """Return the process as it is shown."""
        return WorkerState(self.number, self.child.pid, self.state, now - self.began)

    def look(self, passed: float) -> bool:
        """Look at the heartbeat, and kill a process whose reactor is held for too long.

        ``passed``: seconds since the last look. Return whether it counts as held from now on.
        """
        heartbeat, before = self.child.heartbeat, self.held
        if heartbeat != self.heartbeat:
            began, self.heartbeat, self.held = self.heartbeat, heartbeat, 0.0
            if began and before >= HELD_AFTER:
                _log.info(
                    "Worker {number} (process {pid}) runs again, after {seconds:.0f} s",
                    number=self.number,
                    pid=self.child.pid,
                    seconds=before,
                )
            return False
        self.held += passed
        is_held = before < HELD_AFTER <= self.held and heartbeat != 0
        if is_held:
            _log.error(
                "Worker {number} (process {pid}) has been held for {seconds:.0f} s; it is replaced"
                " after {limit:.0f} s",
                number=self.number,
                pid=self.child.pid,
                seconds=self.held,
                limit=KILLED_AFTER,
            )
        if before < KILLED_AFTER <= self.held:
            _log.error(
                "Worker {number} (process {pid}) has been held for {seconds:.0f} s and is killed",
                number=self.number,
                pid=self.child.pid,
                seconds=self.held,
            )
            self.child.kill()
        return is_held
