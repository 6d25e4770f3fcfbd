"""The updates of open status pages: one timer for all subscribers, and none without them.

Each subscriber receives the sections that changed since its last update, from a rendering that all
share. One that has not read the last update is skipped, and later receives the then current
sections: nothing is queued for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from autopilot.web.shared_body import STALL_TIMEOUT, PacedWriter

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.web.server import Request

    from autopilot.web.status.page import Pages, StatusPage
    from autopilot.web.status.requests import Shown

PERIOD: Final = 1.0
"""Seconds between two updates."""

MAX_SUBSCRIBERS: Final = 16
KEEPALIVE: Final = 15.0
"""Seconds of silence after which a comment is sent, so that proxies keep the connection open."""


class LiveUpdates:
    """The subscribers of one router's page."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, pages: Pages) -> None:
        self._clock = clock
        self._pages = pages
        self._subscribers: set[Subscriber] = set()
        self._awaited: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None
        self.closed = False

    def __len__(self) -> int:
        return len(self._subscribers)

    @property
    def full(self) -> bool:
        """Whether no further subscriber is accepted."""
        return self.closed or len(self._subscribers) >= MAX_SUBSCRIBERS

    def subscribe(self, request: Request, shown: Shown) -> None:
        """Send updates of this view on ``request`` until its client disconnects."""
        now = self._clock.seconds()
        subscriber = Subscriber(request, shown, now)
        page = self._pages.page()
        self._subscribers.add(subscriber)
        request.notifyFinish().addBoth(lambda _: self._left(subscriber))
        if isinstance(page, Deferred):
            subscriber.awaited = page.addCallback(subscriber.send, now).addErrback(self._failed)
        else:
            subscriber.send(page, now)
        if self._timer is None and self._awaited is None and self._subscribers:
            self._schedule()

    def _schedule(self) -> None:
        # Counted from the end of an update: a `LoopingCall` keeps its schedule, and an update that
        # came late would then find the rendering still fresh at the next.
        self._timer = self._clock.callLater(PERIOD, self._tick)

    def _tick(self) -> None:
        """Send each subscriber the sections that changed for it, and do so again later."""
        self._timer = None
        try:
            if all(each.busy for each in self._subscribers):
                self._abort_stalled()
            elif isinstance(page := self._pages.page(), Deferred):
                self._awaited = page.addCallback(self._send).addErrback(self._failed)
                self._awaited.addCallback(self._sent)
                return
            else:
                self._send(page)
        except Exception:  # noqa: BLE001  a bug in a section; the pages reconnect by themselves
            self._failed(Failure())
        if self._subscribers:
            self._schedule()

    def _send(self, page: StatusPage) -> None:
        now = self._clock.seconds()
        for subscriber in tuple(self._subscribers):
            if not subscriber.busy:
                subscriber.send(page, now)
        self._abort_stalled()

    def _sent(self, _: object) -> None:
        self._awaited = None
        if self._subscribers:
            self._schedule()

    def _abort_stalled(self) -> None:
        for subscriber in tuple(self._subscribers):
            subscriber.abort_if_stalled(self._clock.seconds())

    def _failed(self, failure: Failure) -> None:
        """Release all subscribers, whose pages reconnect by themselves."""
        if not failure.check(CancelledError):
            self._log.failure("Internal error in the status page; please report it", failure)
            self._release()

    def close(self) -> None:
        """Send a last update, end all responses, and accept no further subscriber."""
        self.closed = True
        if self._subscribers:
            try:
                page = self._pages.last()
                if page is not None:
                    self._send(page)
            except Exception:  # noqa: BLE001  as above
                self._failed(Failure())
        self._release()

    def _release(self) -> None:
        for subscriber in list(self._subscribers):
            subscriber.finish()
            self._left(subscriber)

    def _left(self, subscriber: Subscriber) -> None:
        subscriber.leave()
        self._subscribers.discard(subscriber)
        if self._subscribers:
            return
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        awaited, self._awaited = self._awaited, None
        if awaited is not None:
            awaited.cancel()


class Subscriber:
    """One open page, to which nothing is sent before it has read what it got."""

    def __init__(self, request: Request, shown: Shown, now: float) -> None:
        self._request = request
        self._shown = shown
        self._writer = PacedWriter(request, lambda: None)
        self._sent: dict[str, int] = {}
        self._gone = False
        self.awaited: Deferred[None] | None = None
        """The first page, until it is there."""
        self._sent_at = now
        self._read = 0
        self._read_at = now

    @property
    def busy(self) -> bool:
        """Whether the client has not read the last update yet."""
        return self._writer.busy

    def send(self, page: StatusPage, now: float) -> None:
        """Send the sections that differ from the client's."""
        view = page.view(self._shown)
        # Hashes instead of texts, which would keep an old rendering for each slow client.
        hashes = {name: hash(text) for name, text in view.sections.items()}
        changed = [name for name, known in hashes.items() if self._sent.get(name) != known]
        if changed:
            self._sent, self._sent_at = hashes, now
            self._writer.write(view.event(changed))
            self._read, self._read_at = self._writer.read_bytes, now
        elif now - self._sent_at >= KEEPALIVE:
            self._sent_at = now
            self._writer.write([b":\n\n"])

    def abort_if_stalled(self, now: float) -> None:
        """Abort the connection of a client that has read nothing for too long."""
        before, self._read = self._read, self._writer.read_bytes
        if self._read > before or not self.busy:
            self._read_at = now
        elif now - self._read_at > STALL_TIMEOUT:
            self._writer.abort()

    def finish(self) -> None:
        """End the response."""
        if not self._gone:
            self._gone = True
            self._request.unregisterProducer()
            self._request.finish()

    def leave(self) -> None:
        """Stop writing: the response has ended."""
        self._gone = True
        self._writer.stopProducing()
        if self.awaited is not None:
            self.awaited.cancel()
