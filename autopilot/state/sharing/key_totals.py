"""The sums of what the keys spend at all routers that share a store.

Each router adds to the store's counters what it has counted, tells the others at once over a
channel, and reads the sums every few seconds. While the store is gone each router counts by itself,
and adds afterwards what it could not. A sum never falls before its day or month is over, not even
if the store has lost its data.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from autopilot.observability.log_rate_limit import LogRateLimit
from autopilot.routing.key_policy import Spent, day_of
from autopilot.state.budgets import Used
from autopilot.state.key_ledger import read_report, write_reports

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

    from autopilot.state.key_ledger import KeyLedger
    from autopilot.state.sharing.store import Store

BETWEEN_READS: Final = 5.0
_SENDER_BYTES: Final = 8
_EPOCH: Final = date(1970, 1, 1).toordinal()
_LASTS: Final = b"%d" % (40 * 86_400_000)
_TOKENS, _DOLLARS = b"tokens", b"picodollars"


class KeyTotals:
    """Adds to the sums in the store, and hears of what others add; see `Keeper`."""

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, store: Store, ledger: KeyLedger, wall: Callable[[], float]
    ) -> None:
        self._clock = clock
        self._store = store
        self._ledger = ledger
        self._wall = wall
        self._sender = secrets.token_bytes(_SENDER_BYTES)
        self._channel = store.key(b"keys")
        self._limit = LogRateLimit()
        # What the store has not counted yet, by day and key: tokens and picodollars.
        self._owed: dict[tuple[int, str], tuple[int, int]] = {}
        self._reading = LoopingCall(self._read)
        self._reading.clock = clock
        self._stopped = False

    def start(self) -> None:
        """Listen, and read the sums from now on."""
        self._store.subscribe(self._channel, self._received)
        self._store.when_up(self._read)
        self._reading.start(BETWEEN_READS, now=False)

    def stop(self) -> None:
        """Send what is owed, and read no more."""
        self._send()
        self._stopped = True
        if self._reading.running:
            self._reading.stop()

    def add(self, used: Sequence[Used]) -> None:
        """See `Keeper`."""
        day = day_of(self._wall())
        for each in used:
            if each.tokens or each.picodollars:
                self._owe(day, each.name, each.tokens, each.picodollars)
        # `KeysInProgress` has those in progress: a router that dies could never end them here.
        told = [Used(each.name, each.requests, 0, each.tokens, each.picodollars) for each in used]
        if self._store.available:
            for report in write_reports(told):
                command = self._store.command(b"PUBLISH", self._channel, self._sender + report)
                command.addErrback(_ignore)
        self._send()

    def _owe(self, day: int, name: str, tokens: int, picodollars: int) -> None:
        before = self._owed.get((day, name), (0, 0))
        self._owed[day, name] = before[0] + tokens, before[1] + picodollars

    def _send(self) -> None:
        """Add what is owed to the store's sums, if it is there."""
        if not self._store.available or self._stopped:
            return
        owed, self._owed = self._owed, {}
        touched: set[bytes] = set()
        for (day, name), (tokens, picodollars) in owed.items():
            places = self._places(day)
            touched.update(places)
            sent: list[Deferred[object]] = [
                self._store.command(b"HINCRBY", place, kind + b":" + name.encode(), b"%d" % number)
                for place in places
                for kind, number in ((_TOKENS, tokens), (_DOLLARS, picodollars))
            ]
            both = DeferredList(sent, consumeErrors=True)
            both.addCallback(self._sent, day, name, tokens, picodollars)
        for place in touched:
            self._store.command(b"PEXPIRE", place, _LASTS).addErrback(_ignore)

    def _sent(
        self,
        results: list[tuple[bool, object]],
        day: int,
        name: str,
        tokens: int,
        picodollars: int,
    ) -> None:
        """Owe again what was not added. If only some of it was, that is counted twice."""
        if not all(done for done, _ in results):
            self._owe(day, name, tokens, picodollars)

    def _places(self, day: int) -> tuple[bytes, bytes]:
        """Return the names of the sums of a UTC day and of its month."""
        on = date.fromordinal(day + _EPOCH).isoformat().encode("ascii")
        return self._store.key(b"spent", on), self._store.key(b"spent", on[:7])

    def _read(self) -> None:
        """Read the sums of today and of this month."""
        if not self._store.available or self._stopped:
            return
        self._send()
        day = day_of(self._wall())
        replies = [self._store.command(b"HGETALL", place) for place in self._places(day)]
        DeferredList(replies, consumeErrors=True).addCallback(self._sums, day)

    def _sums(self, results: list[tuple[bool, object]], day: int) -> None:
        (today_is_there, today), (month_is_there, month) = results
        if not (today_is_there and month_is_there):
            return
        of_day, of_month = _numbers(today), _numbers(month)
        spent: dict[str, Spent] = {}
        for name in {name for _, name in of_month} | {name for _, name in of_day}:
            spent[name] = Spent(
                day,
                of_day.get((_TOKENS, name), 0),
                of_day.get((_DOLLARS, name), 0),
                of_month.get((_TOKENS, name), 0),
                of_month.get((_DOLLARS, name), 0),
            )
        self._ledger.summed(spent)

    def _received(self, message: bytes) -> None:
        sender, report = message[:_SENDER_BYTES], message[_SENDER_BYTES:]
        if sender == self._sender:
            return
        try:
            self._ledger.heard(read_report(report).used)
        except ValueError as error:
            if self._limit.admit("malformed", self._clock.seconds()) is not None:
                self._log.warn("Keys: a report of another router is {problem}", problem=str(error))


def _numbers(reply: object) -> Mapping[tuple[bytes, str], int]:
    """Return the numbers of a hash by kind and key; what is none is left out."""
    found: dict[tuple[bytes, str], int] = {}
    items = reply if isinstance(reply, list) else []
    for field, value in zip(items[::2], items[1::2], strict=False):
        kind, _, name = bytes(field).partition(b":")
        try:
            found[kind, name.decode()] = int(value)
        except ValueError:
            continue
    return found


def _ignore(_: Failure) -> None:
    """Ignore that a command failed which another one makes up for."""
