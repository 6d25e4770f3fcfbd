"""Replicas that share feeds over a store in memory, each with a clock in the hand of the test."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.feeds.feed_store import ACQUIRE, PUBLISH, RELEASE, RENEW
from autopilot.feeds.polling import CATALOG, UTILIZATION, FeedStatus
from autopilot.feeds.shared_feed import FeedRole
from autopilot.feeds.shared_snapshots import FeedSource, SharedSnapshots
from autopilot.process.hold_watch import Activity
from autopilot.state.sharing.store_fault import StoreFault, StoreRefused, StoreUnavailable
from tests.unit.feeds.planes import FeedInHand
from tests.unit.feeds.records import MEASURED, catalog_body, entry, record, utilization_body

LEASE = 30.0
MODELS_EVERY = 300.0
UTILIZATION_EVERY = 15.0
STEP = 0.05
EPOCH = 1_800_000_000.0


class Server:
    """As much of a Redis server as feeds need, with a clock of its own."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.values: dict[bytes, tuple[bytes, float]] = {}
        self.listeners: list[MemoryStore] = []
        self.commands: list[bytes] = []
        self.full = False
        self.delay = 0.0
        """Seconds after which a script is carried out, as by a paused server."""
        self.step = 0.0
        """Seconds by which its clock was set, unknown to the replicas."""

    def time(self) -> float:
        """Return the server's time in seconds since 1970."""
        return EPOCH + self.clock.seconds()

    def get(self, key: bytes) -> bytes | None:
        """Return a value that has not expired."""
        value, expires = self.values.get(key, (b"", 0.0))
        return value if self.clock.seconds() < expires else None

    def set(self, key: bytes, value: bytes, milliseconds: bytes) -> None:
        """Set a value with an expiry."""
        if self.full:
            raise StoreRefused("OOM command not allowed")
        self.values[key] = value, self.clock.seconds() + int(milliseconds) / 1000

    def execute(self, args: tuple[bytes, ...]) -> object:
        """Return the reply to a command."""
        self.commands.append(args[0] if args[0] != b"EVAL" else b"EVAL:" + _name(args[1]))
        match args:
            case b"GET", key:
                return self.get(key)
            case b"SET", key, value, b"PX", milliseconds:
                self.set(key, value, milliseconds)
                return b"OK"
            case b"PEXPIRE", key, milliseconds:
                kept = self.get(key)
                if kept is None:
                    return 0
                self.values[key] = kept, self.clock.seconds() + int(milliseconds) / 1000
                return 1
            case b"EVAL", script, _count, *rest:
                return self.run(script, *rest)
            case _:
                raise AssertionError(args)

    def run(self, script: bytes, lease: bytes, *args: bytes) -> int:
        """Do what a script does."""
        *keys, token = args[: 2 if script == PUBLISH else 1]
        rest = args[len(keys) + 1 :]
        holder = self.get(lease)
        if script == ACQUIRE:
            if holder not in (None, token):
                return int((self.values[lease][1] - self.clock.seconds()) * 1000)
            self.set(lease, token, rest[0])
            return -9
        if holder != token:
            return 0
        if script == RENEW:
            return int(str(self.execute((b"PEXPIRE", lease, rest[0]))))
        if script == RELEASE:
            del self.values[lease]
            self.publish(rest[0], b"free")
            return 1
        value, keep, channel, sent, late = rest
        now = self.time() + self.step
        if (now + self.delay) * 1000 - int(sent) > int(late):
            return 2
        message = b"%d %b" % (now * 1000, value)
        self.set(keys[0], message, keep)
        self.publish(channel, message)
        return 1

    def publish(self, channel: bytes, message: bytes) -> None:
        """Send a message to all who listen."""
        for each in self.listeners:
            each.deliver(channel, message)


def _name(script: bytes) -> bytes:
    return {ACQUIRE: b"acquire", RENEW: b"renew", RELEASE: b"release", PUBLISH: b"publish"}[script]


