"""Tests of the router's reactor: on real sockets it behaves like Twisted's."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from twisted.internet import error, main
from twisted.internet.protocol import ClientFactory
from twisted.logger import LogEvent, Logger, formatEvent
from twisted.python.failure import Failure

from tests.unit.process.reactors import (
    PATIENCE,
    Descriptor,
    End,
    HalfCloseableEnd,
    ReactorTestCase,
    fail,
    transport,
)

MARKS = ("trial",)


class OwnTests(ReactorTestCase):
    """The router's reactor."""

    def test_both_ways(self) -> None:
        """More than any buffer holds passes in both directions, followed by a clean end."""
        self.start()
        much = os.urandom(3_000_000)
        server = End(data=lambda end: len(end.data) == len(much) and transport(end).write(much))

        def all_there(end: End) -> None:
            if len(end.data) == len(much):
                transport(end).loseConnection()

        client = End(
            made=lambda end: transport(end).write(much),
            data=all_there,
            lost=lambda _: self.stop_soon(),
        )
        self.connect(client, server)
        self.go()
        self.assertEqual((server.data, client.data), (much, much))
        self.assertEqual(client.notes, ["made", "lost ConnectionDone"])
        self.assertEqual(server.notes, ["made", "lost ConnectionDone"])

    def test_half_closed(self) -> None:
        """A protocol that supports it receives the peer's half-close, and can still respond."""
        self.start()

        def say_all(end: End) -> None:
            transport(end).write(b"all")
            transport(end).loseWriteConnection()

        def answer(end: End) -> None:
            transport(end).write(b"answer to " + end.data)
            transport(end).loseConnection()

        client = HalfCloseableEnd(
            made=say_all,
            heard_all=lambda end: transport(end).loseConnection(),
            lost=lambda _: self.reactor.stop(),
        )
        server = HalfCloseableEnd(heard_all=answer)
        self.connect(client, server)
        self.go()
        self.assertEqual(client.data, b"answer to all")
        self.assertEqual(server.notes[:2], ["made", "heard_all"])

    def test_aborted(self) -> None:
        """A connection that the peer aborts ends with ConnectionLost, not ConnectionDone."""
        self.start()
        client = End(data=lambda end: transport(end).abortConnection())
        server = End(
            made=lambda end: transport(end).write(b"welcome"),
            lost=lambda _: self.reactor.stop(),
        )
        self.connect(client, server)
        self.go()
        self.assertEqual(server.notes, ["made", "lost ConnectionLost"])

    def test_refused(self) -> None:
        """A refused connection fails."""
        self.start()
        failed: list[Any] = []
        factory = ClientFactory()
        factory.noisy = False

        def stop(_: object, reason: Failure) -> None:
            failed.append(reason.type)
            self.reactor.stop()

        factory.clientConnectionFailed = stop  # type: ignore[method-assign,assignment]
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.reactor.connectTCP(*taken.getsockname(), factory)
            self.go()
        self.assertEqual(failed, [error.ConnectionRefusedError])

    def test_failing_protocol(self) -> None:
        """An exception in a protocol is logged and closes its own connection only."""
        self.start()
        bystander = self.descriptor(lambda it: it.own.recv(1) and None)
        self.reactor.addReader(bystander)

        def go_on(_: End) -> None:
            bystander.other.send(b"x")
            self.stop_soon()

        client = End(made=lambda end: transport(end).write(b"x"), lost=go_on)
        server = End(data=fail)
        self.connect(client, server)
        self.go()
        self.logged(ZeroDivisionError)
        self.assertEqual(server.notes, ["made", "lost ZeroDivisionError"])
        self.assertEqual(bystander.turns, 2)

    def test_held(self) -> None:
        """A turn of 5 ms or more is reported with the kinds of its connections."""
        reported: list[tuple[float, str]] = []
        reactor = self.start()
        if not hasattr(reactor, "report_hold"):  # Twisted's own loop
            return
        reactor.report_hold = lambda seconds, by: reported.append((seconds, by))

        def sleep(it: Descriptor) -> None:
            it.own.recv(1)
            time.sleep(0.02)

        for act in (lambda it: it.own.recv(1) and None, sleep):
            reactor.addReader(self.descriptor(act))
        reactor.callLater(0, time.sleep, 0.02)
        self.stop_soon()
        self.go()
        held = {by: seconds for seconds, by in reported}
        self.assertGreaterEqual(held["timers or calls from threads"], 0.02)
        (events,) = (by for by in held if by.startswith("events of "))
        self.assertIn(" x Descriptor", events)
        self.assertGreaterEqual(held[events], 0.02)

    def once(self, watch: str, act: Callable[[Descriptor], object]) -> Descriptor:
        """Watch one descriptor for a moment."""
        descriptor = self.descriptor(act)
        getattr(self.reactor, watch)(descriptor)
        self.stop_soon()
        self.go()
        return descriptor

    def test_failing_descriptor(self) -> None:
        """An exception in reading or writing is logged and disconnects the descriptor."""
        for watch in ("addReader", "addWriter"):
            self.start()
            descriptor = self.once(watch, fail)
            self.logged(ZeroDivisionError)
            self.assertEqual((descriptor.turns, descriptor.lost), (1, ZeroDivisionError))
            self.assertNotIn(descriptor, self.reactor.getReaders() + self.reactor.getWriters())

    def test_disconnecting_descriptor(self) -> None:
        """A descriptor that returns a reason from reading or writing is disconnected for it."""
        for watch in ("addReader", "addWriter"):
            self.start()
            descriptor = self.once(watch, lambda _: error.ConnectionLost())
            self.assertEqual((descriptor.turns, descriptor.lost), (1, error.ConnectionLost))

    def test_lost_number(self) -> None:
        """A descriptor without a file number is disconnected without being called."""
        reactor = self.start()
        descriptor = self.descriptor(fail)
        reactor.addReader(descriptor)
        descriptor.number = -1
        self.stop_soon()
        self.go()
        self.assertEqual((descriptor.turns, descriptor.lost), (0, error.ConnectionFdescWentAway))

    def test_failing_farewell(self) -> None:
        """An exception during a disconnection is logged, and the other descriptors are served."""
        for raised in (ZeroDivisionError, KeyboardInterrupt):
            reactor = self.start()
            pair = [self.descriptor(lambda _: error.ConnectionDone()) for _ in range(2)]
            for each in pair:
                reactor.addReader(each)
                each.farewell = raised
            self.stop_soon()
            self.go()
            self.assertEqual(len(self.flushLoggedErrors(raised)), 2)
            self.assertEqual([each.turns for each in pair], [1, 1])

    def test_removed_by_another(self) -> None:
        """Of two ready descriptors that remove each other only the first is called."""
        reactor = self.start()

        def remove_all(_: Descriptor) -> None:
            for each in pair:
                reactor.removeReader(each)

        pair = [self.descriptor(remove_all) for _ in range(2)]
        for each in pair:
            reactor.addReader(each)
        self.stop_soon()
        self.go()
        self.assertEqual(sorted(each.turns for each in pair), [0, 1])

    def test_hung_up(self) -> None:
        """A descriptor whose peer has gone is disconnected, even if it was only written to."""
        for watch, kind in (
            ("addReader", error.ConnectionDone),
            ("addWriter", error.ConnectionLost),
        ):
            reactor = self.start()
            reading, writing = os.pipe()
            descriptor = self.descriptor(fail)
            descriptor.number = reading if watch == "addReader" else writing
            getattr(reactor, watch)(descriptor)
            os.close(writing if watch == "addReader" else reading)
            self.stop_soon()
            self.go()
            os.close(descriptor.number)
            self.assertEqual((descriptor.turns, descriptor.lost), (0, kind))

    def test_timers(self) -> None:
        """Timers fire in order and never early, even if most of them are cancelled."""
        reactor = self.start()
        began, came = time.monotonic(), []

        def note(name: str) -> None:
            came.append((name, time.monotonic() - began))

        def finish() -> None:
            note("third")
            reactor.stop()

        reactor.callLater(0.03, note, "second")
        reactor.callLater(0.01, note, "first")
        reactor.callLater(0.02, fail, None)
        for call in [reactor.callLater(PATIENCE, fail, None) for _ in range(200)]:
            call.cancel()
        reactor.callLater(0.01, reactor.callLater, 0.03, finish)
        self.go()
        self.logged(ZeroDivisionError)
        self.assertEqual([name for name, _ in came], ["first", "second", "third"])
        for (_, at), least in zip(came, (0.01, 0.03, 0.04), strict=True):
            self.assertGreaterEqual(at, least)

    def test_threads(self) -> None:
        """A call from another thread wakes the reactor and runs in its thread."""
        reactor = self.start()
        came: list[threading.Thread] = []

        def call() -> None:
            time.sleep(0.02)
            reactor.callFromThread(fail, None)
            reactor.callFromThread(lambda: came.append(threading.current_thread()))
            reactor.callFromThread(reactor.stop)

        thread = threading.Thread(target=call)
        thread.start()
        self.go()
        thread.join()
        self.logged(ZeroDivisionError)
        self.assertEqual(came, [threading.current_thread()])


