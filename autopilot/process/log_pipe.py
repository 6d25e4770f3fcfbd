"""Standard output as a log whose reader may stop reading: writing to it never blocks.

If the reader of a pipe stops reading, a write blocks as soon as the pipe is full, and with it the
reactor. The descriptor cannot be made non-blocking, because other processes share it. Each write
therefore first asks the kernel whether there is room. Lines without room wait in memory, up to a
limit; further lines are dropped and counted.
"""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Callable
from math import inf
from typing import Any, Protocol

from twisted.logger import Logger

PIECE = 4096
"""The bytes that a writable pipe accepts without blocking (PIPE_BUF of pipe(7))."""

_PATIENCE = 0.1
_SECONDS_BETWEEN_WARNINGS = 60.0


class Clock(Protocol):
    """The part of a reactor that this module uses."""

    def seconds(self) -> float:
        """See `IReactorTime`."""

    def callLater(self, delay: float, function: Callable[[], None], /) -> object:
        """See `IReactorTime`."""


class LogPipe:
    """Writes lines to a descriptor without waiting for its reader.

    ``room`` is the number of bytes that may wait in memory while the reader does not read. ``lost``
    counts the dropped lines. `write` raises `OSError` if the reader has closed the pipe.
    """

    def __init__(self, descriptor: int, clock: Clock, room: int = 1 << 20) -> None:
        self._descriptor = descriptor
        self._clock = clock
        self._room = room
        self._waiting = bytearray()
        self._scheduled = False
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self.lost = self._warned_of = 0
        self._warned_at = -inf
        self._log = Logger()

    def write(self, text: str, /) -> None:
        """Write one line, at once or later; drop it if too many bytes are waiting."""
        data = text.encode("utf-8", "backslashreplace")
        if self._waiting:
            self._write_waiting()
        if not self._waiting and len(data) <= PIECE and self._poll.poll(0):
            self._waiting += data[os.write(self._descriptor, data) :]
        elif len(self._waiting) + len(data) > self._room:
            self.lost += 1
        else:
            self._waiting += data
            self._write_waiting()

    def flush(self) -> None:
        """Do nothing: `write` has already written what can be written now."""

    def close(self) -> None:
        """Wait briefly for the reader to read the waiting bytes."""
        while self._waiting and self._poll.poll(_PATIENCE * 1000):
            self._write_piece()

    def _write_waiting(self) -> None:
        while self._waiting and self._poll.poll(0):
            self._write_piece()
        if self._waiting and not self._scheduled:
            self._scheduled = True
            self._clock.callLater(_PATIENCE, self._try_again)
        elif self.lost > self._warned_of and not self._waiting:
            self._warn()

    def _write_piece(self) -> None:
        try:
            written = os.write(self._descriptor, self._waiting[:PIECE])
        except OSError:  # the reader has closed the pipe
            self.lost += self._waiting.count(b"\n")
            self._waiting.clear()
            raise
        del self._waiting[:written]

    def _try_again(self) -> None:
        self._scheduled = False
        try:
            self._write_waiting()
        except OSError:  # counted; the next `write` raises
            return

    def _warn(self) -> None:
        now = self._clock.seconds()
        if now - self._warned_at < _SECONDS_BETWEEN_WARNINGS:
            return
        lost, self._warned_of, self._warned_at = self.lost - self._warned_of, self.lost, now
        self._log.warn("{lost} log lines were lost: standard output was not read", lost=lost)


def log_pipe(stream: Any, clock: Clock) -> LogPipe | None:
    """Return a pipe for a text stream, or None if writing to it cannot block, as with a file."""
    try:
        descriptor = stream.fileno()
        mode = os.fstat(descriptor).st_mode
    except (OSError, ValueError, AttributeError):  # not a stream of the operating system
        return None
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)):
        return None
    return LogPipe(descriptor, clock)
