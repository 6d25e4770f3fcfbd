"""The updates of open status pages: one timer for all subscribers, and none without them.

Each subscriber receives the sections that changed since its last update, from a rendering that all
share. One that has not read the last update is skipped, and later receives the then current
sections: nothing is queued for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.logger import Logger
from twisted.python.failure import Failure

from autopilot.web.shared_body import STALL_TIMEOUT, PacedWriter

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.web.server import Request

    from autopilot.web.shared_rendering import SharedRendering
    from autopilot.web.status.page import StatusPage
    from autopilot.web.status.requests import Shown

PERIOD: Final = 1.0
"""Seconds between two updates."""

MAX_SUBSCRIBERS: Final = 16
KEEPALIVE: Final = 15.0
"""Seconds of silence after which a comment is sent, so that proxies keep the connection open."""


class LiveUpdates:
    """The subscribers of one router's page."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, page: SharedRendering[StatusPage]) -> None:
        self._clock = clock
        self._page = page
        self._subscribers: set[Subscriber] = set()
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
        page, now = self._page(), self._clock.seconds()
        subscriber = Subscriber(request, shown, now)
        self._subscribers.add(subscriber)
        request.notifyFinish().addBoth(lambda _: self._left(subscriber))
        subscriber.send(page, now)
        if self._timer is None and self._subscribers:
            self._schedule()

    def _schedule(self) -> None:
        # Counted from the end of an update: a `LoopingCall` keeps its schedule, and an update that
        # came late would then find the rendering still fresh at the next.
        self._timer = self._clock.callLater(PERIOD, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._update()
        if self._subscribers:
            self._schedule()

    def _update(self) -> None:
        """Send each subscriber the sections that changed for it."""
        try:
            now = self._clock.seconds()
            waiting = [each for each in self._subscribers if not each.busy]
            if waiting:
                page = self._page()
                for subscriber in waiting:
                    subscriber.send(page, now)
            for subscriber in list(self._subscribers):
                subscriber.abort_if_stalled(now)
        except Exception:  # noqa: BLE001  a bug in a section; the pages reconnect by themselves
            self._log.failure("Internal error in the status page; please report it", Failure())
            self._release()

    def close(self) -> None:
        """Send a last update, end all responses, and accept no further subscriber."""
        self.closed = True
        if self._subscribers:
            self._page.expire()
            self._update()
        self._release()

    def _release(self) -> None:
        for subscriber in list(self._subscribers):
            subscriber.finish()
            self._left(subscriber)

    def _left(self, subscriber: Subscriber) -> None:
        subscriber.leave()
        self._subscribers.discard(subscriber)
        if not self._subscribers and self._timer is not None:
            timer, self._timer = self._timer, None
            timer.cancel()


class Subscriber:
    """One open page, to which nothing is sent before it has read what it got."""

    def __init__(self, request: Request, shown: Shown, now: float) -> None:
        self._request = request
        self._shown = shown
        self._writer = PacedWriter(request, lambda: None)
        self._sent: dict[str, int] = {}
        self._gone = False
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