class TurnTests(ReactorTestCase):
    """Behaviour of the router's reactor only."""

    def test_turns_are_short(self) -> None:
        """With many ready descriptors each turn serves some, and all of them get served."""
        reactor = self.start()
        crowd = [self.descriptor(lambda it: None) for _ in range(150)]
        for descriptor in crowd:
            reactor.addReader(descriptor)
        reactor.doPoll(0)
        self.assertLess(sum(each.turns for each in crowd), 100)
        reactor.doPoll(0)
        reactor.doPoll(0)
        self.assertEqual({each.turns for each in crowd} - {1, 2}, set())
        for descriptor in crowd:
            reactor.removeReader(descriptor)

    def leavers(
        self, reactor: Any, number: int, act: Callable[[Descriptor], object], said: bytes = b""
    ) -> list[Descriptor]:
        """Return descriptors whose peers have said something and hung up."""
        crowd = [self.descriptor(act) for _ in range(number)]
        for each in crowd:
            each.other.sendall(said)
            each.other.close()
            reactor.addReader(each)
        return crowd

    def test_a_crowd_that_leaves(self) -> None:
        """Of many that hang up a few are handled per turn, behind a descriptor that has data."""
        reactor = self.start()
        crowd = self.leavers(reactor, 100, lambda it: main.CONNECTION_DONE)
        last = self.descriptor(lambda it: None)
        reactor.addReader(last)
        for _ in range(14):
            before = sum(each.turns for each in crowd)
            reactor.doPoll(0)
            self.assertLessEqual(sum(each.turns for each in crowd) - before, 8)
        self.assertGreater(last.turns, 3)
        self.assertEqual({(each.turns, each.lost) for each in crowd}, {(1, error.ConnectionDone)})
        reactor.removeReader(last)

    def test_what_a_leaver_said(self) -> None:
        """What a peer sent before it hung up is read, in several turns if need be."""
        reactor, heard = self.start(), list[bytes]()

        def listen(it: Descriptor) -> object:
            heard.append(it.own.recv(2))
            return main.CONNECTION_DONE if heard[-1] == b"" else None

        self.leavers(reactor, 40, listen, b"yz.")
        for _ in range(20):
            reactor.doPoll(0)
        self.assertEqual(sorted(heard), sorted([b"", b"xy", b"z."] * 40))

    def test_a_number_used_again(self) -> None:
        """A descriptor that is closed while it waits is forgotten, though its number is used."""
        reactor = self.start()
        crowd = self.leavers(reactor, 40, lambda it: main.CONNECTION_DONE)
        reactor.doPoll(0)
        waiting = next(each for each in crowd if each.number in reactor._leaving)
        reactor.removeReader(waiting)
        other = self.descriptor(lambda it: None)
        reactor._selectables[waiting.number] = other
        for _ in range(5):
            reactor.doPoll(0)
        self.assertEqual((waiting.turns, other.turns), (0, 0))
        del reactor._selectables[waiting.number]