class MemoryStore:
    """One replica's connection to the server; replies take a moment."""

    def __init__(self, server: Server, clock: Clock) -> None:
        self.server = server
        self.available = True
        self.silent = False
        """Whether nothing arrives from the server, as if all were lost on the way."""
        self._clock = clock
        self._watchers: list[Callable[[], None]] = []
        self._channels: dict[bytes, Callable[[bytes], None]] = {}
        server.listeners.append(self)

    def key(self, *parts: bytes) -> bytes:
        """See `SharingStore`."""
        return b":".join((b"prefix", *parts))

    def now(self) -> float:
        """See `SharingStore`."""
        return self.server.time()

    def when_up(self, watcher: Callable[[], None]) -> None:
        """See `SharingStore`."""
        self._watchers.append(watcher)

    def subscribe(self, channel: bytes, received: Callable[[bytes], None]) -> None:
        """See `SharingStore`."""
        self._channels[channel] = received

    def command(self, *args: bytes) -> Deferred[object]:
        """See `SharingStore`."""
        if not self.available:
            return fail(StoreUnavailable(StoreFault.UNREACHED))
        reply: Deferred[object] = Deferred()
        if self.silent:
            return reply
        try:
            result = self.server.execute(args)
        except StoreRefused as error:
            self._clock.callLater(STEP / 10, self._answer, reply.errback, error)
        else:
            self._clock.callLater(STEP / 10, self._answer, reply.callback, result)
        return reply

    def _answer(self, fire: Callable[[object], None], result: object) -> None:
        deferred: Deferred[object] = fire.__self__  # type: ignore[attr-defined]
        if not deferred.called:
            fire(result)

    def deliver(self, channel: bytes, message: bytes) -> None:
        """Deliver a message."""
        if self.available and not self.silent and channel in self._channels:
            self._clock.callLater(STEP / 10, self._channels[channel], message)

    def go(self) -> None:
        """Be gone."""
        self.available = False

    def come(self) -> None:
        """Be there again."""
        self.available = True
        for watcher in self._watchers:
            watcher()


class Replica:
    """A router's control plane, with feeds and a clock in the test's hand."""

    def __init__(
        self,
        server: Server,
        number: int,
        lease: float,
        url: str = "https://a.test",
        key: bytes = b"k",
    ) -> None:
        self.clock = Clock()
        self.moves = True
        self.broken = False
        """Whether its utilization feed fails, as far as the test notes that."""
        self.jitter = number / 10
        self.store = MemoryStore(server, self.clock)
        self.models = FeedInHand(self.clock)
        self.utilization = FeedInHand(self.clock)
        self.seen: list[tuple[str, str, int]] = []
        self.plane = SharedSnapshots(
            self.clock,
            self.store,
            {
                CATALOG: FeedSource(f"{url}/models", self.models.fetch, MODELS_EVERY),
                UTILIZATION: FeedSource(f"{url}/load", self.utilization.fetch, UTILIZATION_EVERY),
            },
            lease,
            f"replica-{number}",
            key,
            lambda: self.jitter,
            lambda *event: self.seen.append(event),
            lambda: MEASURED + 1800.0 + self.clock.seconds(),
            Activity(),
        )

    def role(self, feed: str = UTILIZATION) -> FeedRole | None:
        """Return what the replica does for a feed."""
        return self.plane.roles().get(feed)

    def status(self, feed: str = UTILIZATION) -> FeedStatus:
        """Return the status of a feed."""
        return self.plane.status(feed)

    def gives(self, models: bytes | None = None, utilization: bytes | None = None) -> None:
        """Let the feeds answer each fetch, with different loads every time if not told which."""
        self.models.gives(models or catalog_body(entry("a")))
        if utilization is not None:
            self.utilization.gives(utilization)
            return

        def loads() -> Deferred[bytes]:
            number = len(self.utilization.started)
            answer: Deferred[bytes] = Deferred()
            answer.callback(utilization_body(record("a", total_requests_5m=number)))
            return answer

        self.utilization.answer = loads


class ReplicasTestCase(SynchronousTestCase):
    """Some replicas and their store."""

    lease = LEASE

    def setUp(self) -> None:
        """Start a server, and no replica."""
        self.server = Server()
        self.replicas: list[Replica] = []

    def replica(
        self, *, started: bool = True, url: str = "https://a.test", key: bytes = b"k"
    ) -> Replica:
        """Add a replica whose feeds answer."""
        one = Replica(self.server, len(self.replicas), self.lease, url, key)
        one.clock.advance(self.server.clock.seconds())
        one.gives()
        self.replicas.append(one)
        if started:
            one.plane.start()
            self.run_for(STEP)
        return one

    def run_for(self, seconds: float, step: float = STEP) -> None:
        """Let time pass, except for replicas that do not move."""
        for _ in range(round(seconds / step)):
            self.server.clock.advance(step)
            for each in self.replicas:
                if each.moves:
                    each.clock.advance(step)

    def fetches(self, feed: str = UTILIZATION) -> list[float]:
        """Return when any replica began to fetch a feed."""
        return sorted(
            at
            for each in self.replicas
            for at in (each.models if feed == CATALOG else each.utilization).started
        )

    def roles(self, feed: str = UTILIZATION) -> list[str]:
        """Return the role of each replica."""
        return [each.role(feed) or "" for each in self.replicas]
