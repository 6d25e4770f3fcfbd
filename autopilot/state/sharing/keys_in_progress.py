"""The requests in progress with each key at all routers that share a store.

Each router tells the others how many it has as that changes, and all of them every few seconds. A
router that has not been heard of for a while has ended, and its requests with it.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import DecodeError, Meta, Struct, msgpack
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from autopilot.observability.log_rate_limit import LogRateLimit
from autopilot.state.budgets import Used

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

    from autopilot.state.key_ledger import KeyLedger
    from autopilot.state.sharing.store import Store

BETWEEN_MESSAGES: Final = 5.0
"""Seconds between messages with all that a router has in progress, if it has anything."""

FORGOTTEN_AFTER: Final = 15.0
"""Seconds after which a router that says nothing is taken to have ended."""

_SENDER_BYTES: Final = 8


class _Message(Struct, frozen=True, array_like=True):
    """Numbers of requests by key: all that are not 0 if ``whole``, else those that changed."""

    whole: bool
    counts: dict[str, Annotated[int, Meta(ge=0, le=1_000_000)]]


_encode = msgpack.Encoder().encode
_decode = msgpack.Decoder(_Message).decode


class _Router(Struct):
    """What another router has in progress, and when it was heard of last."""

    counts: dict[str, int]
    heard_at: float


class KeysInProgress:
    """Counts the requests of other routers, and tells them of this one's.

    ``in_progress`` returns the numbers by key that are counted here, those of others included.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: Store,
        ledger: KeyLedger,
        in_progress: Callable[[], Mapping[str, int]],
    ) -> None:
        self._clock = clock
        self._store = store
        self._ledger = ledger
        self._in_progress = in_progress
        self._sender = secrets.token_bytes(_SENDER_BYTES)
        self._channel = store.key(b"in-progress")
        self._limit = LogRateLimit()
        self._routers: dict[bytes, _Router] = {}
        self._counted: Counter[str] = Counter()
        self._told: dict[str, int] = {}
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = clock

    def start(self) -> None:
        """Listen and tell from now on."""
        self._ledger.moved = self._moved
        self._store.subscribe(self._channel, self._received)
        self._store.when_up(self._tell)
        self._ticking.start(BETWEEN_MESSAGES, now=False)

    def stop(self) -> None:
        """Tell the others that nothing is in progress here any more."""
        if self._ticking.running:
            self._ticking.stop()
            self._ledger.moved = _nothing
            self._publish(_Message(True, {}))

    def _mine(self) -> dict[str, int]:
        counted, mine = self._counted, {}
        for name, number in self._in_progress().items():
            if number > counted[name]:
                mine[name] = number - counted[name]
        return mine

    def _moved(self) -> None:
        """Tell what has changed."""
        mine, told = self._mine(), self._told
        changed = {
            name: mine.get(name, 0)
            for name in mine.keys() | told.keys()
            if mine.get(name) != told.get(name)
        }
        if changed:
            self._told = mine
            self._publish(_Message(False, changed))

    def _tick(self) -> None:
        """Forget the routers that have ended, and tell all."""
        late = self._clock.seconds() - FORGOTTEN_AFTER
        ended = [sender for sender, each in self._routers.items() if each.heard_at <= late]
        for sender in ended:
            del self._routers[sender]
        if ended:
            self._count()
        self._tell()

    def _tell(self) -> None:
        mine = self._mine()
        if (mine or self._told) and self._ticking.running:
            self._told = mine
            self._publish(_Message(True, mine))

    def _publish(self, message: _Message) -> None:
        if self._store.available:
            data = self._sender + _encode(message)
            self._store.command(b"PUBLISH", self._channel, data).addErrback(_ignore)

    def _received(self, data: bytes) -> None:
        sender, now = data[:_SENDER_BYTES], self._clock.seconds()
        if sender == self._sender:
            return
        try:
            message = _decode(data[_SENDER_BYTES:])
        except (DecodeError, RecursionError) as error:
            if self._limit.admit("malformed", now) is not None:
                self._log.warn(
                    "Keys: what another router has in progress is {problem}", problem=str(error)
                )
            return
        known = self._routers.get(sender)
        before = {} if known is None or message.whole else known.counts
        counts = {**before, **message.counts}
        self._routers[sender] = _Router({name: n for name, n in counts.items() if n}, now)
        self._count()

    def _count(self) -> None:
        """Count what the other routers have now instead of what they had."""
        others: Counter[str] = Counter()
        for each in self._routers.values():
            others.update(each.counts)
        before, self._counted = self._counted, others
        news = [
            Used(name, in_progress=others[name] - before[name])
            for name in others.keys() | before.keys()
            if others[name] != before[name]
        ]
        self._ledger.heard(news)


def _ignore(_: Failure) -> None:
    """Ignore that a message was lost: the next one says all."""


def _nothing() -> None:
    """Do nothing: the router stops."""
