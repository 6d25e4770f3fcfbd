"""The shares of keys' limits that a router gets from the store, and the bans that routers find.

There is one value in the store for each key in use. A router computes what follows from it and its
own report, and replaces it by a script that does so only if it has not changed meanwhile. All who
use a key have equal shares of it: a router that has more gives up the rest first, and tells the
others that there is something to be had.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final

from msgspec import msgpack
from msgspec.structs import replace
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from autopilot.observability.log_rate_limit import LogRateLimit
from autopilot.routing.edge_circuit import REMEMBERED, EdgeBan
from autopilot.routing.edge_shares import (
    Granted,
    Report,
    SharedBucket,
    renewed,
)
from autopilot.state.edge_account import ADDRESS
from autopilot.state.sharing.store_fault import StoreRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

    from autopilot.state.edge_shares import SharingGovernor
    from autopilot.state.sharing.store import Store

RENEWED: Final = 2.0
"""Seconds after which a share is renewed."""

IDLE: Final = 5.0
"""Seconds after which the share of a key is given back that is not used."""

MOST_KEYS: Final = 10_000
"""Keys whose shares are kept."""

SWAP: Final = (
    b"local v = redis.call('GET', KEYS[1]) or ''\n"
    b"if v ~= ARGV[1] then return v end\n"
    b"redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])\n"
    b"return 1"
)
"""Replaces a value, or returns it if it is another than the one expected."""

_TICK: Final = 0.5
_MOST_AT_A_TICK: Final = 200
_MOST_TRIES: Final = 20
_KEPT: Final = 120.0
_REFUSED_FOR: Final = 10.0
_CLOSE: Final = 1e-6
_NAME_BYTES: Final = 8
# A value that cannot be read is taken for a bucket without tokens.
_UNREADABLE: Final = SharedBucket(fill=0.0)


@dataclass(slots=True)
class _Lease:
    """What is known of one key.

    ``raw`` is the store's value when it was last seen. ``again``: something has changed while a
    report was under way. ``ban`` and ``is_over`` are news that the store has not got yet.
    """

    used_at: float
    renewed_at: float
    raw: bytes = b""
    replicas: int = 1
    busy: bool = False
    again: bool = False
    probes: bool = False
    ban: EdgeBan | None = None
    is_over: bool = False


class EdgeSharing:
    """See the module, and `Sharer` for what the governor asks of it.

    ``governed`` returns whether the router counts calls at present.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: Store,
        governor: SharingGovernor,
        governed: Callable[[], bool] = lambda: True,
    ) -> None:
        self._clock = clock
        self._store = store
        self._governor = governor
        self._governed = governed
        self._name = secrets.token_hex(_NAME_BYTES)
        self._channel = store.key(b"edge")
        self._leases: dict[bytes, _Lease] = {}
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = clock
        self._refused_until = -inf
        self._stopped = False
        self._limit = LogRateLimit()

    def start(self) -> None:
        """Get shares from now on; that of the address shows how many routers there are."""
        self._governor.sharer = self
        self._store.subscribe(self._channel, self._received)
        self._store.when_up(self._up)
        self._ticking.start(_TICK, now=False)

    def stop(self) -> None:
        """Give everything back."""
        if not self._ticking.running:
            return
        self._ticking.stop()
        for key, lease in tuple(self._leases.items()):
            lease.busy = False
            self._renew(key, lease, leaves=True)
        self._leases.clear()
        self._stopped = True

    # -- what the governor asks

    @property
    def available(self) -> bool:
        """See `Sharer`."""
        if self._stopped or not self._store.available:
            return False
        return self._clock.seconds() >= self._refused_until

    def used(self, key: bytes) -> None:
        """See `Sharer`."""
        lease = self._leases.get(key)
        if lease is not None:
            lease.used_at = self._clock.seconds()
            return
        self._renew(key, self._new(key))

    def wants_probe(self, key: bytes) -> None:
        """See `Sharer`."""
        lease = self._lease(key)
        if not lease.probes:
            lease.probes = True
            self._renew(key, lease)

    def probed(self, key: bytes, *, is_over: bool) -> None:
        """See `Sharer`."""
        lease = self._lease(key)
        lease.probes, lease.is_over = False, is_over
        self._renew(key, lease)

    def banned(self, key: bytes, ban: EdgeBan) -> None:
        """See `Sharer`."""
        lease = self._lease(key)
        lease.probes, lease.is_over, lease.ban = False, False, self._shifted(ban, 1.0)
        self._renew(key, lease)

    # -- reports

    def _new(self, key: bytes) -> _Lease:
        if len(self._leases) >= MOST_KEYS:
            oldest = next(iter(self._leases))
            self._governor.lower(oldest, 0.0)
            del self._leases[oldest]
        now = self._clock.seconds()
        lease = self._leases[key] = _Lease(now, now)
        return lease

    def _lease(self, key: bytes) -> _Lease:
        return self._leases.get(key) or self._new(key)

    def _tick(self) -> None:
        """Renew the shares that are due, and give back those of keys that are not used."""
        now, due = self._clock.seconds(), 0
        if not self.available:
            for key in tuple(self._leases):
                if self._governor.is_needed(key):
                    self._governor.retry(key)
            return
        if self._governed():
            self.used(ADDRESS)
        for key, lease in tuple(self._leases.items()):
            if now - lease.renewed_at < RENEWED or lease.busy:
                continue
            due += 1
            if due > _MOST_AT_A_TICK:
                return
            if now - lease.used_at < IDLE or self._governor.is_needed(key) or lease.ban:
                self._renew(key, lease)
            else:
                self._renew(key, lease, leaves=True)
                del self._leases[key]

    def _renew(self, key: bytes, lease: _Lease, *, leaves: bool = False) -> None:
        """Report to the store, once the report before has been answered."""
        if lease.busy:
            lease.again = True
            return
        if not self.available:
            return
        lease.again, lease.renewed_at = False, self._clock.seconds()
        wants = 0.0 if leaves else 1.0 / lease.replicas
        had = self._governor.has(key)
        returns = self._governor.lower(key, wants) if had > wants + _CLOSE else 0.0
        report = Report(
            self._name,
            min(had, wants) if had > wants + _CLOSE else had,
            wants,
            returns,
            lease.ban,
            lease.is_over,
            lease.probes,
        )
        lease.busy = True
        self._report(key, lease, report, _MOST_TRIES)

    def _report(self, key: bytes, lease: _Lease, report: Report, tries: int) -> None:
        after, granted = renewed(_read(lease.raw), report, self._store.now())
        data = encode(after)
        ban = after.ban
        lasts = _KEPT
        if ban is not None:
            lasts += max(0.0, ban.until - after.at) + max(REMEMBERED, ban.seconds)
        name = self._store.key(b"edge", key.hex().encode() or b"address")
        sent = self._store.command(
            b"EVAL", SWAP, b"1", name, lease.raw, data, b"%d" % (lasts * 1000)
        )
        sent.addCallback(self._swapped, key, lease, report, tries, data, granted)
        sent.addErrback(self._failed, key, lease)

    def _swapped(
        self,
        reply: object,
        key: bytes,
        lease: _Lease,
        report: Report,
        tries: int,
        data: bytes,
        granted: Granted,
    ) -> None:
        """Go on with what was granted, or report again on top of what others have written."""
        if reply == 1:
            lease.raw, lease.busy = data, False
            if self._leases.get(key) is lease:
                self._granted(key, lease, report, granted)
            elif report.has or report.returns:
                self._tell(key)
            return
        lease.raw = bytes(reply) if isinstance(reply, bytes) else b""
        is_used_again = report.wants == 0.0 and key in self._leases
        is_late = report.wants > 0.0 and self._stopped
        if tries == 1 or is_used_again or is_late:
            lease.busy = False
            return
        self._report(key, lease, report, tries - 1)

    def _granted(self, key: bytes, lease: _Lease, report: Report, granted: Granted) -> None:
        lease.replicas = granted.replicas
        if key == ADDRESS:
            self._governor.replicas = granted.replicas
        told = report.ban is not None or report.is_over
        if lease.ban is report.ban:
            lease.ban = None
        lease.is_over = lease.is_over and not report.is_over
        self._circuit(key, lease, granted)
        self._governor.grant(key, granted.share, granted.fill)
        wants = 1.0 / granted.replicas
        if report.returns or told or granted.share < min(wants, report.wants) - _CLOSE:
            self._tell(key)
        if lease.again or granted.share > wants + _CLOSE or report.wants < wants - _CLOSE:
            self._renew(key, lease)

    def _circuit(self, key: bytes, lease: _Lease, granted: Granted) -> None:
        """Let the governor know of the ban of a key, unless there is news of it."""
        if lease.ban is not None or lease.is_over:
            return
        if granted.is_banned and granted.ban is not None:
            self._governor.learn(key, self._shifted(granted.ban, -1.0))
        else:
            self._governor.clear(key)
        if lease.probes and not granted.is_banned:
            lease.probes = False
        self._governor.may_probe(key, may=granted.probes)

    def _failed(self, failure: Failure, key: bytes, lease: _Lease) -> None:
        """Go on without the store."""
        lease.busy = False
        if failure.check(StoreRefused) is not None:
            self._refused_until = self._clock.seconds() + _REFUSED_FOR
            if self._limit.admit("refused", self._clock.seconds()) is not None:
                self._log.warn(
                    "STATE_URL: the store refuses the script by which routers share EDGE_RATE, so"
                    " each of them has a fixed part of it. Permit EVAL, GET and SET"
                )
        self._governor.retry(key)

    def _tell(self, key: bytes) -> None:
        """Let the others look at a key again."""
        if self._store.available:
            message = self._name.encode() + key
            self._store.command(b"PUBLISH", self._channel, message).addErrback(lambda _: None)

    def _received(self, message: bytes) -> None:
        sender, key = message[: 2 * _NAME_BYTES], message[2 * _NAME_BYTES :]
        lease = self._leases.get(key)
        if lease is not None and sender != self._name.encode():
            self._renew(key, lease)

    def _up(self) -> None:
        """Report everything to a store that was away, in turn."""
        self._refused_until = -inf
        for lease in self._leases.values():
            lease.renewed_at -= RENEWED

    def _shifted(self, ban: EdgeBan, sign: float) -> EdgeBan:
        """Return a ban by the store's clock, or with -1 by the router's own."""
        return replace(ban, until=ban.until + sign * (self._store.now() - self._clock.seconds()))


_encoder: Final = msgpack.Encoder()
_decoder: Final = msgpack.Decoder(SharedBucket)


def encode(bucket: SharedBucket) -> bytes:
    """Return a bucket as the store has it."""
    return _encoder.encode(bucket)


def decode(data: bytes) -> SharedBucket:
    """Return the bucket in these bytes.

    :raises ValueError: they are none.
    """
    bucket: SharedBucket = _decoder.decode(data)
    return bucket


def _read(raw: bytes) -> SharedBucket:
    if not raw:
        return SharedBucket()
    try:
        return decode(raw)
    except ValueError:
        return _UNREADABLE
