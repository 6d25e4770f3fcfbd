"""A connection to the store that is made again whenever it is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Factory

from autopilot.state.sharing.resp import RespConnection
from autopilot.state.sharing.store_fault import (
    StoreFault,
    StoreRefused,
    StoreUnavailable,
    fault_of,
)

if TYPE_CHECKING:
    from twisted.internet.interfaces import (
        IAddress,
        IDelayedCall,
        IProtocol,
        IReactorTime,
        IStreamClientEndpoint,
    )
    from twisted.python.failure import Failure

ATTEMPT: Final = 2.0
"""Seconds that connecting may take, TLS and the first replies included."""

MAX_PAUSE: Final = 2.0
"""The most seconds between two attempts."""

_FIRST_PAUSE: Final = 0.1
_LAST_PAUSE: Final = 1.5
_JITTER: Final = 0.25
# A connection that lasts shorter has not shown that the store is well.
_STEADY: Final = 2.0


class Opening(NamedTuple):
    """One of the first commands of a connection, and what a refusal without a known code means."""

    command: Sequence[bytes]
    refused: StoreFault


class StoreConnection:
    """Connects, introduces itself, and connects again after a pause that grows up to `MAX_PAUSE`.

    ``opening`` returns the first commands of each connection; if one of them fails, so does the
    attempt. ``up`` is called after each successful one, ``down`` after each failed one and each
    loss. ``jitter`` returns numbers from -1 to 1.
    """

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: IStreamClientEndpoint,
        opening: Callable[[], Sequence[Opening]],
        jitter: Callable[[], float],
        *,
        up: Callable[[], None],
        down: Callable[[StoreFault], None],
        received: Callable[[bytes, bytes], None],
    ) -> None:
        self._clock = clock
        self._endpoint = endpoint
        self._opening = opening
        self._jitter = jitter
        self._up = up
        self._down = down
        self._received = received
        self._connecting: Deferred[IProtocol] | None = None
        self._protocol: RespConnection | None = None
        self._timer: IDelayedCall | None = None
        self._pause = _FIRST_PAUSE
        self._up_since: float | None = None
        self.fault: StoreFault | None = StoreFault.STOPPED
        """Why it is down, or None; to be read, not written."""
        self.attempts = 0
        """Attempts to connect so far; to be read, not written."""

    @property
    def due(self) -> int:
        """The number of replies that are due."""
        return 0 if self._protocol is None else self._protocol.due

    @property
    def due_bytes(self) -> int:
        """The bytes of the commands whose replies are due."""
        return 0 if self._protocol is None else self._protocol.due_bytes

    @property
    def round_trip(self) -> float | None:
        """The seconds between the last command and its reply, if the connection is up."""
        return None if self._protocol is None else self._protocol.round_trip

    def start(self) -> None:
        """Begin to connect."""
        if self._connecting is None and self._protocol is None and self._timer is None:
            self._connect()

    def stop(self) -> None:
        """Close the connection, and connect no more."""
        self.fault = StoreFault.STOPPED
        self._up_since = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.abort(StoreFault.STOPPED)

    def send(self, args: Sequence[bytes]) -> Deferred[object]:
        """Send a command, or fail at once with `StoreUnavailable` while the connection is down."""
        if self.fault is not None or self._protocol is None:
            unavailable: Deferred[object] = Deferred()
            unavailable.errback(StoreUnavailable(self.fault or StoreFault.STOPPED))
            return unavailable
        return self._protocol.send(args)

    def replace(self, fault: StoreFault) -> None:
        """Give up the connection, if there is one, because of ``fault``, and make another."""
        if self._protocol is not None:
            self._protocol.abort(fault)

    def _connect(self) -> None:
        self.attempts += 1
        self._timer = self._clock.callLater(ATTEMPT, self._expired)
        self._connecting = self._endpoint.connect(_Factory(self._build))
        self._connecting.addCallbacks(self._connected, self._failed)

    def _build(self) -> RespConnection:
        return RespConnection(self._clock, self._lost, self._received)

    def _connected(self, protocol: IProtocol) -> None:
        self._connecting = None
        self._protocol = connection = cast("RespConnection", protocol)
        replies = [
            connection.send(each.command).addErrback(_refused, each.refused)
            for each in self._opening()
        ]
        introduced = gatherResults(replies, consumeErrors=True)
        introduced.addCallbacks(
            lambda _: self._introduced(connection),
            lambda failure: connection.abort(fault_of(failure.value.subFailure)),
        )

    def _introduced(self, connection: RespConnection) -> None:
        if connection is not self._protocol:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.fault = None
        self._up_since = self._clock.seconds()
        self._up()

    def _expired(self) -> None:
        """Give up an attempt that took too long."""
        self._timer = None
        if self._connecting is not None:
            self._connecting.cancel()
        elif self._protocol is not None:
            self._protocol.abort(StoreFault.SLOW)

    def _failed(self, failure: Failure) -> None:
        """Try again after an attempt that led to no connection, unless `stop` cancelled it."""
        if self._connecting is None:
            return
        self._connecting = None
        # Cancelled by `_expired`: a look-up that takes long then fails as one without a result.
        self._again(fault_of(failure) if self._timer is not None else StoreFault.SLOW)

    def _lost(self, connection: RespConnection, fault: StoreFault) -> None:
        if connection is self._protocol:
            self._protocol = None
            self._again(fault)

    def _again(self, fault: StoreFault) -> None:
        """Connect again after a pause."""
        if self._timer is not None:
            self._timer.cancel()
        up_since, self._up_since = self._up_since, None
        if up_since is not None and self._clock.seconds() - up_since >= _STEADY:
            self._pause = _FIRST_PAUSE
        pause = min(self._pause * (1 + _JITTER * self._jitter()), MAX_PAUSE)
        self._pause = min(2 * self._pause, _LAST_PAUSE)
        self._timer = self._clock.callLater(pause, self._retry)
        self.fault = fault
        self._down(fault)

    def _retry(self) -> None:
        self._timer = None
        self._connect()


def _refused(failure: Failure, meaning: StoreFault) -> None:
    """Fail with what a refusal of one of the first commands means."""
    refusal = failure.trap(StoreRefused, StoreUnavailable) and failure.value
    if isinstance(refusal, StoreRefused) and refusal.fault is StoreFault.REFUSED:
        raise StoreUnavailable(meaning)
    failure.raiseException()


class _Factory(Factory):
    """Builds the one connection of an attempt."""

    noisy = False

    def __init__(self, build: Callable[[], RespConnection]) -> None:
        self._build = build

    def buildProtocol(self, addr: IAddress | None) -> RespConnection:
        """See `IProtocolFactory`."""
        return self._build()
