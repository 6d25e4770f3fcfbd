"""Attested instances in a worker, which asks its parent for each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime

from autopilot.attestation.key_ring import KeyRing
from autopilot.attestation.private_instances import (
    Attested,
    Cause,
    ChuteStanding,
    UnavailableError,
)
from autopilot.attestation.private_report import PrivateReport
from autopilot.attestation.private_wire import (
    Acquire,
    Cancel,
    Event,
    Found,
    Hello,
    Missing,
    Notice,
    Standing,
    answer,
    encode,
    reason,
)

if TYPE_CHECKING:
    from autopilot.attestation.sealing import InstanceKey

_Key = TypeVar("_Key")

READY_SECONDS: Final = 30.0
"""How long a chute counts as ready after an answer: its nonces last for less than a minute."""
MAX_LEARNED: Final = 4096
_RETRY_SECONDS: Final = 5.0

Wanted = tuple[str, bytes]
"""A chute, and the client who wants it."""


class AskedInstances:
    """See `PrivateInstances`. What is known of chutes is what the answers taught."""

    def __init__(self, clock: IReactorTime, parse: Callable[[str], InstanceKey]) -> None:
        self._clock = clock
        self._keys = KeyRing(parse)
        self._send: Callable[[bytes], None] | None = None
        self._asked = 0
        self._waiting: dict[int, tuple[Deferred[Attested], Wanted]] = {}
        self._ready: OrderedDict[Wanted, float] = OrderedDict()
        self._unattestable: OrderedDict[str, float] = OrderedDict()
        self._known = PrivateReport(why_not="the parent process has not answered yet")

    def connect(self, send: Callable[[bytes], None]) -> None:
        """Ask the parent from now on; ``send`` sends it a message."""
        self._send = send
        send(encode(Hello()))

    def start(self) -> None:
        """Do nothing: the parent fetches all that it needs."""

    def stop(self) -> None:
        """Ask the parent no more, and fail those that wait."""
        self._send = None
        waiting, self._waiting = self._waiting, {}
        for each, _wanted in waiting.values():
            each.errback(_no_parent())

    def acquire(
        self,
        chute: str,
        client: bytes,
        authorization: str,
        avoid: Collection[str],
        prefer: str | None,
    ) -> Deferred[Attested]:
        """See `PrivateInstances`."""
        if self._send is None:
            return fail(_no_parent())
        self._asked = number = self._asked + 1
        waiting: Deferred[Attested] = Deferred(lambda _: self._leave(number))
        self._waiting[number] = waiting, (chute, client)
        wish = Acquire(number, chute, client, authorization, tuple(avoid), prefer)
        self._send(encode(wish))
        return waiting

    def standing(self, client: bytes) -> ChuteStanding:
        """See `PrivateInstances`."""
        _expire(self._ready, self._clock.seconds())
        _expire(self._unattestable, self._clock.seconds())
        ready = frozenset(chute for chute, whose in self._ready if whose == client)
        return ChuteStanding(ready, frozenset(self._unattestable))

    def nonce_refused(self, chute: str, client: bytes, attested: Attested) -> None:
        """See `PrivateInstances`."""
        self._ready.pop((chute, client), None)
        self._tell(Event.NONCE_REFUSED, chute, client, attested)

    def key_changed(self, chute: str, attested: Attested) -> None:
        """See `PrivateInstances`."""
        self._tell(Event.KEY_CHANGED, chute, b"", attested)

    def vanished(self, chute: str, client: bytes, attested: Attested) -> None:
        """See `PrivateInstances`."""
        self._tell(Event.VANISHED, chute, client, attested)

    def report(self) -> PrivateReport:
        """Return what the parent has said; the pages are the parent's own."""
        return self._known

    def received(self, payload: bytes) -> None:
        """Take a message of the parent."""
        message = answer.decode(payload)
        if isinstance(message, Standing):
            why_not = message.why_not
            self._known = PrivateReport(message.roots, attestable=why_not is None, why_not=why_not)
            return
        waiting, wanted = self._waiting.pop(message.number, (None, None))
        if waiting is None or wanted is None:
            return  # the request has left
        if isinstance(message, Found):
            self._found(message, waiting, wanted)
        else:
            self._missing(message, waiting, wanted)

    def _found(self, message: Found, waiting: Deferred[Attested], wanted: Wanted) -> None:
        key = self._keys.of(message.key)
        if key is None:
            waiting.errback(UnavailableError(Cause.INTERNAL, retry_after=_RETRY_SECONDS))
            return
        now = self._clock.seconds()
        _learn(self._ready, wanted, now + READY_SECONDS)
        self._unattestable.pop(wanted[0], None)
        since = now - message.age
        waiting.callback(
            Attested(message.instance_id, key, message.nonce, message.verified, since, message.word)
        )

    def _missing(self, message: Missing, waiting: Deferred[Attested], wanted: Wanted) -> None:
        self._ready.pop(wanted, None)
        if message.cause is Cause.NOT_ATTESTABLE:
            _learn(self._unattestable, wanted[0], self._clock.seconds() + message.retry_after)
        waiting.errback(
            UnavailableError(
                message.cause,
                message.refusal,
                message.retry_after,
                message.status,
                tuple(map(reason, message.found)),
            )
        )

    def _leave(self, number: int) -> None:
        del self._waiting[number]
        if self._send is not None:
            self._send(encode(Cancel(number)))

    def _tell(self, event: Event, chute: str, client: bytes, attested: Attested) -> None:
        if self._send is not None:
            self._send(encode(Notice(event, chute, client, attested.nonce)))


def _no_parent() -> UnavailableError:
    return UnavailableError(Cause.NOT_READY, retry_after=_RETRY_SECONDS)


def _learn(known: OrderedDict[_Key, float], key: _Key, until: float) -> None:
    known[key] = until
    known.move_to_end(key)
    if len(known) > MAX_LEARNED:
        known.popitem(last=False)


def _expire(known: OrderedDict[_Key, float], now: float) -> None:
    for key in [key for key, until in known.items() if now >= until]:
        del known[key]
