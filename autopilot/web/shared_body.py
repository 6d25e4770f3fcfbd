"""Writers of shared bytes that take a client's pace.

A body that many clients request is kept once. What a client has not read yet of it stays there
instead of in the buffer of the client's connection, which would hold a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IPushProducer
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from autopilot.http.client_socket import unsent_bytes
from autopilot.http.timers import Deadline

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime
    from twisted.web.server import Request

PIECE_BYTES: Final = 16_384
"""The most bytes written at once: a transport buffers one piece more than its own limit."""

STALL_TIMEOUT: Final = 60.0
"""Seconds after which the connection of a client that reads nothing is aborted."""


@implementer(IPushProducer)
class PacedWriter:
    """Writes parts of bodies to one client, a piece at a time, while its connection takes them."""

    def __init__(self, request: Request, written: Callable[[], None]) -> None:
        """Call ``written`` each time that all parts have been passed to the transport."""
        self._request = request
        self._written = written
        self._pieces: Iterator[bytes] | None = None
        self._written_bytes = 0
        self._channel: Any = request.channel
        # The transport signals congestion only once, perhaps during an earlier response.
        self.paused = bool(getattr(self._channel, "_waitingForTransport", False))
        request.registerProducer(self, True)

    @property
    def busy(self) -> bool:
        """Whether the connection is congested, or parts are still to be written."""
        return self.paused or self._pieces is not None

    @property
    def read_bytes(self) -> int:
        """The bytes written that the client's system has confirmed, as far as this is known."""
        return self._written_bytes - (unsent_bytes(self._channel.transport) or 0)

    def abort(self) -> None:
        """Abort the connection."""
        self._channel.forceAbortClient()

    def write(self, parts: Iterable[bytes]) -> None:
        """Begin to write these parts; the writer must not be busy with others."""
        self._pieces = _pieces(parts)
        self._write()

    def _write(self) -> None:
        while self._pieces is not None and not self.paused:
            piece = next(self._pieces, None)
            if piece is None:
                self._pieces = None
                self._written()
            else:
                self._written_bytes += len(piece)
                self._request.write(piece)

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        self.paused = True

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        self.paused = False
        self._write()

    def stopProducing(self) -> None:
        """See `IPushProducer`: the client has disconnected."""
        self.paused, self._pieces = True, None


def _pieces(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Divide long parts, and join short ones: each piece is a write, and perhaps a chunk."""
    short: list[bytes] = []
    room = PIECE_BYTES
    for part in parts:
        start = 0
        while len(part) - start >= room:
            short.append(part[start : start + room])
            yield b"".join(short)
            start += room
            short, room = [], PIECE_BYTES
        if start < len(part):
            short.append(part[start:])
            room -= len(part) - start
    if short:
        yield b"".join(short)


class SharedBody(Resource):
    """Responds with a body of these parts, whose fields, length included, are already set."""

    isLeaf = True

    def __init__(self, clock: IReactorTime, parts: Sequence[bytes]) -> None:
        super().__init__()
        self._clock = clock
        self._parts = parts

    def render(self, request: Request) -> int | bytes:
        """Begin to write the body."""
        if request.method == b"HEAD":
            return b""
        _Transfer(self._clock, request, self._parts)
        return NOT_DONE_YET


class _Transfer:
    """The transfer of one body, aborted if its client reads nothing for a minute."""

    def __init__(self, clock: IReactorTime, request: Request, parts: Sequence[bytes]) -> None:
        self._request = request
        self._writer = PacedWriter(request, self._complete)
        self._deadline = Deadline(clock, self._look)
        self._deadline.set(STALL_TIMEOUT)
        self._read = 0
        request.notifyFinish().addBoth(self._end)
        self._writer.write(parts)

    def _complete(self) -> None:
        self._request.unregisterProducer()
        self._request.finish()

    def _end(self, _: object) -> None:
        self._deadline.close()
        self._writer.stopProducing()

    def _look(self) -> None:
        """Abort the connection if the client has read nothing since the last look."""
        before, self._read = self._read, self._writer.read_bytes
        if self._read > before:
            self._deadline.set(STALL_TIMEOUT)
        else:
            self._writer.abort()
