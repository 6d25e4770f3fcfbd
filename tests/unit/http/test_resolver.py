"""Tests of shared name lookups: one at a time for each name, for all its receivers."""

from __future__ import annotations

import socket
from collections.abc import Callable
from threading import Event
from typing import Any
from unittest.mock import patch

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IHostResolution, IResolutionReceiver
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from autopilot.http.resolver import SharedResolver, share_lookups

_FOUND = [
    (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 80, 0, 0)),
    (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80)),
    (socket.AF_UNIX, socket.SOCK_STREAM, 0, "", "/nowhere"),
]


@implementer(IResolutionReceiver)
class _Asking:
    """A receiver of a lookup; ``found`` holds the addresses once the lookup is complete."""

    def __init__(self) -> None:
        self.resolution: IHostResolution | None = None
        self.found: list[IAddress] | None = None
        self._so_far: list[IAddress] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:  # noqa: N802, N803
        """See `IResolutionReceiver`."""
        self.resolution = resolutionInProgress

    def addressResolved(self, address: IAddress) -> None:  # noqa: N802
        """See `IResolutionReceiver`."""
        self._so_far.append(address)

    def resolutionComplete(self) -> None:  # noqa: N802
        """See `IResolutionReceiver`."""
        self.found = self._so_far


class _Reactor:
    """Runs the calls from threads when the test says so."""

    resolver: Any = None

    def __init__(self) -> None:
        self._calls: list[Callable[[], None]] = []
        self._called = Event()

    def callFromThread(self, function: Callable[..., None], *args: object) -> None:  # noqa: N802
        """See `IReactorFromThreads`."""
        self._calls.append(lambda: function(*args))
        self._called.set()

    def installNameResolver(self, resolver: object) -> None:  # noqa: N802
        """See `IReactorPluggableNameResolver`."""
        self.resolver = resolver

    def turn(self) -> None:
        """Wait for a thread's call, and run it."""
        assert self._called.wait(20)
        self._called.clear()
        while self._calls:
            self._calls.pop(0)()


class SharedLookupTests(SynchronousTestCase):
    """The test replaces the system's resolver."""

    def setUp(self) -> None:
        """Block every lookup until ``go_on`` is set."""
        self.reactor = _Reactor()
        share_lookups(self.reactor)
        self.asked: list[tuple[str, int]] = []
        self.go_on = Event()
        self.answer: Any = _FOUND
        patched = patch("socket.getaddrinfo", self.look_up)
        patched.start()
        self.addCleanup(patched.stop)

    def look_up(self, name: str, port: int, **_: object) -> Any:
        """See `socket.getaddrinfo`."""
        self.asked.append((name, port))
        self.go_on.wait(20)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def ask(self, name: str = "a.test", port: int = 80) -> _Asking:
        """Request a lookup."""
        asking = _Asking()
        resolver: SharedResolver = self.reactor.resolver
        resolution = resolver.resolveHostName(asking, name, port)
        self.assertIs(asking.resolution, resolution)
        self.assertEqual(resolution.name, name)
        return asking

    def test_addresses(self) -> None:
        """IPv4 and IPv6 addresses are delivered in their order; other families are left out."""
        asking = self.ask()
        self.assertIsNone(asking.found)
        self.go_on.set()
        self.reactor.turn()
        v6, v4 = IPv6Address("TCP", "::1", 80), IPv4Address("TCP", "192.0.2.1", 80)
        self.assertEqual(asking.found, [v6, v4])

    def test_one_at_a_time(self) -> None:
        """Concurrent requests for a name share one lookup; a later request starts another."""
        together = [self.ask() for _ in range(30)]
        self.go_on.set()
        self.reactor.turn()
        self.assertEqual([len(each.found or ()) for each in together], [2] * 30)
        self.assertEqual(self.asked, [("a.test", 80)])
        self.ask()
        self.reactor.turn()
        self.assertEqual(self.asked, [("a.test", 80)] * 2)

    def test_others_need_not_wait(self) -> None:
        """Another name, or another port, has a lookup of its own."""
        for asked in (("a.test", 80), ("b.test", 80), ("a.test", 81)):
            self.ask(*asked)
        self.go_on.set()
        for _ in range(200):
            if len(self.asked) == 3:
                break
            self.go_on.wait(0.01)
        self.assertEqual(sorted(self.asked), [("a.test", 80), ("a.test", 81), ("b.test", 80)])

    def test_not_found(self) -> None:
        """A name that does not exist, or is malformed, has no addresses."""
        self.go_on.set()
        for error in (socket.gaierror(socket.EAI_NONAME, ""), UnicodeError("label too long")):
            self.answer = error
            asking = self.ask()
            self.reactor.turn()
            self.assertEqual(asking.found, [])

    def test_cannot_be_cancelled(self) -> None:
        """A lookup in progress continues."""
        asking = self.ask()
        assert asking.resolution is not None
        self.assertRaises(NotImplementedError, asking.resolution.cancel)
        self.go_on.set()
        self.reactor.turn()
