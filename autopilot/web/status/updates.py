"""The updates of open status pages: one timer for all subscribers, and none without them.

Each subscriber receives the sections that changed since its last update. One whose connection is
congested is skipped, and later receives the then current sections: nothing is queued for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime
    from twisted.web.server import Request

PERIOD: Final = 1.0
"""Seconds between two updates."""

MAX_SUBSCRIBERS: Final = 16
STALL_TIMEOUT: Final = 60.0
"""Seconds after which the connection of a subscriber that reads nothing is aborted."""

KEEPALIVE: Final = 15.0
"""Seconds of silence after which a comment is sent, so that proxies keep the connection open."""


class LiveUpdates:
    """The subscribers of one router's page."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, sections: Callable[[], Mapping[str, str]]) -> None:
        """``sections`` renders the page's sections, keyed by id."""
        self._clock = clock
        self._sections = sections
        self._subscribers: set[Subscriber] = set()
        self._timer: LoopingCall | None = None
        self.closed = False

    def __len__(self) -> int:
        return len(self._subscribers)

    @property
    def full(self) -> bool:
        """Whether no further subscriber is accepted."""
        return self.closed or len(self._subscribers) >= MAX_SUBSCRIBERS

    def subscribe(self, request: Request) -> None:
        """Send updates on ``request`` until its client disconnects."""
        subscriber = Subscriber(request, self._clock.seconds())
        self._subscribers.add(subscriber)
        request.notifyFinish().addBoth(lambda _: self._left(subscriber))
        request.registerProducer(subscriber, True)
        subscriber.send(self._sections(), self._clock.seconds())
        if self._timer is None and self._subscribers:
            self._timer = LoopingCall(self.update)
            self._timer.clock = self._clock
            self._timer.start(PERIOD, now=False).addErrback(self._unexpected)

    def update(self) -> None:
        """Send each subscriber the sections that changed for it."""
        now = self._clock.seconds()
        waiting = [each for each in self._subscribers if not each.paused]
        sections = self._sections() if waiting else {}
        for subscriber in waiting:
            subscriber.send(sections, now)
        for subscriber in list(self._subscribers):
            if subscriber.paused and now - subscriber.sent_at > STALL_TIMEOUT:
                subscriber.abort()

    def close(self) -> None:
        """Send a last update, end all responses, and accept no further subscriber."""
        self.closed = True
        if self._subscribers:
            maybeDeferred(self.update).addErrback(self._unexpected)
        self._release()

    def _release(self) -> None:
        for subscriber in list(self._subscribers):
            subscriber.finish()
            self._left(subscriber)

    def _left(self, subscriber: Subscriber) -> None:
        subscriber.gone = True
        self._subscribers.discard(subscriber)
        if not self._subscribers and self._timer is not None:
            timer, self._timer = self._timer, None
            if timer.running:
                timer.stop()

    def _unexpected(self, failure: Any) -> None:
        """Log a bug in a section, and end all responses; the pages reconnect by themselves."""
        self._log.failure("Internal error in the status page; please report it", failure)
        self._release()


@implementer(IPushProducer)
class Subscriber:
    """One open page: a producer of events that writes nothing while it is paused."""

    def __init__(self, request: Request, now: float) -> None:
        self._request = request
        self._sent: dict[str, str] = {}
        self.paused = False
        self.gone = False
        self.sent_at = now

    def send(self, sections: Mapping[str, str], now: float) -> None:
        """Send the sections that differ from the page's, unless the connection is congested."""
        if self.paused or self.gone:
            return
        new = {name: str(text) for name, text in sections.items() if self._sent.get(name) != text}
        if new:
            self._sent.update(new)
            self.sent_at = now
            self._request.write(b"event: sections\ndata: " + msgspec.json.encode(new) + b"\n\n")
        elif now - self.sent_at >= KEEPALIVE:
            self.sent_at = now
            self._request.write(b":\n\n")

    def finish(self) -> None:
        """End the response."""
        if not self.gone:
            self.gone = True
            self._request.unregisterProducer()
            self._request.finish()

    def abort(self) -> None:
        """Abort the connection of a client that reads nothing."""
        channel: Any = self._request.channel
        if channel is not None:
            channel.forceAbortClient()

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        self.paused = True

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        self.paused = False

    def stopProducing(self) -> None:
        """See `IPushProducer`."""
        self.paused = True
