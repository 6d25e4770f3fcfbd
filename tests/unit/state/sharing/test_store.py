"""Tests of the store: every way in which a server fails, and that it is well again soon."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from autopilot.state.sharing import store as module
from autopilot.state.sharing.resp import PATIENCE
from autopilot.state.sharing.store import Store, StoreAccess
from autopilot.state.sharing.store_fault import StoreFault, StoreRefused, StoreUnavailable
from tests.unit.state.sharing.servers import Server, array, bulk

_STEP: Final = 0.125
_SOON: Final = 5.0
"""The time within which sharing is back once the store is well."""


class StoreTests(SynchronousTestCase):
    """A store over a server in memory."""

    def setUp(self) -> None:
        """Make the server; `begin` connects."""
        self.clock = Clock()
        self.server = Server(self.clock)
        self.messages: list[bytes] = []
        self.ups = 0
        self.jitter = 0.0
        self.events = EventLoggingObserver()
        globalLogPublisher.addObserver(self.events)
        self.addCleanup(globalLogPublisher.removeObserver, self.events)

    def made(self, access: StoreAccess = StoreAccess()) -> Store:  # noqa: B008  it is frozen
        """Make a store that listens to a channel."""
        self.store = Store(self.clock, self.server, access, lambda: self.jitter, lambda: 5.0)
        self.store.subscribe(b"news", self.messages.append)
        self.store.when_up(self.count_up)
        return self.store

    def begin(self, access: StoreAccess = StoreAccess()) -> Store:  # noqa: B008
        """Make a store and connect."""
        store = self.made(access)
        store.start()
        self.pass_time(_STEP)
        return store

    def count_up(self) -> None:
        """Count that both connections are up."""
        self.ups += 1

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps."""
        for _ in range(round(seconds / _STEP)):
            self.clock.advance(_STEP)
            self.clock.advance(0)

    def state(self) -> tuple[str, str]:
        """Return state and fault."""
        status = self.store.status()
        return status.state, status.fault

    def answer(self, *args: bytes) -> Deferred[object]:
        """Send a command, and let the server answer."""
        reply = self.store.command(*args)
        self.clock.advance(0)
        return reply

    def logged(self, level: LogLevel = LogLevel.warn) -> list[str]:
        """Return the messages that were logged at a level."""
        events = [each for each in self.events if each.get("log_level") == level]
        return [str(each["log_format"]).format(**each) for each in events]

    def test_commands_and_messages(self) -> None:
        """Commands are answered, and messages of the channel arrive."""
        store = self.made()
        self.assertEqual(self.state(), ("down", "stopped"))
        self.failureResultOf(store.command(b"GET", b"a"), StoreUnavailable)
        store.start()
        store.start()  # a second time, without a further connection
        self.pass_time(_STEP)
        self.assertEqual(self.state(), ("ok", ""))
        self.assertEqual((self.server.connected, self.ups), (2, 1))
        self.assertEqual(self.successResultOf(self.answer(b"SET", b"a", b"b")), b"OK")
        self.assertEqual(self.successResultOf(self.answer(b"GET", b"a")), b"b")
        self.assertEqual(self.successResultOf(self.answer(b"PUBLISH", b"news", b"hi")), 1)
        self.assertEqual(self.messages, [b"hi"])
        refused = self.failureResultOf(self.answer(b"EVAL", b"secret"), StoreRefused).value
        self.assertEqual(refused.code, "ERR")
        self.assertEqual(self.state(), ("ok", ""))  # not a write
        self.assertEqual(self.logged(), [])

    def test_a_later_subscription(self) -> None:
        """A channel may be added while the connection is up; it is there after the next one."""
        store = self.begin()
        other: list[bytes] = []
        store.subscribe(b"other", other.append)
        self.clock.advance(0)
        self.server.publish(b"other", b"1")
        self.clock.advance(0)
        self.server.cut()
        self.pass_time(_SOON)
        self.server.publish(b"other", b"2")
        self.clock.advance(0)
        self.assertEqual(other, [b"1", b"2"])

    def test_a_callback_that_raises(self) -> None:
        """An exception of a callback is logged, and the connection goes on."""
        store = self.begin()
        store.subscribe(b"bad", lambda _: 1 / 0)  # type: ignore[arg-type]
        store.when_up(lambda: 1 / 0)  # type: ignore[arg-type]
        self.clock.advance(0)
        self.server.publish(b"bad", b"1")
        self.server.publish(b"news", b"2")
        self.clock.advance(0)
        self.assertEqual(self.messages, [b"2"])
        self.server.cut()
        self.pass_time(_SOON)
        self.assertEqual(self.state(), ("ok", ""))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_names_and_password(self) -> None:
        """The user, the password and the database go ahead of everything else, on both ways."""
        access = StoreAccess(b"me", b"hunter2", 3, b"p")
        self.server = Server(self.clock, b"hunter2", b"me")
        store = self.begin(access)
        self.assertEqual(self.state(), ("ok", ""))
        self.assertEqual(
            self.server.commands[:3], [(b"AUTH", b"me", b"hunter2"), (b"SELECT", b"3"), (b"PING",)]
        )
        self.assertEqual({each.database for each in self.server.clients}, {3})
        self.assertEqual(store.key(b"a", b"b"), b"p:a:b")
        self.assertNotIn("hunter2", repr(access))

    def test_a_password_alone(self) -> None:
        """Without a user the password is that of the default one."""
        self.server = Server(self.clock, b"hunter2")
        self.begin(StoreAccess(password=b"hunter2"))
        self.assertEqual(self.server.commands[0], (b"AUTH", b"hunter2"))
        self.assertEqual(self.state(), ("ok", ""))

    def test_wrong_introductions(self) -> None:
        """A wrong password, none and a wrong database are named; the right one helps soon."""
        for password, access, fault in (
            (b"hunter2", StoreAccess(password=b"hunter3"), "credentials"),
            (b"hunter2", StoreAccess(), "credentials"),
            (None, StoreAccess(database=99), "database"),
        ):
            self.server = Server(self.clock, password)
            self.begin(access)
            self.assertEqual(self.state(), ("down", fault))
            before = self.server.connected
            self.pass_time(60)
            self.assertEqual(self.state(), ("down", fault))
            # Two connections, and at most one attempt a second and a half for each.
            self.assertLess(self.server.connected - before, 2 * 60 / 1.4)
            self.store.stop()
        self.begin(StoreAccess(password=b"hunter2"))
        self.assertEqual(self.state(), ("down", "credentials"))
        self.server.password = b"hunter2"
        self.pass_time(_SOON)
        self.assertEqual(self.state(), ("ok", ""))
        self.assertNotIn("hunter", "".join(self.logged()))

    def test_faults_of_the_connection(self) -> None:
        """Refused, without an answer, cut, paused, loading: down, and well again soon."""
        self.begin()
        server = self.server
        for name, value, fault in (
            ("refused", True, "unreached"),
            ("hanging", True, "slow"),
            ("errors", {b"PING": b"LOADING Redis is loading the dataset in memory"}, "loading"),
            ("errors", {b"SUBSCRIBE": b"NOPERM this user has no permissions"}, "forbidden"),
        ):
            well = getattr(server, name)
            setattr(server, name, value)
            server.cut()
            self.pass_time(30)
            self.assertEqual(self.state(), ("down", fault))
            setattr(server, name, well)
            ups = self.ups
            self.pass_time(_SOON)
            self.assertEqual(self.state(), ("ok", ""), name)
            self.assertEqual(self.ups, ups + 1)

    def test_a_pause(self) -> None:
        """During CLIENT PAUSE commands fail after the patience; afterwards all is well soon."""
        store = self.begin()
        self.server.paused = True
        waiting = store.command(b"GET", b"a")
        self.pass_time(PATIENCE + 0.5)
        self.failureResultOf(waiting, StoreUnavailable)
        self.assertEqual(self.state(), ("down", "slow"))
        self.failureResultOf(store.command(b"GET", b"a"), StoreUnavailable)
        self.pass_time(30)
        self.assertEqual(self.state(), ("down", "slow"))
        self.server.resume()
        self.pass_time(_SOON)
        self.assertEqual(self.state(), ("ok", ""))

    def test_refused_writes(self) -> None:
        """A full or read-only store is still read, messages arrive, and it recovers by itself."""
        self.begin()
        server = self.server
        listening = set(server.clients)
        for name, fault in (("full", "full"), ("read_only", "read_only")):
            setattr(server, name, True)
            self.failureResultOf(self.answer(b"SET", b"a", b"b"), StoreRefused)
            self.assertEqual(self.state(), ("degraded", fault))
            listening = {each for each in server.clients if each.channels}
            self.pass_time(20)
            self.assertEqual(self.store.status().fault, fault)
            server.publish(b"news", name.encode())
            self.clock.advance(0)
            self.assertEqual(self.messages[-1], name.encode())
            self.assertLessEqual(listening, server.clients)  # the reading side was not cut
            setattr(server, name, False)
            self.pass_time(_SOON)
            self.assertEqual(self.state(), ("ok", ""))
        # It may be another server that takes the writes: messages must arrive from that one.
        self.assertTrue(listening.isdisjoint(server.clients))

    def test_a_read_only_store_is_replaced(self) -> None:
        """After a fail-over the name leads elsewhere, so commands get new connections."""
        self.begin()
        self.server.read_only = True
        self.answer(b"SET", b"a", b"b").addErrback(lambda _: None)
        before = self.server.connected
        self.pass_time(10)
        self.assertGreaterEqual(self.server.connected - before, 5)
        self.assertLessEqual(self.server.connected - before, 11)

    def test_read_only_from_the_start(self) -> None:
        """Without a write of the router's the fault shows all the same."""
        self.server.read_only = True
        self.begin()
        self.pass_time(_STEP)
        self.assertEqual(self.store.status().fault, "read_only")

    def test_the_pause_between_attempts(self) -> None:
        """It grows, and is never longer than two seconds, whatever the jitter."""
        self.server.refused = True
        self.jitter = 1.0
        self.begin()
        attempts = [self.store.status().attempts]
        for _ in range(40):
            self.pass_time(2)
            attempts.append(self.store.status().attempts)
        steps = [later - earlier for earlier, later in pairwise(attempts)]
        self.assertGreaterEqual(min(steps[1:]), 2)  # one of each connection
        self.assertLessEqual(max(steps[3:]), 4)

    def test_log(self) -> None:
        """The first loss is logged, then ever fewer; each message says what the router does."""
        self.begin()
        self.assertEqual(
            self.logged(LogLevel.info), ["STATE_URL: connected to the store; state is shared"]
        )
        for _ in range(100):
            self.server.refused = True
            self.server.cut()
            self.pass_time(4)
            self.server.refused = False
            self.pass_time(5)
            self.assertEqual(self.state(), ("ok", ""))
        lost = [each for each in self.logged() if "closed the connection" in each]
        self.assertIn("goes on with what it knows", lost[0])
        self.assertNotIn("times since", lost[0])
        self.assertIn("times since the last such message", lost[-1])
        self.assertLess(len(lost), 8)
        self.assertLess(len(self.logged()), 16)
        again = [each for each in self.logged(LogLevel.info) if "well again" in each]
        self.assertIn("well again after 4", again[0])
        self.assertLess(len(again), 8)

    def test_too_many_commands(self) -> None:
        """Commands beyond the bounds of the queue fail at once and are counted."""
        store = self.begin()
        self.server.paused = True
        self.patch(module, "MAX_DUE", 3)
        waiting = [store.command(b"GET", b"a") for _ in range(3)]
        failed = self.failureResultOf(store.command(b"GET", b"a"), StoreUnavailable).value
        self.assertIs(failed.fault, StoreFault.QUEUE)
        self.server.resume()
        self.clock.advance(0)
        for each in waiting:
            self.assertIsNone(self.successResultOf(each))
        self.patch(module, "MAX_DUE_BYTES", 100)
        failed = self.failureResultOf(
            store.command(b"SET", b"a", b"x" * 100), StoreUnavailable
        ).value
        self.assertIs(failed.fault, StoreFault.QUEUE)
        self.assertIn('errors_total{fault="queue"} 2.0', self.exposed())

    def exposed(self) -> str:
        """Return the text of the metrics."""
        return "".join(each.exposition() for each in self.store.instruments())

    def test_metrics(self) -> None:
        """The metrics say which connection is up, and count faults by kind."""
        self.begin()
        text = self.exposed()
        self.assertIn('store_up{connection="commands"} 1.0', text)
        self.assertIn('store_up{connection="messages"} 1.0', text)
        self.assertIn("store_writable 1.0", text)
        self.server.full = True
        self.answer(b"SET", b"a", b"b").addErrback(lambda _: None)
        self.assertIn("store_writable 0.0", self.exposed())
        self.server.refused = True
        self.server.cut()
        text = self.exposed()
        self.assertIn('store_up{connection="commands"} 0.0', text)
        self.assertIn('errors_total{fault="full"} 1.0', text)
        self.assertIn('errors_total{fault="closed"} 2.0', text)
        self.assertIn("round_trip_seconds -1.0", text)

    def test_the_clock(self) -> None:
        """The time is the store's, asked for again at intervals, and this host's if unknown."""
        store = self.made()
        self.assertEqual(store.now(), 5.0)
        store.start()
        self.pass_time(_STEP)
        self.assertLess(abs(store.now() - (1000 + self.clock.seconds())), 0.01)
        self.server.ahead = 2000
        self.pass_time(16)
        self.assertLess(abs(store.now() - (2000 + self.clock.seconds())), 0.01)
        self.server.errors[b"TIME"] = b"NOPERM no"
        self.pass_time(16)
        self.assertLess(abs(store.now() - (2000 + self.clock.seconds())), 0.01)
        self.server.cut()
        self.pass_time(16)
        self.assertLess(abs(store.now() - (2000 + self.clock.seconds())), 0.01)

    def test_a_time_that_is_none(self) -> None:
        """Another reply than a time leaves the clock as it was."""
        store = self.begin()
        for nonsense in (b":1\r\n", b"*1\r\n:5\r\n", b"*2\r\n$1\r\na\r\n:1\r\n"):
            self.patch(self.server, "_time", lambda _, nonsense=nonsense: nonsense)
            self.pass_time(16)
            self.assertLess(abs(store.now() - (1000 + self.clock.seconds())), 0.01)
            self.assertEqual(self.state(), ("ok", ""))

    def test_a_later_subscription_that_is_refused(self) -> None:
        """The store is not well without the channel, and is again once it may be read."""
        store = self.begin()
        other: list[bytes] = []
        self.server.errors[b"SUBSCRIBE"] = b"NOPERM no permissions for the channel"
        store.subscribe(b"other", other.append)
        self.pass_time(1)
        self.assertEqual(store.status().fault, "forbidden")
        self.server.errors.clear()
        self.pass_time(_SOON)
        self.assertEqual(self.state(), ("ok", ""))
        self.server.publish(b"other", b"1")
        self.clock.advance(0)
        self.assertEqual(other, [b"1"])

    def test_a_message_of_another_channel(self) -> None:
        """It is dropped, and the connection goes on."""
        self.begin()
        for client in self.server.clients:
            client.reply(array([bulk(b"message"), bulk(b"other"), bulk(b"1")]))
        self.server.publish(b"news", b"2")
        self.clock.advance(0)
        self.assertEqual(self.messages, [b"2"])
        self.assertEqual(self.state(), ("ok", ""))
        self.assertEqual(self.logged(LogLevel.critical), [])

    def test_read_only_and_then_gone(self) -> None:
        """A store that was read-only and cannot be reached is said to be unreached."""
        self.begin()
        self.server.read_only = True
        self.failureResultOf(self.answer(b"SET", b"a", b"b"), StoreRefused)
        self.server.refused = True
        self.server.cut()
        self.pass_time(_SOON)
        self.assertEqual(self.state(), ("down", "unreached"))
        self.server.read_only = self.server.refused = False
        self.pass_time(_SOON)
        self.assertEqual(self.state(), ("ok", ""))

    def test_stop(self) -> None:
        """Everything is released, in whichever state; no message is logged."""
        states: tuple[dict[str, object], ...] = (
            {},
            {"refused": True},
            {"hanging": True},
            {"paused": True},
            {"read_only": True},
        )
        for state in states:
            self.server = Server(self.clock)
            for name, value in state.items():
                setattr(self.server, name, value)
            store = self.begin()
            self.pass_time(0.5)
            before = len(self.logged())
            store.stop()
            self.pass_time(1)
            self.assertEqual(self.clock.getDelayedCalls(), [], state)
            self.assertEqual(self.server.clients, set())
            self.assertEqual(len(self.logged()), before)
            self.assertEqual(self.state(), ("down", "stopped"))
            self.failureResultOf(store.command(b"GET", b"a"), StoreUnavailable)
        self.store.stop()
