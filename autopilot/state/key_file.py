"""The file of KEYS_STATE_FILE: what the keys have spent, so that a restart gives nothing back.

It is replaced as a whole, so that it is whole whenever the router ends. What was spent in the last
second before a crash may be missing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec import DecodeError, Struct, json
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from autopilot.observability.log_rate_limit import LogRateLimit
from autopilot.routing.key_policy import Spent

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

    from autopilot.state.budgets import KeyBudgets, Used

BETWEEN_WRITES: Final = 1.0
FORMAT: Final = 1
_MODE: Final = 0o600
_MOST_BYTES: Final = 64 << 20


class Stored(Struct, frozen=True):
    """The content of the file."""

    format: int
    spent: dict[str, Spent]


def read_state(path: str) -> dict[str, Spent]:
    """Return what the file says; nothing if there is none.

    :raises ValueError: it is not what the router writes, or cannot be read.
    """
    try:
        with open(path, "rb") as file:
            stored = json.decode(file.read(_MOST_BYTES), type=Stored)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ValueError(f"{path!a}: {error.strerror}") from None
    except (DecodeError, RecursionError):
        raise ValueError(f"{path!a}: not what the router writes") from None
    if stored.format != FORMAT:
        raise ValueError(f"{path!a}: written by another version of the router")
    return stored.spent


def write_state(path: str, spent: Mapping[str, Spent]) -> None:
    """Replace the file. Raises `OSError`; the former file is then still there.

    A link stays one: the file that it leads to is replaced, such as one on another disk.
    """
    data = json.encode(Stored(FORMAT, dict(spent)))
    path = os.path.realpath(path)
    beside = f"{path}.{os.getpid()}.new"
    try:
        # What a crash has left, or another user has put there, is not written to.
        with suppress(FileNotFoundError):
            os.unlink(beside)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, _MODE)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(beside, path)
    except OSError:
        with suppress(OSError):
            os.unlink(beside)
        raise


class KeyFile:
    """Writes what the keys have spent, at most once a second; see `Keeper`.

    ``in_thread`` runs a function where it may block.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        path: str,
        budgets: KeyBudgets,
        in_thread: Callable[..., Deferred[None]],
    ) -> None:
        self._clock = clock
        self._path = path
        self._budgets = budgets
        self._in_thread = in_thread
        self._limit = LogRateLimit()
        self._due: IDelayedCall | None = None
        self._writing = self._changed = self._stopped = False
        self._waiters: list[Deferred[None]] = []

    def load(self) -> None:
        """Take over what the file says. A file that cannot be read is kept aside, and logged."""
        try:
            self._budgets.restore(read_state(self._path))
        except ValueError as error:
            with suppress(OSError):
                path = os.path.realpath(self._path)
                os.replace(path, f"{path}.unreadable")
            self._log.error(
                "KEYS_STATE_FILE: {problem}; the budgets begin anew, and the file is kept as"
                " .unreadable",
                problem=str(error),
            )

    def add(self, used: Sequence[Used]) -> None:
        """See `Keeper`."""
        self._changed = True
        if self._due is None and not self._writing and not self._stopped:
            self._due = self._clock.callLater(BETWEEN_WRITES, self._write)

    def stop(self) -> Deferred[None]:
        """Write what has not been written; the Deferred fires once that is done."""
        self._stopped = True
        due, self._due = self._due, None
        if due is not None:
            due.cancel()
        return self._after().addCallback(lambda _: self._last())

    def _last(self) -> Deferred[None]:
        if self._changed:
            self._write()
        return self._after()

    def _after(self) -> Deferred[None]:
        """Return a Deferred that fires when no write is under way."""
        if not self._writing:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        return waiter

    def _write(self) -> None:
        self._due = None
        self._changed, self._writing = False, True
        writing = self._in_thread(write_state, self._path, self._budgets.spent())
        writing.addErrback(self._failed).addCallback(self._written)

    def _failed(self, failure: Failure) -> None:
        self._changed = True
        problem = getattr(failure.value, "strerror", None) or type(failure.value).__name__
        if self._limit.admit(problem, self._clock.seconds()) is not None:
            self._log.error(
                "KEYS_STATE_FILE: {path} could not be written: {problem}. What the keys spend is"
                " not kept; make room, or the folder writable",
                path=ascii(self._path),
                problem=problem,
            )

    def _written(self, _: None) -> None:
        self._writing = False
        waiters, self._waiters = self._waiters, []
        if self._changed and not self._stopped:
            self._due = self._clock.callLater(BETWEEN_WRITES, self._write)
        for waiter in waiters:
            waiter.callback(None)
