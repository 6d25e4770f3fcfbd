"""The player, which executes the steps of one response on a Twisted request.

It is the only code of the stub that uses a connection: it writes while the transport has room,
waits on the injected clock, stops when the client disconnects, and reports the end once.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Protocol, cast

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime, ITCPTransport
from twisted.web.http import HTTPChannel
from twisted.web.server import Request
from zope.interface import implementer

from stub_backend.steps import Abort, Close, End, Hang, Head, Raw, Send, Step, Steps, Wait

# Twisted's own table lacks some, 429 among them.
_PHRASES = {each.value: each.phrase.encode() for each in HTTPStatus}
# Steps after which a long response yields to other connections.
STEPS_PER_TURN = 32


class Watcher(Protocol):
    """What observes a response."""

    def headed(self, status: int) -> None:
        """Take the status, before the head is sent."""

    def sent(self, data: bytes) -> None:
        """Take bytes of the body, as they are sent."""

    def ended(self, end: End) -> None:
        """Take the end, once."""


@implementer(IPushProducer)
class Player:
    """One response in progress."""

    def __init__(
        self,
        request: Request,
        steps: Steps,
        clock: IReactorTime,
        watcher: Watcher,
    ) -> None:
        self._request = request
        self._steps = steps
        self._clock = clock
        self._watcher = watcher
        self._timer: IDelayedCall | None = None
        self._paused = False
        self._playing = False
        self._headed = False
        self._hung = False
        self._over = False

    def start(self) -> None:
        """Start; nothing may have been written to the request yet."""
        self._request.notifyFinish().addErrback(lambda _reason: self._ended(End.CANCELLED))
        self._request.registerProducer(self, True)
        self._play()

    def pauseProducing(self) -> None:
        """Pause before the next step, because the transport's buffer is full."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Resume, unless a wait is in progress."""
        self._paused = False
        if self._timer is None:
            self._play()

    def stopProducing(self) -> None:
        """Stop, because the connection is lost."""
        self._ended(End.CANCELLED)

    def _play(self) -> None:
        if self._playing:
            return
        self._playing = True
        try:
            for _ in range(STEPS_PER_TURN):
                if self._paused or self._hung or self._over or self._timer is not None:
                    return
                step = next(self._steps, None)
                if step is None:
                    self._finish()
                else:
                    self._carry_out(step)
            self._take_turns()
        finally:
            self._playing = False

    def _take_turns(self) -> None:
        if not (self._over or self._hung or self._paused or self._timer is not None):
            self._wait(0.0)

    def _carry_out(self, step: Step) -> None:
        match step:
            case Head():
                self._send_head(step)
            case Send(data):
                self._watcher.sent(data)
                self._request.write(data)
            case Raw(data):
                self._watcher.sent(data)
                self._transport.write(data)
            case Wait(seconds):
                self._wait(seconds)
            case Close():
                self._ended(End.BROKEN)
                self._channel.loseConnection()
            case Abort():
                self._ended(End.BROKEN)
                self._transport.abortConnection()
            case Hang():
                self._steps = iter(())
                self._hung = True

    def _send_head(self, head: Head) -> None:
        self._headed = True
        if ("connection", "close") in head.headers:
            self._channel.persistent = False
        self._watcher.headed(head.status)
        self._request.setResponseCode(head.status, _PHRASES.get(head.status))
        for name, value in head.headers:
            self._request.responseHeaders.addRawHeader(name.encode(), value.encode())
        self._request.write(b"")

    def _wait(self, seconds: float) -> None:
        self._timer = self._clock.callLater(seconds, self._waited)

    def _waited(self) -> None:
        self._timer = None
        self._play()

    def _finish(self) -> None:
        self._ended(End.FINISHED if self._headed else End.BROKEN)
        if self._headed:
            self._request.unregisterProducer()
            self._request.finish()
        else:
            self._channel.loseConnection()

    def _ended(self, end: End) -> None:
        if self._over:
            return
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._watcher.ended(end)

    @property
    def _channel(self) -> HTTPChannel:
        return self._request.channel

    @property
    def _transport(self) -> ITCPTransport:
        return cast(ITCPTransport, self._channel.transport)
