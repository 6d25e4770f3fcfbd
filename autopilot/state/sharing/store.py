"""The store that routers share state over: a Redis or Valkey server that they never need.

Two connections lead there, one for commands and one for messages, so that a store that refuses
writes is still read. No command waits for a connection: while there is none it fails at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from autopilot.observability.instruments import Counter, Instrument, Readings
from autopilot.observability.log_rate_limit import FailureLog, LogRateLimit
from autopilot.state.sharing.store_connection import Opening, StoreConnection
from autopilot.state.sharing.store_fault import (
    TEXTS,
    StoreFault,
    StoreRefused,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
    from twisted.python.failure import Failure

MAX_DUE: Final = 1000
"""Commands whose replies may be due at a time."""

MAX_DUE_BYTES: Final = 40 * 2**20
"""Their bytes: two of the largest values of a feed."""

_ASK_TIME: Final = 15.0
_PROBE: Final = 1.0
_WRITES: Final = frozenset({b"SET", b"HSET"})
# Faults of a command that the server may accept later, as it is.
_REFUSALS: Final = frozenset(
    {
        StoreFault.FULL,
        StoreFault.READ_ONLY,
        StoreFault.BUSY,
        StoreFault.LOADING,
        StoreFault.FORBIDDEN,
        StoreFault.REFUSED,
    }
)


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """How the router introduces itself to the store, and what all its keys begin with."""

    user: bytes = b""
    password: bytes = field(default=b"", repr=False)
    database: int = 0
    prefix: bytes = b"chutes-autopilot"


class StoreStatus(msgspec.Struct, frozen=True):
    """The state of the store, in values without secrets.

    ``state`` is ``ok``, ``degraded`` (it is read, but refuses writes or commands) or ``down``.
    ``fault`` is empty or a value of `StoreFault`, and ``text`` explains it. ``since`` is how many
    seconds the state has lasted; ``attempts`` counts those to connect.
    """

    state: str
    fault: str
    text: str
    since: float
    attempts: int
    round_trip: float | None


class Store:
    """Commands to the store and messages from it.

    ``jitter`` returns numbers from -1 to 1, ``wall_clock`` the seconds since 1970.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: IStreamClientEndpoint,
        access: StoreAccess,
        jitter: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._access = access
        self._wall_clock = wall_clock
        self._channels: dict[bytes, Callable[[bytes], None]] = {}
        self._watchers: list[Callable[[], None]] = []
        self._failures = FailureLog(self._log, clock.seconds)
        self._limit = LogRateLimit()
        self._refusal: StoreFault | None = None
        self._reported: StoreFault | None = StoreFault.STOPPED
        self._since = clock.seconds()
        self._offset: float | None = None
        self.sessions = 0
        """How often messages began to arrive; to be read, not written."""
        self.tried_writing = False
        """Whether the store has accepted or refused a write; to be read, not written."""
        self._asking: IDelayedCall | None = None
        self._probing: IDelayedCall | None = None
        self._errors = Counter(
            "chutes_autopilot_store_errors_total",
            "Connections to the store of shared state that failed, and commands it refused.",
            "fault",
        )
        self._commands = StoreConnection(
            clock,
            endpoint,
            self._introduction,
            jitter,
            up=self._commands_up,
            down=self._connection_down,
            received=lambda _channel, _message: None,
        )
        self._messages = StoreConnection(
            clock,
            endpoint,
            self._subscriptions,
            jitter,
            up=self._messages_up,
            down=self._connection_down,
            received=self._received,
        )

    @property
    def available(self) -> bool:
        """Whether commands can be sent."""
        return self._commands.fault is None

    @property
    def refuses(self) -> bool:
        """Whether the last write was refused."""
        return self._refusal is not None

    @property
    def listening(self) -> bool:
        """Whether messages are received."""
        return self._messages.fault is None

    def key(self, *parts: bytes) -> bytes:
        """Return the name of a key or a channel of this router's replicas."""
        return b":".join((self._access.prefix, *parts))

    def now(self) -> float:
        """Return the seconds since 1970 by the store's clock, or by this host's if unknown.

        The replicas have no other clock in common.
        """
        if self._offset is None:
            return self._wall_clock()
        return self._clock.seconds() + self._offset

    def start(self) -> None:
        """Connect, and stay connected until `stop`."""
        self._commands.start()
        self._messages.start()

    def stop(self) -> None:
        """Close the connections; every command from now on fails at once."""
        for timer in (self._asking, self._probing):
            if timer is not None:
                timer.cancel()
        self._asking = self._probing = None
        self._commands.stop()
        self._messages.stop()
        self._note()

    def when_up(self, watcher: Callable[[], None]) -> None:
        """Call ``watcher`` whenever both connections are up after one was not."""
        self._watchers.append(watcher)

    def subscribe(self, channel: bytes, received: Callable[[bytes], None]) -> None:
        """Hand each message of ``channel`` to ``received``, on every connection from now on."""
        self._channels[channel] = received
        if self.listening:
            self._messages.send((b"SUBSCRIBE", channel)).addErrback(self._unsubscribed)

    def command(self, *args: bytes) -> Deferred[object]:
        """Send a command and return its reply: bytes, an integer, None, or a list of these.

        It fails with `StoreUnavailable` at once while the store is down, or if no reply arrives in
        time, and with `StoreRefused` if the reply is an error. Whoever cancels it must not assume
        that it was not executed.
        """
        commands = self._commands
        size = sum(map(len, args))
        if commands.due >= MAX_DUE or commands.due_bytes + size > MAX_DUE_BYTES:
            self._errors.values[(StoreFault.QUEUE,)] += 1
            too_many: Deferred[object] = Deferred()
            too_many.errback(StoreUnavailable(StoreFault.QUEUE))
            return too_many
        return commands.send(args).addCallbacks(
            self._accepted, self._refused, callbackArgs=(args[0],), errbackArgs=(args[0],)
        )

    def status(self) -> StoreStatus:
        """Return the present state."""
        fault = self._fault()
        down = self._commands.fault or self._messages.fault
        return StoreStatus(
            state="ok" if fault is None else "down" if down else "degraded",
            fault=fault or "",
            text="" if fault is None else TEXTS[fault],
            since=self._clock.seconds() - self._since,
            attempts=self._commands.attempts + self._messages.attempts,
            round_trip=self._commands.round_trip,
        )

    def instruments(self) -> tuple[Instrument, ...]:
        """Return the metrics."""
        return (
            self._errors,
            Readings(
                "chutes_autopilot_store_up",
                "Connections to the store of shared state: 1 if it is up.",
                ("connection",),
                self._ups,
            ),
            Readings(
                "chutes_autopilot_store_writable",
                "1 if the store of shared state is up and refused neither the last write nor the"
                " last command.",
                (),
                lambda: (((), float(self._fault() is None)),),
            ),
            Readings(
                "chutes_autopilot_store_round_trip_seconds",
                "Time of the last command to the store of shared state; -1 without a connection.",
                (),
                lambda: (((), -1 if (took := self._commands.round_trip) is None else took),),
            ),
        )

    def _ups(self) -> Iterable[tuple[Sequence[str], float]]:
        return (
            (("commands",), float(self.available)),
            (("messages",), float(self.listening)),
        )

    def _fault(self) -> StoreFault | None:
        return self._commands.fault or self._messages.fault or self._refusal

    def _introduction(self) -> list[Opening]:
        access = self._access
        opening: list[Opening] = []
        if access.password:
            user = (access.user,) if access.user else ()
            opening.append(Opening((b"AUTH", *user, access.password), StoreFault.CREDENTIALS))
        if access.database:
            opening.append(Opening((b"SELECT", b"%d" % access.database), StoreFault.DATABASE))
        # It fails if a password is needed, and while the server loads its data.
        opening.append(Opening((b"PING",), StoreFault.REFUSED))
        return opening

    def _subscriptions(self) -> list[Opening]:
        return self._introduction() + [
            Opening((b"SUBSCRIBE", channel), StoreFault.REFUSED) for channel in self._channels
        ]

    def _commands_up(self) -> None:
        self._ask_time()
        self._probe()
        self._came_up()

    def _messages_up(self) -> None:
        self.sessions += 1
        self._came_up()

    def _came_up(self) -> None:
        self._note()
        if self.available and self.listening:
            for watcher in self._watchers:
                self._guarded(watcher)

    def _connection_down(self, fault: StoreFault) -> None:
        self._errors.values[(fault,)] += 1
        self._note()

    def _ask_time(self) -> None:
        """Compare the clocks now, and again later."""
        if self._asking is not None:
            self._asking.cancel()
        self._asking = self._clock.callLater(_ASK_TIME, self._again)
        began = self._clock.seconds()
        self.command(b"TIME").addCallbacks(self._compare, lambda _: None, callbackArgs=(began,))

    def _again(self) -> None:
        self._asking = None
        if not self.available:
            return
        self._ask_time()

    def _compare(self, reply: object, began: float) -> None:
        try:
            seconds, micros = map(int, reply)  # type: ignore[call-overload]
        except (TypeError, ValueError):
            return
        halfway = (began + self._clock.seconds()) / 2
        self._offset = seconds + micros / 1e6 - halfway

    def _probe(self) -> None:
        """Show whether the store takes writes, by one without a meaning."""
        self.command(b"SET", self.key(b"probe"), b"", b"PX", b"1000").addErrback(lambda _: None)

    def _probe_later(self) -> None:
        if self._probing is None:
            self._probing = self._clock.callLater(_PROBE, self._probe_again)

    def _probe_again(self) -> None:
        self._probing = None
        if self._refusal is StoreFault.READ_ONLY:
            # After a fail-over the name leads to another server. The new connection probes it.
            self._commands.replace(StoreFault.READ_ONLY)
        elif self._refusal is not None:
            self._probe()

    def _accepted(self, reply: object, name: bytes) -> object:
        self.tried_writing |= name in _WRITES
        if name in _WRITES and self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            if refusal is StoreFault.READ_ONLY:
                # Messages must arrive from the server that takes the writes.
                self._messages.replace(StoreFault.READ_ONLY)
            self._note()
        return reply

    def _refused(self, failure: Failure, name: bytes) -> Failure:
        refused = failure.value
        if isinstance(refused, StoreRefused):
            self.tried_writing |= name in _WRITES
            self._errors.values[(refused.fault,)] += 1
            if refused.fault in _REFUSALS and name in _WRITES:
                self._refusal = refused.fault
                self._probe_later()
                self._note()
        return failure

    def _unsubscribed(self, failure: Failure) -> None:
        """Count a refused subscription; a lost connection is reported elsewhere."""
        if isinstance(failure.value, StoreRefused):
            self._messages.replace(failure.value.fault)

    def _received(self, channel: bytes, message: bytes) -> None:
        received = self._channels.get(channel)
        if received is not None:
            self._guarded(lambda: received(message))

    def _guarded(self, call: Callable[[], None]) -> None:
        """Call a callback; its exception must not end the connection."""
        try:
            call()
        except Exception:  # noqa: BLE001  a bug of ours
            self._failures.report("A callback of the store of shared state failed")

    def _note(self) -> None:
        """Log a change of the state, and the same one more and more rarely."""
        fault = self._fault()
        if fault is self._reported:
            return
        now = self._clock.seconds()
        lasted, self._since = now - self._since, now
        before, self._reported = self._reported, fault
        if fault is StoreFault.STOPPED:
            return
        if before is StoreFault.STOPPED and fault is None:
            self._log.info("STATE_URL: connected to the store; state is shared")
            return
        count = self._limit.admit(fault, now)
        if count is None:
            return
        again = f" ({count} times since the last such message)" if count > 1 else ""
        if fault is None:
            self._log.info(
                "STATE_URL: the store is well again after {lasted:.1f} s{again}",
                lasted=lasted,
                again=again,
            )
        else:
            self._log.warn(
                "STATE_URL: the store: {text}. The router goes on with what it knows, and tries"
                " again within two seconds{again}",
                text=TEXTS[fault],
                again=again,
            )
