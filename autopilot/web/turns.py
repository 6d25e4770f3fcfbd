"""A limit of one request a turn of the reactor for the pipelines of Twisted's own channel.

The router's channel has this limit itself. Twisted's, which an embedding application may use,
handles the next request as soon as a response is complete, also if its client reads none of them:
a thousand requests in one read would hold the reactor, and their responses fill the memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from autopilot.web.channel import Channel

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.web.resource import IResource
    from twisted.web.server import Request


class Turns:
    """Lets each channel begin one request in a turn of the reactor."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._begun: set[object] = set()

    def take(self, request: Request, resource: IResource) -> IResource:
        """Return ``resource``, or a leaf that renders it when it is the request's turn."""
        channel: Any = request.channel
        if isinstance(channel, Channel):
            return resource
        if channel in self._begun or getattr(channel, "_waitingForTransport", False):
            return _Later(self, resource)
        self.begin(channel)
        return resource

    def begin(self, channel: object) -> bool:
        """Return whether the channel may begin a request in this turn, and record that it does."""
        if channel in self._begun:
            return False
        if not self._begun:
            self._clock.callLater(0, self._begun.clear)
        self._begun.add(channel)
        return True

    def later(self, request: Request, resource: IResource) -> None:
        """Render ``resource`` in a later turn, when the client reads its responses."""
        _Waiting(self, self._clock, request, resource)


class _Later(Resource):
    """Renders another resource in a later turn."""

    isLeaf = True

    def __init__(self, turns: Turns, resource: IResource) -> None:
        super().__init__()
        self._turns = turns
        self._resource = resource

    def render(self, request: Request) -> int:
        """See `IResource`."""
        self._turns.later(request, self._resource)
        return NOT_DONE_YET


@implementer(IPushProducer)
class _Waiting:
    """A request that waits for its turn, and for its client to read the earlier responses."""

    def __init__(
        self, turns: Turns, clock: IReactorTime, request: Request, resource: IResource
    ) -> None:
        self._turns = turns
        self._clock = clock
        self._request = request
        self._resource = resource
        self._channel: Any = request.channel
        self._paused = bool(getattr(self._channel, "_waitingForTransport", False))
        self._call: IDelayedCall | None = None
        request.notifyFinish().addErrback(lambda _: self.stopProducing())
        request.registerProducer(self, True)
        self._schedule()

    def _schedule(self) -> None:
        if not self._paused and self._call is None:
            self._call = self._clock.callLater(0, self._begin)

    def _begin(self) -> None:
        self._call = None
        if self._paused:
            return
        if not self._turns.begin(self._channel):
            self._schedule()
            return
        self._paused = True
        request = self._request
        request.unregisterProducer()
        try:
            request.render(self._resource)
        except Exception:  # noqa: BLE001  as Twisted does with what a resource raises
            request.processingFailed(Failure())

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        self._paused = True

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        self._paused = False
        self._schedule()

    def stopProducing(self) -> None:
        """See `IPushProducer`: the client has disconnected."""
        self._paused = True
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
