"""Keeps open pages current: one timer for all who watch, none while nobody does.

Each watcher is sent the sections that have changed since it was last sent anything. One whose
connection is full is passed over, and gets what it then lacks when there is room again: nothing is
kept for it meanwhile.
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
"""Seconds between two looks at the facts."""

MOST_WATCHERS: Final = 16
PATIENCE: Final = 60.0
"""Seconds for which a watcher may take nothing; after them it is let go."""

SILENCE: Final = 15.0
"""Seconds after which a line of no meaning is sent, so that proxies keep the connection."""


class Live:
    """Everybody who watches one router's page, from `join` to `leave` or `close`."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, sections: Callable[[], Mapping[str, str]]) -> None:
        """``sections`` renders the page's sections by id."""
        self._clock = clock
        self._sections = sections
        self._watchers: set[Watcher] = set()
        self._timer: LoopingCall | None = None
        self.closed = False

    def __len__(self) -> int:
        return len(self._watchers)

    @property
    def full(self) -> bool:
        """Whether nobody else may watch."""
        return self.closed or len(self._watchers) >= MOST_WATCHERS

    def join(self, request: Request) -> None:
        """Keep ``request`` open and send it what changes; it is released when its client goes."""
        watcher = Watcher(request, self._clock.seconds())
        self._watchers.add(watcher)
        request.notifyFinish().addBoth(lambda _: self._left(watcher))
        request.registerProducer(watcher, True)
        watcher.send(self._sections(), self._clock.seconds())
        if self._timer is None and self._watchers:
            self._timer = LoopingCall(self.look)
            self._timer.clock = self._clock
            self._timer.start(PERIOD, now=False).addErrback(self._unexpected)

    def look(self) -> None:
        """Send everybody what is new to them."""
        now = self._clock.seconds()
        waiting = [each for each in self._watchers if not each.paused]
        sections = self._sections() if waiting else {}
        for watcher in waiting:
            watcher.send(sections, now)
        for watcher in list(self._watchers):
            if watcher.paused and now - watcher.sent_at > PATIENCE:
                watcher.abort()

    def close(self) -> None:
        """Let everybody go, with a last look, and take nobody any more."""
        self.closed = True
        if self._watchers:
            maybeDeferred(self.look).addErrback(self._unexpected)
        self._release()

    def _release(self) -> None:
        for watcher in list(self._watchers):
            watcher.finish()
            self._left(watcher)

    def _left(self, watcher: Watcher) -> None:
        watcher.gone = True
        self._watchers.discard(watcher)
        if not self._watchers and self._timer is not None:
            timer, self._timer = self._timer, None
            if timer.running:
                timer.stop()

    def _unexpected(self, failure: Any) -> None:
        """A bug in a page: those who watch are let go and may come again."""
        self._log.failure("the status page failed", failure)
        self._release()


@implementer(IPushProducer)
class Watcher:
    """One open page, as a producer of events that does not produce while it is paused."""

    def __init__(self, request: Request, now: float) -> None:
        self._request = request
        self._has: dict[str, str] = {}
        self.paused = False
        self.gone = False
        self.sent_at = now

    def send(self, sections: Mapping[str, str], now: float) -> None:
        """Send the sections that are not what the page has, if it takes anything now."""
        if self.paused or self.gone:
            return
        new = {name: str(text) for name, text in sections.items() if self._has.get(name) != text}
        if new:
            self._has.update(new)
            self.sent_at = now
            self._request.write(b"event: sections\ndata: " + msgspec.json.encode(new) + b"\n\n")
        elif now - self.sent_at >= SILENCE:
            self.sent_at = now
            self._request.write(b":\n\n")

    def finish(self) -> None:
        """End the response."""
        if not self.gone:
            self.gone = True
            self._request.unregisterProducer()
            self._request.finish()

    def abort(self) -> None:
        """Give the connection up: its client takes nothing."""
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
