"""What other replicas publish of a feed, and when this one last heard from them."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

from twisted.internet.interfaces import IReactorTime

from autopilot.feeds.feed_store import (
    FeedStore,
    Publication,
    SharingStore,
    aged,
    publication_of,
)
from autopilot.feeds.polling import FeedStatus
from autopilot.feeds.received_feed import ReceivedFeed
from autopilot.feeds.shared_snapshot import FeedHead, Received

CLOCK_ERROR: Final = 1.0
"""Seconds by which two replicas may reckon the same fetch differently."""


class FeedNews:
    """Hands the publications of others to a `ReceivedFeed`, each once, and none that is older.

    ``status`` returns that of the data in use, wherever it comes from.
    """

    def __init__(
        self,
        clock: IReactorTime,
        store: SharingStore,
        link: FeedStore,
        received: ReceivedFeed,
        status: Callable[[], FeedStatus],
    ) -> None:
        self.heard_at = -inf
        """When this replica last heard of a publication, its own included."""
        self.any = False
        """Whether it has heard of one at all."""
        self._clock = clock
        self._store = store
        self._link = link
        self._received = received
        self._status = status
        self._latest: tuple[float, str] | None = None
        self._looked_at = -inf

    async def look(self) -> bool | None:
        """Take what the store has; return None if that is nothing, else as `take` does.

        :raises ValueError: as by `take`.
        """
        asked_at = self._clock.seconds()
        value = await self._link.latest()
        taken = None if value is None else await self.take(value, live=False)
        self._looked_at = asked_at
        return taken

    async def take(self, value: bytes, *, live: bool = True) -> bool:
        """Take a publication; return whether its data is newer than what this replica had.

        It is ``live`` if it arrived as a message.

        :raises ValueError: it cannot be read, or its body is not in the store any more.
        """
        publication = publication_of(value)
        published = publication.at, publication.by
        if published == self._latest:
            return False
        now, newer = self._clock.seconds(), False
        head = aged(publication.head, self._lain(publication, now, live))
        if publication.by != self._link.token and not self._is_older(head, now):
            body = None
            if head.age is not None and head.version != self._received.version:
                body = await self._link.body(publication)
                if body is None:
                    raise ValueError("the store has lost the body of a publication")
            self._received.take(Received(head, now, body))
            newer = True
        self._latest, self.heard_at, self.any = published, now, True
        return newer

    def _lain(self, publication: Publication, now: float, live: bool) -> float:
        """Return for how many seconds a publication has been in the store, by the store's clock.

        A step of that clock must not make the data of all replicas old: a message was sent after
        the last look into the store, and so was what the store has with a later time than before.
        With an earlier time it may be an old one, which a server has that took over from another.
        """
        lain = max(0.0, self._store.now() - publication.at)
        if live or (self._latest is not None and publication.at > self._latest[0]):
            return min(lain, now - self._looked_at)
        return lain

    def _is_older(self, head: FeedHead, now: float) -> bool:
        """Return whether a publication is of a fetch before that of the data in use."""
        fetched_at = self._status().fetched_at
        if fetched_at is None:
            return False
        return head.age is None or now - head.age < fetched_at - CLOCK_ERROR
