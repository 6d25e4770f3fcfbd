"""Where records come from: standard input, a log file that is rotated, or a running router."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from autopilot.cli.console import CommandError
from autopilot.cli.watch_record import SeenRecord, record_of_status
from autopilot.http.fetch import Fetcher
from autopilot.http.fetch_error import FetchError

PERIOD: Final = 1.0
"""Seconds between two looks at a file or a router."""

_PIECE: Final = 65_536
_LONGEST_LINE: Final = 1 << 20


def is_piped(descriptor: int) -> bool:
    """Return whether something else writes to this descriptor, or it is a file."""
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


class Lines:
    """Divides bytes into lines; one that is too long is divided as well."""

    def __init__(self) -> None:
        self._begun = b""

    def feed(self, data: bytes) -> Iterator[str]:
        """Yield the lines that are whole."""
        *whole, self._begun = (self._begun + data).split(b"\n")
        if len(self._begun) > _LONGEST_LINE:
            whole.append(self._begun)
            self._begun = b""
        for line in whole:
            yield line.decode("utf-8", "replace").rstrip("\r")

    def close(self) -> Iterator[str]:
        """Yield the rest: the last line, if it has no end."""
        if self._begun:
            yield from self.feed(b"\n")


@implementer(IReadDescriptor)
class DescriptorReader:
    """Reads a descriptor until its end, without a thread that an interrupt would wait for."""

    def __init__(
        self, reactor: IReactorFDSet, descriptor: int, received: Callable[[bytes], None]
    ) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._received = received
        self.ended: Deferred[None] = Deferred(lambda _: reactor.removeReader(self))
        """Fires at the end of the input; fails with what ``received`` raises."""
        reactor.addReader(self)

    def fileno(self) -> int:
        """See `IFileDescriptor`."""
        return self._descriptor

    def logPrefix(self) -> str:  # noqa: N802  the name in the interface
        """See `ILoggingContext`."""
        return "watch"

    def doRead(self) -> None:
        """See `IReadDescriptor`."""
        try:
            data = os.read(self._descriptor, _PIECE)
            if data:
                self._received(data)
                return
        except (BlockingIOError, InterruptedError):
            return
        except Exception:  # noqa: BLE001  the output may be closed
            self._reactor.removeReader(self)
            self.ended.errback(Failure())
            return
        self.connectionLost(None)

    def connectionLost(self, reason: object) -> None:
        """See `IFileDescriptor`: the input is over."""
        self._reactor.removeReader(self)
        if not self.ended.called:
            self.ended.callback(None)


class FileTail:
    """The lines that are appended to a file, and to the one that takes its name later."""

    def __init__(self, path: Path) -> None:
        """Begin at the end of the file, which must exist. Raises `CommandError`."""
        self._path = path
        self._lines = Lines()
        try:
            self._file: BufferedReader = path.open("rb")
        except OSError as error:
            raise CommandError(f"--file: {error.strerror}") from None
        self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self) -> Iterator[str]:
        """Yield the lines that came since the last call."""
        yield from self._rest()
        if not self._is_replaced():
            return
        yield from self._rest()  # what came before it was replaced
        yield from self._lines.close()
        try:
            replacement = self._path.open("rb")
        except OSError:  # not there yet
            return
        self._file.close()
        self._file = replacement
        yield from self._rest()

    def _is_replaced(self) -> bool:
        mine = os.fstat(self._file.fileno())
        if self._file.tell() > mine.st_size:  # emptied in its place
            self._file.seek(0)
            return False
        try:
            there = self._path.stat()
        except OSError:
            return False
        return (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino)

    def _rest(self) -> Iterator[str]:
        while data := self._file.read(_PIECE):
            yield from self._lines.feed(data)


class RouterTail:
    """The records of a running router, from the last requests in its /status.json."""

    def __init__(self, fetcher: Fetcher, base: str) -> None:
        self._fetcher = fetcher
        self._base = base
        self._seen: frozenset[SeenRecord] = frozenset()
        self.missed = False
        """Whether more requests ended since the call before the last than a router keeps."""

    async def read(self) -> list[SeenRecord]:
        """Return the records since the last call, oldest first. Raises `CommandError`."""
        try:
            body = await self._fetcher.get(f"{self._base}/status.json")
        except FetchError as error:
            raise CommandError(
                f"the router's /status.json could not be read: {error}; --router takes the address"
                " of its /status page (ADMIN_LISTEN_ADDR), or pipe the log into this command"
            ) from None
        found = _recent(body)
        new = [each for each in reversed(found) if each not in self._seen]
        # Fewer or more of them, and none known: the router was started again.
        self.missed = len(new) == len(found) == len(self._seen) > 0
        self._seen = frozenset(found)
        return new


def _recent(body: bytes) -> list[SeenRecord]:
    """Return the last requests of a status, newest first. Raises `CommandError`."""
    recent: object = None
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        recent = msgspec.json.decode(body, type=dict[str, Any]).get("recent")
    if not isinstance(recent, list):
        raise CommandError("what listens there gave no status of a router")
    members = [record_of_status(each) for each in recent if isinstance(each, dict)]
    found = [each for each in members if each is not None]
    if members and not found:
        raise CommandError(
            "the router's /status.json has no whole records, as it is of an older version; pipe its"
            " log into this command"
        )
    return found


def pause(reactor: Any) -> Deferred[None]:
    """Return a Deferred that fires at the time of the next look."""
    return deferLater(reactor, PERIOD)
