"""Tests of the link over the store: several replicas, and all that a store can do to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.state.events import Event, decode, encode
from autopilot.state.sharing import store, store_link, store_queue, warm_start
from autopilot.state.sharing.store import Store, StoreAccess
from autopilot.state.sharing.store_link import StoreLink
from tests.unit.state.sharing.linked import Replica
from tests.unit.state.sharing.servers import Server
from tests.unit.state.sharing.test_store_queue import failed, stuck

_SOON: Final = 5.0
_STEP: Final = 0.125
_HORIZON: Final = 1800.0


@dataclass
class Router:
    """One replica with its store and its link."""

    replica: Replica
    store: Store
    link: StoreLink

    def happens(self, *events: Event) -> None:
        """Let events happen here."""
        self.replica.learn(list(events))
        for batch in encode(events):
            self.link.send(batch)

    def stop(self) -> None:
        """Stop."""
        self.link.stop()
        self.store.stop()


class StoreLinkTests(SynchronousTestCase):
    """Replicas over one server in memory."""

    def setUp(self) -> None:
        """Make a server and two replicas."""
        self.clock = Clock()
        self.clock.advance(100.0)
        self.server = Server(self.clock)
        self.one, self.two = self.router(), self.router()
        self.pass_time(0.5)

    def router(self) -> Router:
        """Start a replica."""
        replica = Replica()
        store = Store(self.clock, self.server, StoreAccess(), lambda: 0.5, lambda: 5.0)
        link = StoreLink(self.clock, store, replica, _HORIZON, lambda: 0.5)
        link.start()
        store.start()
        self.addCleanup(self.settle, link, store)
        return Router(replica, store, link)

    def settle(self, link: StoreLink, store: Store) -> None:
        """Stop, and see that nothing is left behind."""
        link.stop()
        store.stop()
        self.pass_time(1)
        link.send(encode([stuck(99)])[0])  # ignored

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps."""
        for _ in range(round(seconds / _STEP)):
            self.clock.advance(_STEP)
            for _ in range(3):
                self.clock.advance(0)

    def turn(self) -> None:
        """Let replies arrive."""
        for _ in range(4):
            self.clock.advance(0)

    def exposed(self, router: Router) -> str:
        """Return the text of the link's metrics."""
        return "".join(each.exposition() for each in router.link.instruments())

    def test_events_reach_the_others(self) -> None:
        """A batch arrives at once at every other replica, and not at the sender."""
        self.one.happens(stuck(1), failed(2))
        self.turn()
        self.assertEqual(self.two.replica.versions, {(1, 1), (2, 1)})
        self.assertEqual(self.one.replica.batches, [])
        status = self.one.link.status()
        self.assertEqual((status.published, status.stored, status.queued), (2, 2, 0))
        self.assertEqual((status.lost, status.warm), (0, "loaded"))
        self.assertIn('events_total{way="published"} 2.0', self.exposed(self.one))

    def test_a_warm_start(self) -> None:
        """A replica that starts later knows the same, with ages that count the time since."""
        self.one.happens(*(failed(n, b"%016d" % n) for n in range(1, 1501)))
        self.pass_time(90)
        self.two.happens(stuck(5000, replica=2))
        self.pass_time(30)
        third = self.router()
        self.pass_time(1)
        self.assertEqual(third.replica.versions, self.one.replica.versions | {(5000, 2)})
        ages = {event.version: event.age / 1000 for event in third.replica.known.values()}
        self.assertLess(abs(ages[5000, 2] - 30), 0.5)
        self.assertLess(abs(ages[7, 1] - 120), 0.5)
        self.assertEqual(third.link.status().loaded, 1501)
        # In steps: no batch has more events than a step of the scan.
        self.assertLessEqual(max(len(decode(each)) for each in third.replica.batches), 200)

    def test_what_the_store_keeps(self) -> None:
        """Each minute's hash expires, and holds the latest event of a subject alone."""
        self.one.happens(stuck(1, "old"))
        self.turn()
        self.one.happens(stuck(2, "new"))
        self.turn()
        ((key, values),) = [each for each in self.server.hashes.items() if each[1]]
        self.assertEqual(len(values), 1)
        self.assertEqual(key, b"chutes-autopilot:warm:%d" % ((1000 + self.clock.seconds()) // 60))
        self.assertEqual(self.server.expiries[key], round(_HORIZON + 120) * 1000)
        (value,) = values.values()
        self.assertEqual(decode(value[8:])[0].version, (2, 1))

    def test_a_full_minute(self) -> None:
        """A hash does not grow beyond its bound; events are published all the same."""
        self.patch(warm_start, "MAX_VALUES", 500)
        for start in range(0, 2000, 100):
            self.one.happens(*(failed(n, b"%016d" % n) for n in range(start, start + 100)))
            self.turn()
        self.assertEqual(len(self.two.replica.known), 2000)
        (values,) = [each for each in self.server.hashes.values() if each]
        self.assertLess(len(values), 1000)
        self.assertIn('lost_total{cause="warm_start_full"}', self.exposed(self.one))
        self.pass_time(60)
        self.one.happens(stuck(3000))
        self.turn()
        self.assertEqual(len([each for each in self.server.hashes.values() if each]), 2)

    def test_a_store_that_is_gone(self) -> None:
        """What happens meanwhile is known everywhere soon after the store is back."""
        server = self.server
        server.refused = True
        server.cut()
        self.one.happens(stuck(1), failed(2))
        self.two.happens(failed(3, b"b" * 16))
        self.pass_time(30)
        self.assertEqual(self.two.replica.versions, {(3, 1)})
        self.assertEqual(self.one.link.status().queued, 2)
        server.refused = False
        self.pass_time(_SOON)
        self.assertEqual(self.two.replica.versions, self.one.replica.versions)
        self.assertEqual(len(self.one.replica.versions), 3)
        ages = [event.age for event in self.two.replica.known.values() if event.version == (2, 1)]
        self.assertGreater(ages[0], 29_000)
        self.assertEqual(self.one.link.status().queued, 0)

    def test_one_replica_cut_off(self) -> None:
        """It reads what the others stored meanwhile, and that alone."""
        self.one.happens(*(failed(n, b"%016d" % n) for n in range(1, 301)))
        self.pass_time(600)
        self.two.stop()
        self.server.commands.clear()
        self.one.happens(stuck(400))
        self.two.store.start()
        self.two.link = StoreLink(
            self.clock, self.two.store, self.two.replica, _HORIZON, lambda: 0.5
        )
        self.two.link.start()
        self.pass_time(_SOON)
        self.assertIn((400, 1), self.two.replica.versions)

    def test_a_short_interruption_reads_little(self) -> None:
        """Only the minutes since the store was last up are read again."""
        self.pass_time(600)
        self.one.happens(stuck(1))
        self.turn()
        self.server.commands.clear()
        self.server.cut()
        self.pass_time(_SOON)
        read = {args[0] for args in self.server.sent(b"HSCAN")}
        self.assertIn(len(self.server.sent(b"HSCAN")), range(3, 40))
        self.assertLessEqual(len(read), 31)
        self.server.commands.clear()
        self.one.happens(stuck(2))
        self.two.happens(failed(3))
        self.turn()
        self.server.cut()
        self.pass_time(_SOON)
        self.assertLessEqual(len({args[0] for args in self.server.sent(b"HSCAN")}), 4)

    def test_a_store_that_lost_its_data(self) -> None:
        """The replicas write everything again, so that a later one starts warm."""
        self.one.happens(*(failed(n, b"%016d" % n) for n in range(1, 101)))
        self.pass_time(5)
        self.server.lose_data()
        self.server.cut()
        self.pass_time(_SOON + 5)
        third = self.router()
        self.pass_time(1)
        self.assertEqual(third.replica.versions, self.one.replica.versions)

    def test_a_full_store(self) -> None:
        """Events are published while writes are refused, and stored once they are accepted."""
        self.server.full = True
        self.one.happens(stuck(1), failed(2))
        self.turn()
        self.assertEqual(self.two.replica.versions, {(1, 1), (2, 1)})
        self.assertEqual(self.one.store.status().fault, "full")
        self.assertIn('lost_total{cause="not_stored"} 2.0', self.exposed(self.one))
        self.pass_time(20)
        self.server.full = False
        self.one.happens(failed(3, b"c" * 16))
        self.pass_time(_SOON)
        third = self.router()
        self.pass_time(1)
        self.assertEqual(third.replica.versions, {(1, 1), (2, 1), (3, 1)})

    def test_a_read_only_store(self) -> None:
        """Events are published there; the minutes are not read again with each new connection."""
        self.server.read_only = True
        self.one.happens(stuck(1))
        self.pass_time(3)
        self.assertEqual(self.two.replica.versions, {(1, 1)})
        self.server.commands.clear()
        self.pass_time(20)
        self.assertEqual(self.server.sent(b"HSCAN"), [])
        self.assertEqual(self.server.sent(b"PUBLISH"), [])  # nothing is published again and again
        self.one.happens(failed(2))
        self.pass_time(1)
        self.assertEqual(self.two.replica.versions, {(1, 1), (2, 1)})
        self.server.read_only = False
        self.pass_time(_SOON + 10)
        third = self.router()
        self.pass_time(1)
        self.assertEqual(third.replica.versions, {(1, 1), (2, 1)})

    def test_a_busy_store(self) -> None:
        """A warm start that is refused is read later, without a new connection."""
        self.one.happens(stuck(1))
        self.turn()
        self.server.errors[b"HSCAN"] = b"BUSY Redis is busy running a script"
        third = self.router()
        self.pass_time(10)
        self.assertEqual(third.link.status().warm, "waiting")
        connected = self.server.connected
        self.server.errors.clear()
        self.pass_time(_SOON)
        self.assertEqual(third.replica.versions, {(1, 1)})
        self.assertEqual(self.server.connected, connected)

    def test_without_a_marker(self) -> None:
        """A user who may not read the marker shares all the same."""
        self.server.errors[b"GET"] = b"NOPERM this user has no permissions"
        third = self.router()
        self.pass_time(1)
        third.happens(stuck(1))
        self.turn()
        self.assertEqual(self.one.replica.versions, {(1, 1)})
        self.assertEqual(third.link.status().warm, "loaded")

    def test_lost_while_connecting(self) -> None:
        """A connection that is lost at any moment leaves nothing undone."""
        self.one.happens(*(failed(n, b"%016d" % n) for n in range(1, 501)))
        self.turn()
        third = self.router()
        for turns in range(12):
            for _ in range(turns):
                self.clock.advance(0)
            self.server.cut()
            self.pass_time(1.0)
        self.pass_time(_SOON)
        self.assertEqual(third.replica.versions, self.one.replica.versions)

    def test_a_batch_that_is_none(self) -> None:
        """It is counted, and the next one is sent."""
        self.one.link.send(b"nonsense")
        self.one.happens(stuck(1))
        self.turn()
        self.assertEqual(self.two.replica.versions, {(1, 1)})
        self.assertEqual(self.one.replica.missed, 1)

    def test_writes_refused_at_times(self) -> None:
        """The tables are not written again with each recovery."""
        self.one.happens(*(failed(n, b"%016d" % n) for n in range(1, 101)))
        self.turn()
        self.server.commands.clear()
        for counter in range(1000, 1040):
            self.server.full = not self.server.full
            self.one.happens(stuck(counter))
            self.pass_time(0.5)
        # 20 s: two or three times everything in batches of ten, and the events themselves.
        self.assertLess(len(self.server.sent(b"HSET")), 40 + 3 * 11)

    def test_refused_messages(self) -> None:
        """What may not be published is counted."""
        self.server.errors[b"PUBLISH"] = b"NOPERM this user has no permissions"
        self.one.happens(stuck(1))
        self.turn()
        self.assertEqual(self.two.replica.versions, set())
        self.assertEqual(self.one.replica.missed, 1)
        self.assertIn('lost_total{cause="refused"} 1.0', self.exposed(self.one))

    def test_a_pause(self) -> None:
        """A paused store holds nothing; afterwards all is known, and nothing is lost."""
        self.server.paused = True
        for counter in range(1, 21):
            self.one.happens(failed(counter, b"%016d" % counter))
            self.pass_time(1)
        self.server.resume()
        self.pass_time(_SOON)
        self.assertEqual(self.two.replica.versions, self.one.replica.versions)
        self.assertEqual(self.one.link.status().lost, 0)

    def test_a_long_outage(self) -> None:
        """The queue is bounded; what it drops is counted, and told again later from the tables."""
        self.patch(store_queue, "MAX_EVENTS", 50)
        self.server.refused = True
        self.server.cut()
        for start in range(0, 200, 10):
            self.one.happens(*(failed(n, b"%016d" % n) for n in range(start, start + 10)))
            self.pass_time(0.25)
        status = self.one.link.status()
        self.assertEqual((status.queued, status.lost), (50, 150))
        self.assertEqual(self.one.replica.missed, 150)
        self.assertIn("queue_events 50.0", self.exposed(self.one))
        self.server.refused = False
        self.pass_time(_SOON)
        self.assertEqual(self.two.replica.versions, self.one.replica.versions)

    def test_a_slow_store(self) -> None:
        """Only so many batches are under way; the others wait in the queue, newest state alone."""
        self.server.paused = True
        for counter in range(1, 41):
            self.one.happens(stuck(counter))
            self.clock.advance(0.01)
        commands = [command for _, command in self.server.waiting]
        self.assertEqual(sum(each[0] == b"PUBLISH" for each in commands), 4)
        self.assertEqual(self.one.link.status().queued, 1)
        self.server.resume()
        self.turn()
        self.assertEqual(self.two.replica.versions, {(40, 1)})

    def test_too_many_commands(self) -> None:
        """If others fill the queue of commands, events are sent a moment later."""
        self.patch(store, "MAX_DUE", 0)
        self.one.happens(stuck(1))
        self.turn()
        self.assertEqual(self.one.link.status().queued, 1)
        self.patch(store, "MAX_DUE", 1000)
        self.pass_time(1)
        self.assertEqual(self.two.replica.versions, {(1, 1)})

    def test_foreign_data(self) -> None:
        """Nonsense in the channel and in the hashes is counted, and harms nothing."""
        self.one.happens(stuck(1))
        self.turn()
        (key,) = [name for name, values in self.server.hashes.items() if values]
        self.server.hashes[key].update(
            {b"1": b"", b"2": b"x" * 70_000, b"3": b"\0" * 8 + b"nonsense", b"4": b"\xff" * 8}
        )
        for message in (b"", b"short", b"12345678", b"12345678" + b"x" * 70_000):
            self.server.publish(b"chutes-autopilot:events", message)
        self.turn()
        third = self.router()
        self.pass_time(1)
        self.assertEqual(third.replica.versions, {(1, 1)})
        self.assertIn('lost_total{cause="malformed"} 4.0', self.exposed(third))
        self.assertIn('lost_total{cause="malformed"} 4.0', self.exposed(self.two))

    def test_an_endless_scan(self) -> None:
        """A cursor that never ends, or that is none, does not keep the router busy."""
        self.patch(store_link, "_MOST_STEPS", 20)
        third = self.router()
        for reply in (b"*2\r\n$1\r\n7\r\n*0\r\n", b":1\r\n", b"*2\r\n*0\r\n:1\r\n"):
            self.patch(self.server, "_hscan", lambda *_, reply=reply: reply)
            self.server.cut()
            self.server.commands.clear()
            self.pass_time(_SOON)
            for _ in range(20 * 40):
                self.clock.advance(0)
            self.assertLessEqual(len(self.server.sent(b"HSCAN")), 3 * 20 * 32)
            self.assertEqual(third.link.status().warm, "loaded")

    def test_no_token_of_the_sender(self) -> None:
        """A batch under another sender's name arrives; one under the own name is dropped."""
        self.one.happens(stuck(1))
        self.turn()
        ((channel, message),) = [tuple(args) for args in self.server.sent(b"PUBLISH")]
        self.server.publish(channel, message)
        self.turn()
        self.assertEqual(self.one.replica.batches, [])
        self.assertEqual(len(self.two.replica.batches), 2)

    def before_reply(self, command: str, action: Callable[[], None]) -> None:
        """Let something happen between the next command of a name and its reply."""
        method = getattr(self.server, command)

        def act(*args: object) -> bytes:
            setattr(self.server, command, method)
            self.clock.callLater(0, action)
            reply: bytes = method(*args)
            return reply

        self.patch(self.server, command, act)

    def loading(self) -> Router:
        """Start a replica, and pause the server in the middle of its warm start."""
        self.server.commands.clear()
        self.before_reply("_hscan", lambda: setattr(self.server, "paused", True))
        third = self.router()
        self.turn()
        self.assertEqual(third.link.status().warm, "loading")
        return third

    def test_stop_during_a_warm_start(self) -> None:
        """The rest is not read."""
        self.one.happens(stuck(1))
        self.turn()
        third = self.loading()
        third.link.stop()
        self.server.resume()
        self.pass_time(_SOON)
        self.assertEqual(len(self.server.sent(b"HSCAN")), 2)  # one of them was under way
        self.assertEqual(third.link.status().warm, "waiting")

    def test_stop_before_the_marker(self) -> None:
        """A reply to a link that was stopped begins nothing."""
        self.server.commands.clear()
        stopped: list[Router] = []
        self.before_reply("_get", lambda: stopped[0].link.stop())
        third = self.router()
        stopped.append(third)
        self.pass_time(1)
        self.assertEqual(len(self.server.sent(b"GET")), 1)
        self.assertEqual(self.server.sent(b"HSCAN"), [])
        self.assertEqual(third.link.status().warm, "waiting")

    def test_lost_before_the_marker(self) -> None:
        """A connection that is lost then begins nothing; the next one does."""
        self.one.happens(stuck(1))
        self.turn()
        self.server.commands.clear()
        self.before_reply("_get", self.server.cut)
        third = self.router()
        self.turn()
        self.assertEqual(len(self.server.sent(b"GET")), 1)
        self.assertEqual(self.server.sent(b"HSCAN"), [])
        self.pass_time(_SOON)
        self.assertEqual(third.replica.versions, {(1, 1)})
        self.assertEqual(self.server.sent(b"PUBLISH"), [])  # as if the store had lost its data

    def test_messages_lost_during_a_warm_start(self) -> None:
        """It begins again: what was published meanwhile may be in a minute that was read."""
        self.one.happens(stuck(1))
        self.turn()
        others = set(self.server.clients)
        third = self.loading()
        (messages,) = [each for each in self.server.clients - others if each.channels]
        messages.lose(ConnectionLost())
        self.pass_time(0.25)
        self.server.resume()
        self.pass_time(_SOON)
        keys = [args[0] for args in self.server.sent(b"HSCAN")]
        self.assertEqual((keys.count(keys[0]), keys.count(keys[-1])), (2, 1))
        self.assertEqual(third.link.status().warm, "loaded")
        self.assertEqual(third.replica.versions, {(1, 1)})

    def test_a_connection_before_the_retry(self) -> None:
        """What waits to be sent again is sent with the new connection; the retry is cancelled."""
        self.server.paused = True
        self.one.happens(stuck(1))
        self.server.cut()
        self.server.paused = False
        self.server.waiting.clear()
        self.pass_time(0.375)
        self.assertEqual(len(self.server.sent(b"PUBLISH")), 1)
        self.one.stop()
        self.two.stop()
        self.turn()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_loaded_before_the_reload(self) -> None:
        """A warm start that a new connection brought is not read a second time."""
        self.server.errors[b"HSCAN"] = b"BUSY Redis is busy running a script"
        third = self.router()
        self.pass_time(1)
        self.server.errors.clear()
        self.server.cut()
        self.pass_time(0.875)
        self.assertEqual(third.link.status().warm, "loaded")
        self.server.commands.clear()
        self.pass_time(_SOON)
        self.assertEqual(self.server.sent(b"HSCAN"), [])

    def test_gone_before_everything_is_told(self) -> None:
        """Replicas that were about to write everything again do so when the store is back."""
        self.one.happens(*(failed(n, b"%016d" % n) for n in range(1, 101)))
        self.pass_time(15)
        self.server.lose_data()
        self.server.cut()
        self.pass_time(0.375)
        self.server.refused = True
        self.server.cut()
        self.pass_time(1)
        self.server.refused = False
        self.pass_time(_SOON + 15)
        third = self.router()
        self.pass_time(1)
        self.assertEqual(third.replica.versions, self.one.replica.versions)

    def test_stop(self) -> None:
        """Nothing is left, at any time."""
        for seconds in (0, 0.125, 0.25, 3):
            for fault in (None, "paused", "full", "refused"):
                server = self.server = Server(self.clock)
                router = self.router()
                self.pass_time(seconds)
                router.happens(stuck(1))
                if fault is not None:
                    setattr(server, fault, True)
                    router.happens(stuck(2))
                self.pass_time(seconds)
                router.stop()
        self.one.stop()
        self.two.stop()
        self.pass_time(1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