class TwistedsTests(OwnTests):
    """The same tests on Twisted's reactor, the reference."""

    def kind(self) -> Any:
        """Make Twisted's reactor."""
        from twisted.internet.epollreactor import EPollReactor

        return EPollReactor


class FallbackTests(OwnTests):
    """The router's reactor on a Twisted that lacks an attribute it needs."""

    def kind(self) -> Any:
        """Make the router's reactor, with one more needed attribute that does not exist."""
        from autopilot.process import reactor as module

        self.patch(module, "_NEEDED", (*module._NEEDED, "_not_there"))
        return module.AutopilotReactor

    def test_own_methods(self) -> None:
        """What this reactor defines itself does not count as Twisted's."""
        from twisted.internet.epollreactor import EPollReactor

        from autopilot.process import reactor as module

        self.patch(module, "_NEEDED", ("_pause",))
        self.assertIs(self.start().mainLoop.__func__, EPollReactor.mainLoop)

    def test_says_so(self) -> None:
        """It logs that once, and runs Twisted's loop."""
        from twisted.internet.epollreactor import EPollReactor

        from autopilot.process import reactor as module

        said: list[LogEvent] = []
        observer: Any = said.append
        self.patch(module, "_log", Logger(observer=observer))
        reactor = self.start()
        for name in ("mainLoop", "doPoll", "doIteration"):
            self.assertIs(getattr(reactor, name).__func__, getattr(EPollReactor, name))
        self.assertEqual(
            [formatEvent(event) for event in said],
            ["This Twisted has no _not_there: its own event loop runs instead"],
        )
