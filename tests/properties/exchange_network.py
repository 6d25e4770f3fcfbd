"""The upstream side of the exchange machine: connections in memory that record events."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from autopilot.upstream.pool import Origin, Pool
from autopilot.upstream.types import UpstreamCall
from tests.properties.exchange_replies import REPLIES, Framing
from tests.properties.exchange_script import Script
from tests.properties.exchange_tape import Dialled, Entry, Lost, Received, Sent, Tried
from tests.unit.relay.upstreams import Wire


class Line(Wire):
    """One upstream connection: its current request and response."""

    def __init__(self, clock: Clock, tape: list[Entry]) -> None:
        super().__init__(clock)
        self._tape = tape
        self._fin = False
        self.used = 0
        self.carries = ""
        self.script: Script | None = None

    @property
    def reusable(self) -> bool:
        """Whether its last response was complete and allows reuse."""
        script = self.script
        if self.carries or script is None or script.pending:
            return False
        return script.reply.keep and script.reply.framing is not Framing.CLOSE

    def write(self, data: bytes) -> None:
        """See `ITransport`; each request arrives in one write."""
        super().write(data)
        self.carries, model = asked(data)
        self.script = None
        self._tape.append(Sent(self.carries, model, reused=self.used > 0))
        self.used += 1

    def hears(self, size: int) -> None:
        """Record what the router is about to read."""
        if self.carries and self.script is not None:
            read = self.script.read(size)
            self._tape.append(Received(self.carries, read))
            if read.ended:
                self.carries = ""

    def ends(self, *, politely: bool) -> None:
        """Record that the router is about to learn of the connection's end."""
        if self.carries and not self.aborted:
            tail = self.script.tail if self.script is not None else ()
            self._tape.append(Lost(self.carries, politely, tail))
        self.carries = ""

    def closes(self) -> None:
        """Close after the unread bytes."""
        if self.producerState == "paused":
            self._fin = True
        elif self.alive:
            super().closes()

    def does(self, what: str) -> None:
        """Perform a named action of an upstream on a connection."""
        if what == "closes":
            self.closes()
        elif what == "resets":
            self.resets()

    def garbles(self) -> bool:
        """Send bytes that are not HTTP, where they cannot count as part of a body."""
        if self.script is None:
            self.script = Script.garbage(REPLIES["stream"])
        elif self.script.over or self.script.reply.framing is not Framing.CHUNKED:
            return False
        else:
            self.script.garble()
        return True

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        super().resumeProducing()
        if self._fin:
            self._clock.callLater(0, self.closes)


class Tap(Protocol):
    """Wraps the router's protocol, so that the line observes its calls."""

    def __init__(self, line: Line, inner: IProtocol) -> None:
        self._line, self._inner = line, inner

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        self._line.hears(len(data))
        self._inner.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        self._line.ends(politely=bool(reason.check(ConnectionDone)))
        self._inner.connectionLost(reason)


@dataclass(eq=False)
class Opening:
    """A connection attempt in progress."""

    request: str
    factory: IProtocolFactory
    connecting: Deferred[IProtocol]


@implementer(IStreamClientEndpoint)
class Network:
    """All upstream connections. The next attempts follow ``moods``; the others succeed at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.tape: list[Entry] = []
        self.lines: list[Line] = []
        self.openings: list[Opening] = []
        self.moods: list[str] = []
        self.caller = ""

    def __call__(self, origin: Origin) -> IStreamClientEndpoint:
        """See `EndpointMaker`."""
        return self

    @property
    def alive(self) -> list[Line]:
        """The connections that the router has not closed."""
        return [line for line in self.lines if line.alive]

    @property
    def busy(self) -> list[Line]:
        """The connections with a call."""
        return [line for line in self.alive if line.carries]

    @property
    def idle(self) -> list[Line]:
        """The idle connections."""
        return [line for line in self.alive if not line.carries]

    @property
    def asked(self) -> list[Line]:
        """The connections on which no response has begun."""
        return [line for line in self.busy if line.script is None]

    @property
    def stale(self) -> list[Line]:
        """Those of them that were idle before."""
        return [line for line in self.asked if line.used > 1]

    @property
    def answering(self) -> list[Line]:
        """The connections on which a response has begun."""
        return [line for line in self.busy if line.script is not None]

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint`."""
        mood = self.moods.pop(0) if self.moods else "open"
        if mood == "open":
            return succeed(self._open(protocolFactory))
        self.tape.append(Dialled(self.caller, mood == "refused"))
        if mood == "refused":
            return fail(ConnectionRefusedError())
        connecting: Deferred[IProtocol] = Deferred(self._cancelled)
        self.openings.append(Opening(self.caller, protocolFactory, connecting))
        return connecting

    def answer(self, opening: Opening, *, refused: bool) -> None:
        """Complete or refuse a connection attempt."""
        self.openings.remove(opening)
        if refused:
            self.tape.append(Dialled(opening.request, True))
            opening.connecting.errback(ConnectionRefusedError())
        else:
            opening.connecting.callback(self._open(opening.factory))

    def _open(self, factory: IProtocolFactory) -> IProtocol:
        line = Line(self._clock, self.tape)
        protocol = cast(IProtocol, factory.buildProtocol(IPv4Address("TCP", "192.0.2.2", 80)))
        line.protocol = cast(IProtocol, Tap(line, protocol))
        self.lines.append(line)
        protocol.makeConnection(line)
        return protocol

    def _cancelled(self, connecting: Deferred[IProtocol]) -> None:
        self.openings = [each for each in self.openings if each.connecting is not connecting]


class WatchedPool(Pool):
    """The router's pool, which records each call on the tape."""

    network: Network

    def dispatch(
        self,
        origin: Origin,
        call: UpstreamCall,
        timeout: float,
        fresh: bool = False,
    ) -> None:
        """See `Pool`."""
        self.network.caller, model = asked(call.payload)
        self.network.tape.append(Tried(self.network.caller, model))
        super().dispatch(origin, call, timeout, fresh)


def asked(payload: bytes) -> tuple[str, str]:
    """Return the request and the model of a call."""
    body = json.loads(payload.partition(b"\r\n\r\n")[2])
    return body["user"], body["model"]
