"""The sending of both feeds to processes that do not fetch them: a parent's workers.

Every reader has its own place in what it is sent, so that a slow one delays no other reader, and
skips what has been replaced in the meantime. Bodies exist once, however many readers there are: the
next piece is copied only when the reader's socket has taken the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IPullProducer, IReactorTime
from zope.interface import implementer

from autopilot.feeds.control_plane import ControlPlane
from autopilot.feeds.polling import FEEDS
from autopilot.feeds.shared_snapshot import pieces


class FeedPublisher:
    """Sends a control plane's feeds to each reader: at once when it joins, then each refresh."""

    def __init__(self, clock: IReactorTime, plane: ControlPlane) -> None:
        """Take a `plane` that keeps bodies."""
        self._clock = clock
        self._plane = plane
        self._readers: dict[FeedReader, None] = {}
        self._noting: IDelayedCall | None = None

    @property
    def fetched(self) -> tuple[str, ...]:
        """The feeds that have been fetched."""
        return tuple(each.name for each in self._plane.statuses if each.fetched_at is not None)

    def join(self, send: Callable[[bytes], None], transport: Any) -> FeedReader:
        """Send both feeds to a reader from now on, until it is closed.

        `send` writes one piece to `transport`, which must not have a producer of its own.
        """
        reader = FeedReader(self._plane, send, transport, self._readers.pop)
        self._readers[reader] = None
        reader.note()
        return reader

    def changed(self) -> None:
        """Send what has changed since the last call. It is to be called after each refresh."""
        # In a turn of its own, because when the next refresh is due is known after this one.
        if self._noting is None and self._readers:
            self._noting = self._clock.callLater(0, self._note)

    def stop(self) -> None:
        """Send nothing any more."""
        noting, self._noting = self._noting, None
        if noting is not None:
            noting.cancel()
        for reader in tuple(self._readers):
            reader.close()

    def _note(self) -> None:
        self._noting = None
        for reader in tuple(self._readers):
            reader.note()


@implementer(IPullProducer)
class FeedReader:
    """One reader: what it has, and what it is still to be sent."""

    def __init__(
        self,
        plane: ControlPlane,
        send: Callable[[bytes], None],
        transport: Any,
        closed: Callable[[FeedReader], None],
    ) -> None:
        self._plane = plane
        self._send = send
        self._transport = transport
        self._closed: Callable[[FeedReader], None] | None = closed
        self._has: dict[str, str] = {}
        self._pending: list[str] = []
        self._sending: Iterator[bytes] | None = None
        self._registered = False

    def note(self) -> None:
        """Send both feeds again, the bodies if the reader does not have them.

        The other feed's head goes along because it corrects an age that a late turn of the reader
        made too small.
        """
        self._pending = list(FEEDS)
        if not self._registered and self._closed is not None:
            self._registered = True
            self._transport.registerProducer(self, False)  # which calls `resumeProducing`

    def close(self) -> None:
        """Send nothing any more."""
        closed, self._closed = self._closed, None
        if closed is None:
            return
        self._sending, self._pending = None, []
        if self._registered:
            self._registered = False
            self._transport.unregisterProducer()
        closed(self)

    def resumeProducing(self) -> None:
        """Send the next piece: the transport has nothing left to write. See `IPullProducer`."""
        while self._closed is not None:
            piece = next(self._sending, None) if self._sending is not None else None
            if piece is not None:
                self._send(piece)
                return
            if not self._pending:
                self._sending = None
                self._registered = False
                self._transport.unregisterProducer()
                return
            self._sending = self._pieces_of(self._pending.pop(0))

    def stopProducing(self) -> None:
        """Send nothing any more: the connection is lost. See `IPullProducer`."""
        self._registered = False
        self.close()

    def _pieces_of(self, feed: str) -> Iterator[bytes]:
        head, body = self._plane.publication(feed)
        if head.version == self._has.get(feed, ""):
            body = None
        self._has[feed] = head.version
        return pieces(head, body)
