"""Scenarios on real sockets for a reactor that is not installed, and their protocols."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from typing import Any
from unittest import skipUnless

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from autopilot.service.lifecycle import use_monotonic_clock

HERE = hasattr(select, "epoll")
PATIENCE = 20.0
"""Seconds after which a scenario counts as stuck."""


class End(Protocol):
    """One end of a connection: records its events and runs the test's callbacks."""

    def __init__(self, **acts: Callable[[End], object]) -> None:
        self.acts = acts
        self.data = b""
        self.notes: list[str] = []

    def note(self, what: str) -> None:
        """Record an event."""
        self.notes.append(what)
        self.acts.get(what.split()[0], lambda _: None)(self)

    def connectionMade(self) -> None:
        """See `IProtocol`."""
        self.note("made")

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        self.data += data
        self.acts.get("data", lambda _: None)(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        assert reason.type is not None
        self.note(f"lost {reason.type.__name__}")


@implementer(IHalfCloseableProtocol)
class HalfCloseableEnd(End):
    """An end that receives the peer's half-close."""

    def readConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`."""
        self.note("heard_all")

    def writeConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`."""


class Descriptor(FileDescriptor):
    """One end of a socket pair with a byte to read, which runs the test's callbacks."""

    def __init__(self, reactor: Any, act: Callable[[Descriptor], object]) -> None:
        super().__init__(reactor)
        self.own, self.other = socket.socketpair()
        self.other.send(b"x")
        self.number = self.own.fileno()
        self.act = act
        self.turns = 0
        self.lost: type[BaseException] | None = None
        self.farewell: type[BaseException] | None = None

    def fileno(self) -> int:
        """See `IFileDescriptor`."""
        return self.number

    def doRead(self) -> object:
        """See `IReadDescriptor`."""
        self.turns += 1
        return self.act(self)

    doWrite = doRead

    def connectionLost(self, reason: Failure) -> None:
        """See `IFileDescriptor`."""
        self.lost = reason.type
        if self.farewell is not None:
            raise self.farewell


@skipUnless(HERE, "there is no epoll here")
class ReactorTestCase(SynchronousTestCase):
    """Runs a scenario on a reactor that is not installed."""

    def start(self) -> Any:
        """Make a reactor on the router's clock."""
        self.reactor = reactor = self.kind()()
        use_monotonic_clock(reactor)
        self.addCleanup(self.release, reactor)
        return reactor

    def kind(self) -> Any:
        """Make the router's reactor."""
        from autopilot.process.reactor import AutopilotReactor

        return AutopilotReactor

    def release(self, reactor: Any) -> None:
        """Close what the process's end would otherwise close."""
        reactor.disconnectAll()
        for reader in list(reactor._internalReaders):
            reactor.removeReader(reader)
            reader.connectionLost(None)
        reactor._poller.close()

    def descriptor(self, act: Callable[[Descriptor], object]) -> Descriptor:
        """Return a descriptor with a byte to read."""
        descriptor = Descriptor(self.reactor, act)
        self.addCleanup(descriptor.own.close)
        self.addCleanup(descriptor.other.close)
        return descriptor

    def connect(self, client: End, server: End) -> None:
        """Connect the two ends."""
        listening, calling = Factory(), ClientFactory()
        for factory, end in ((listening, server), (calling, client)):
            factory.noisy = False
            factory.buildProtocol = lambda _, end=end: end  # type: ignore[method-assign,misc]
        self.port = self.reactor.listenTCP(0, listening, interface="127.0.0.1")
        self.reactor.connectTCP("127.0.0.1", self.port.getHost().port, calling)

    def stop_soon(self, turns: int = 5) -> None:
        """Stop after a few turns, each of which handles all ready descriptors."""
        if turns:
            self.reactor.callLater(0, self.stop_soon, turns - 1)
        else:
            self.reactor.stop()

    def go(self) -> None:
        """Run until the scenario stops the reactor."""
        began = time.monotonic()
        stuck = self.reactor.callLater(PATIENCE, self.reactor.stop)
        self.reactor.run(installSignalHandlers=False)
        self.assertLess(time.monotonic() - began, PATIENCE, "it did not stop, or not at once")
        stuck.cancel()

    def logged(self, kind: type[BaseException]) -> None:
        """Assert that one failure of this type was logged."""
        self.assertEqual(len(self.flushLoggedErrors(kind)), 1)


def fail(_: object) -> None:
    """Raise, as no protocol should."""
    raise ZeroDivisionError


def transport(end: End) -> Any:
    """Return the transport of an end."""
    return end.transport
