"""The link to the other replicas over the store: events by its channel, a warm start by its hashes.

Nothing waits for the store. What cannot be sent is queued up to a limit, and what exceeds it is
counted; when the store is back, the queue is sent and what was missed is read.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from twisted.internet.defer import CancelledError, Deferred, DeferredList, FirstError, succeed
from twisted.python.failure import Failure

from autopilot.observability.instruments import Counter, Instrument, Readings
from autopilot.state.events import MAX_BATCH_BYTES, Event, decode, encode
from autopilot.state.sharing.store_fault import StoreRefused, StoreUnavailable
from autopilot.state.sharing.store_queue import StoreQueue
from autopilot.state.sharing.warm_start import MINUTE, WarmStart

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from autopilot.state.sharing.store import Store

_AT_ONCE: Final = 400
_MOST_IN_FLIGHT: Final = 4
_SENDER_BYTES: Final = 8
# Of one hash: a server whose cursor never ends does not keep the router busy.
_MOST_STEPS: Final = 1000
_RETRY: Final = 0.5
_RELOAD: Final = 2.0
_DUMP_STEP: Final = 0.02
# A store that refuses writes from time to time must not receive the tables each time.
_BETWEEN_DUMPS: Final = 10.0
_MARKER_LASTS: Final = b"%d" % (30 * 86_400_000)


class Replicas(Protocol):
    """What a link needs of the hub that it joins."""

    def received(self, batch: bytes, link: StoreLink) -> None:
        """Apply a batch, and pass it on by the other links."""

    def lost(self, events: int) -> None:
        """Count events that could not be sent."""

    def dump(self) -> Iterator[bytes]:
        """Yield batches with all that is known here."""


class LinkStatus(msgspec.Struct, frozen=True):
    """What the link has done so far, in events, and what waits.

    ``warm`` is ``waiting``, ``loading`` or ``loaded``.
    """

    queued: int
    published: int
    stored: int
    loaded: int
    lost: int
    warm: str


class StoreLink:
    """Sends batches to the other replicas, and hands theirs to ``hub``.

    ``horizon`` is how many seconds the longest memory of the tables lasts; ``jitter`` returns
    numbers from -1 to 1.
    """

    def __init__(
        self,
        clock: IReactorTime,
        store: Store,
        hub: Replicas,
        horizon: float,
        jitter: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._store = store
        self._hub = hub
        self._jitter = jitter
        self._sender = secrets.token_bytes(_SENDER_BYTES)
        self._channel = store.key(b"events")
        self._queue = StoreQueue()
        self._warm_start = WarmStart(store, horizon, decode)
        self._in_flight = 0
        self._ready = self._stopped = False
        self._marker: bytes | None = None
        self._incomplete = False
        self._up_until: float | None = None
        self._loading: Deferred[None] | None = None
        self._session = 0
        self._warm = "waiting"
        self._dumping: IDelayedCall | None = None
        self._dumped_at = -_BETWEEN_DUMPS
        self._retrying: IDelayedCall | None = None
        self._reloading: IDelayedCall | None = None
        self._events = Counter(
            "chutes_autopilot_store_events_total",
            "Events published to other replicas, stored for a warm start, and loaded from one.",
            "way",
        )
        self._lost = Counter(
            "chutes_autopilot_store_events_lost_total",
            "Events that were not published, not stored, or not understood, by cause.",
            "cause",
        )

    def start(self) -> None:
        """Listen, and begin when the store is there."""
        self._store.subscribe(self._channel, self._received)
        self._store.when_up(self._came_up)

    def stop(self) -> None:
        """End what is under way; batches are dropped from now on."""
        self._stopped = True
        loading, self._loading = self._loading, None
        if loading is not None:
            loading.cancel()
        for call in (self._dumping, self._retrying, self._reloading):
            if call is not None:
                call.cancel()
        self._dumping = self._retrying = self._reloading = None

    def send(self, batch: bytes) -> None:
        """Queue a batch, and send as much as the store accepts now; never block or raise."""
        if self._stopped:
            return
        self._add(batch)
        self._flush()

    def status(self) -> LinkStatus:
        """Return numbers for /status."""
        done = self._events.values
        return LinkStatus(
            queued=len(self._queue),
            published=done[("published",)],
            stored=done[("stored",)],
            loaded=done[("loaded",)],
            lost=sum(self._lost.values.values()),
            warm=self._warm,
        )

    def instruments(self) -> tuple[Instrument, ...]:
        """Return the metrics."""
        return (
            self._events,
            self._lost,
            Readings(
                "chutes_autopilot_store_queue_events",
                "Events that wait for the store of shared state.",
                (),
                lambda: (((), float(len(self._queue))),),
            ),
            Readings(
                "chutes_autopilot_store_queue_bytes",
                "Memory of the events that wait for the store of shared state, roughly.",
                (),
                lambda: (((), float(self._queue.bytes)),),
            ),
        )

    # Sending

    def _add(self, batch: bytes) -> None:
        try:
            events = decode(batch)
        except ValueError:  # a bug of ours: the hub hands on what it has read
            self._lose("malformed", 1)
        else:
            self._keep(events, self._clock.seconds())

    def _keep(self, events: list[Event], now: float) -> None:
        """Queue events whose ages are those of a time, and count what the queue drops for them."""
        dropped = self._queue.dropped
        self._queue.add(events, now)
        self._lose("queue", self._queue.dropped - dropped)

    def _lose(self, cause: str, number: int) -> None:
        """Count events that the others will not receive, and remember to tell them everything."""
        if number:
            self._lost.values[(cause,)] += number
            self._hub.lost(number)
            self._incomplete = True

    def _flush(self) -> None:
        """Send what waits, up to a number of events under way."""
        while (
            self._ready
            and self._retrying is None
            and self._store.available
            and len(self._queue)
            and self._in_flight < _MOST_IN_FLIGHT
        ):
            self._send(self._queue.take(_AT_ONCE, self._clock.seconds()))

    def _send(self, events: list[Event]) -> None:
        """Publish events and store them; both replies together end the sending."""
        sent_at = self._clock.seconds()
        self._in_flight += 1
        published = DeferredList(
            [
                self._store.command(b"PUBLISH", self._channel, self._sender + batch)
                for batch in encode(events)
            ],
            fireOnOneErrback=True,
            consumeErrors=True,
        )
        stored = self._warm_start.write(events)
        if stored is None:
            self._lost.values[("warm_start_full",)] += len(events)
            stored = succeed(None)
        both: list[Deferred[Any]] = [published, stored]
        DeferredList(both, consumeErrors=True).addCallback(self._sent, events, sent_at)

    def _sent(
        self, results: list[tuple[bool, object]], events: list[Event], sent_at: float
    ) -> None:
        self._in_flight -= 1
        (published, why_not), (stored, refusal) = results
        if published:
            self._events.values[("published",)] += len(events)
        if stored:
            self._events.values[("stored",)] += len(events)
        if _unavailable(why_not) or _unavailable(refusal):
            # Sent again later: an event that arrives twice changes nothing.
            self._keep(events, sent_at)
            if self._retrying is None and not self._stopped:
                self._retrying = self._clock.callLater(_RETRY, self._retry)
            return
        if not published:
            self._lose("refused", len(events))
        if not stored:
            self._lost.values[("not_stored",)] += len(events)
            self._incomplete = True
        elif published and self._incomplete:
            self._dump_soon()
        if self._warm == "loaded" and self._store.listening:
            self._up_until = self._store.now()
        self._flush()

    def _retry(self) -> None:
        self._retrying = None
        self._flush()

    # Receiving

    def _received(self, message: bytes) -> None:
        sender, batch = message[:_SENDER_BYTES], message[_SENDER_BYTES:]
        if sender == self._sender:
            return
        if not batch or len(batch) > MAX_BATCH_BYTES:
            self._lost.values[("malformed",)] += 1
            return
        self._hub.received(batch, self)

    # After each connection

    def _came_up(self) -> None:
        """See whether the store still has its data, then send, read, and tell what it lost."""
        if self._stopped:
            return
        key = self._store.key(b"marker")
        # A new one each time: the old one set again would look as if nothing had been lost.
        marker = secrets.token_bytes(_SENDER_BYTES)
        self._store.command(b"SET", key, marker, b"NX", b"PX", _MARKER_LASTS).addErrback(_ignored)
        self._store.command(b"GET", key).addCallbacks(self._begin, self._begin_without)

    def _begin_without(self, failure: Failure) -> None:
        if not _unavailable(failure):
            self._begin(None)

    def _begin(self, marker: object) -> None:
        # The replies to TIME and to the write that the store tries first are here by now.
        if self._stopped:
            return
        self._ready = True
        if marker is None or (self._marker is not None and marker != self._marker):
            self._incomplete = True
        self._marker = marker if isinstance(marker, bytes) else self._marker
        if self._retrying is not None:
            self._retrying.cancel()
        self._retry()
        # A store that is read-only gets a new connection for commands each second. No message was
        # missed by that.
        if self._store.sessions != self._session or self._warm == "waiting":
            self._session = self._store.sessions
            self._load()
        if self._incomplete and not self._store.refuses:
            self._dump_soon()

    def _load(self) -> None:
        """Read what was missed since the store was last up, or everything."""
        loading, self._loading = self._loading, None
        if loading is not None:
            loading.cancel()
        since = None if self._up_until is None else self._up_until - 2 * MINUTE
        self._warm = "loading"
        loading = self._loading = Deferred.fromCoroutine(self._read(self._warm_start.keys(since)))
        loading.addCallbacks(self._loaded, self._not_loaded)

    async def _read(self, keys: Iterator[bytes]) -> None:
        """Read step by step; each step is a turn of the reactor, as its reply arrives."""
        began = self._store.now()
        for key in keys:
            cursor = b"0"
            for _ in range(_MOST_STEPS):
                malformed = self._warm_start.malformed
                cursor, events = await self._warm_start.read(key, cursor)
                self._events.values[("loaded",)] += len(events)
                self._lost.values[("malformed",)] += self._warm_start.malformed - malformed
                for batch in encode(events):
                    self._hub.received(batch, self)
                if cursor == b"0":
                    break
        self._up_until = began

    def _loaded(self, _: None) -> None:
        self._loading = None
        self._warm = "loaded"

    def _not_loaded(self, failure: Failure) -> None:
        failure.trap(CancelledError, StoreUnavailable, StoreRefused)
        self._loading = None
        self._warm = "waiting"
        # A script that keeps the store busy does not end the connection.
        if self._store.available and not self._stopped and self._reloading is None:
            self._reloading = self._clock.callLater(_RELOAD, self._reload)

    def _reload(self) -> None:
        self._reloading = None
        if self._warm == "waiting" and self._store.available:
            self._load()

    # Telling everything

    def _dump_soon(self) -> None:
        """Send all that is known here, in a moment that differs from replica to replica."""
        if self._dumping is None:
            self._incomplete = False
            now = self._clock.seconds()
            wait = max(abs(self._jitter()), self._dumped_at + _BETWEEN_DUMPS - now)
            self._dumped_at = now + wait
            self._dumping = self._clock.callLater(wait, self._dump, self._hub.dump())

    def _dump(self, batches: Iterator[bytes]) -> None:
        self._dumping = None
        if not self._store.available:
            self._incomplete = True
            return
        if self._in_flight < _MOST_IN_FLIGHT and not len(self._queue):
            batch = next(batches, None)
            if batch is None:
                return
            self._add(batch)
            self._flush()
        self._dumping = self._clock.callLater(_DUMP_STEP, self._dump, batches)


def _unavailable(result: object) -> bool:
    """Return whether a command failed because the store was not there."""
    if not isinstance(result, Failure):
        return False
    reason = result.value
    if isinstance(reason, FirstError):
        reason = reason.subFailure.value
    return isinstance(reason, StoreUnavailable)


def _ignored(_: object) -> None:
    """Ignore the failure of a command beside another one that shows the same."""
