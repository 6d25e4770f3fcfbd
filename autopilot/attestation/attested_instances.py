"""Attested instances for requests: discovered, judged and handed out, each with its own nonce.

A request gets a verified instance at once if there is one with a nonce; the others that discovery
listed are judged behind it. Only when there is none does it wait: for a discovery, and for the
first of the verdicts. Whatever goes wrong, no instance is returned that was not verified.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from autopilot.attestation.bug_log import log_bug
from autopilot.attestation.chute_reports import chute_reports
from autopilot.attestation.first_verified import first_verified
from autopilot.attestation.instances import DiscoveredInstance
from autopilot.attestation.key_ring import KeyRing
from autopilot.attestation.nonce_pool import DISCOVERIES, NoncePool, Place, PoolError, Ticket
from autopilot.attestation.private_instances import (
    ATTESTED,
    Attested,
    Cause,
    ChuteStanding,
    UnavailableError,
)
from autopilot.attestation.private_report import ChuteReport, PrivateReport
from autopilot.attestation.verdict import Refusal
from autopilot.attestation.verdicts import NoEvidence, Subject, Verdict, Verdicts
from autopilot.attestation.why_unavailable import unavailable, undiscovered, why_not

if TYPE_CHECKING:
    from autopilot.attestation.sealing import InstanceKey

CONSIDERED: Final = 8
"""Instances of a discovery that are judged at the most; the platform lists five."""
YOUNG_SECONDS: Final = 10.0
"""The age of a discovery from which another one is worth its part of the budget, if the instances
of the last one are of no use."""


class Basis(Protocol):
    """What verdicts rest on besides evidence: measurements and collateral."""

    def ready(self) -> Deferred[bool]:
        """Wait for the first measurements; return whether there are any. Fails by cancelling."""

    def unknown(self) -> None:
        """Learn that a genuine quote has registers that no row has."""

    def report(self, chutes: dict[str, ChuteReport]) -> PrivateReport:
        """Return the report on everything, with what is known of each chute."""

    def start(self) -> None:
        """Begin to fetch."""

    def stop(self) -> None:
        """End the fetches under way."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """A request's wish for an instance, and the verdicts that it has awaited."""

    place: Place
    authorization: str = field(repr=False)
    avoid: frozenset[str]
    prefer: str | None
    awaited: dict[str, Verdict] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _NoHope:
    """The chutes without evidence, as of a number of changes, until a verdict ends."""

    chutes: frozenset[str] = frozenset()
    changes: int = -1
    until: float = 0.0


class AttestedInstances:
    """See `PrivateInstances`. ``parse`` reads a key, and raises ValueError for what is none."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        pool: NoncePool,
        verdicts: Verdicts,
        basis: Basis,
        parse: Callable[[str], InstanceKey],
        word: str = ATTESTED,
    ) -> None:
        self._clock = clock
        self._pool = pool
        self._verdicts = verdicts
        self._basis = basis
        self._keys = KeyRing(parse)
        self._word = word
        self._no_hope = _NoHope()
        self._behind: dict[Subject, Deferred[Verdict]] = {}
        self._stopped = False

    def start(self) -> None:
        """See `PrivateInstances`."""
        self._basis.start()

    def stop(self) -> None:
        """See `PrivateInstances`."""
        self._stopped = True
        for each in tuple(self._behind.values()):
            each.cancel()
        self._pool.close()
        self._verdicts.close()
        self._basis.stop()

    def acquire(
        self,
        chute: str,
        client: bytes,
        authorization: str,
        avoid: Collection[str],
        prefer: str | None,
    ) -> Deferred[Attested]:
        """See `PrivateInstances`."""
        wish = _Wish(Place(client, chute), authorization, frozenset(avoid), prefer)
        return Deferred.fromCoroutine(self._acquire(wish))

    def standing(self, client: bytes) -> ChuteStanding:
        """See `PrivateInstances`."""
        places = (Place(client, chute) for chute in self._pool.chutes(client))
        ready = frozenset(place.chute for place in places if any(self._usable(place, ())))
        return ChuteStanding(ready, self._hopeless())

    def nonce_refused(self, chute: str, client: bytes, attested: Attested) -> None:
        """See `PrivateInstances`."""
        self._pool.drop(Place(client, chute), attested.nonce)

    def key_changed(self, chute: str, attested: Attested) -> None:
        """See `PrivateInstances`."""
        self._verdicts.forget(Subject(chute, attested.key.text))

    def vanished(self, chute: str, client: bytes, attested: Attested) -> None:
        """See `PrivateInstances`."""
        self._pool.remove(Place(client, chute), attested.instance_id)

    def report(self) -> PrivateReport:
        """See `PrivateInstances`."""
        return self._basis.report(chute_reports(self._pool, self._verdicts, self._clock.seconds()))

    async def _acquire(self, wish: _Wish) -> Attested:
        try:
            if self._stopped or not await self._basis.ready():
                raise UnavailableError(Cause.NOT_READY, retry_after=YOUNG_SECONDS)
            return await self._found(wish)
        except (UnavailableError, CancelledError):
            raise
        except Exception:  # noqa: BLE001  whatever it is, there is no verified instance
            log_bug(self._log, "an attested instance was sought", Failure())
            raise UnavailableError(Cause.INTERNAL, retry_after=YOUNG_SECONDS) from None

    async def _found(self, wish: _Wish) -> Attested:
        """Return an instance: a known one, one that is judged now, or a discovered one."""
        # Each discovery may be used up by the requests that wait for it too.
        for _ in range(DISCOVERIES + 1):
            attested = await self._of_stock(wish)
            if attested is not None:
                return attested
            if not self._is_worth(wish):
                break
            try:
                await self._pool.discover(wish.place, wish.authorization)
            except PoolError as error:
                raise undiscovered(error, self._why(wish)) from None
        raise unavailable(self._why(wish), self._retry_after(wish))

    async def _of_stock(self, wish: _Wish) -> Attested | None:
        """Return an instance of those that the last discovery listed, when one is verified."""
        while True:
            attested = self._at_once(wish)
            if attested is not None:
                return attested
            unjudged = self._unjudged(wish)
            if not unjudged:
                return None
            await self._first_verified(wish, unjudged)

    def _at_once(self, wish: _Wish) -> Attested | None:
        """Take a nonce of a verified instance, and have the others judged behind the request."""
        usable = dict(self._usable(wish.place, wish.avoid))
        ticket = self._pool.take(wish.place, usable, wish.prefer)
        if ticket is None:
            return None
        self._judge_behind(wish)
        return self._attested(ticket, usable[ticket.instance.instance_id])

    def _attested(self, ticket: Ticket, verdict: Verdict) -> Attested:
        key, verified = self._keys.of(ticket.instance.key), verdict.verified
        if key is None or verified is None:
            raise AssertionError("an instance that was not verified")
        return Attested(
            ticket.instance.instance_id, key, ticket.nonce, verified, verdict.since, self._word
        )

    def _usable(self, place: Place, avoid: Collection[str]) -> Iterator[tuple[str, Verdict]]:
        """Yield the verified instances of a pool that have a nonce left, with their verdicts."""
        for each in self._listed(place, avoid):
            verdict = self._known(place, each)
            if (
                verdict is not None
                and verdict.verified is not None
                and self._pool.has(place, each.instance_id)
            ):
                yield each.instance_id, verdict

    def _listed(self, place: Place, avoid: Collection[str]) -> list[DiscoveredInstance]:
        """Return the instances of a pool whose keys can be sealed to, but those to be avoided."""
        return [
            each
            for each in self._pool.instances(place)[:CONSIDERED]
            if each.instance_id not in avoid and self._keys.of(each.key) is not None
        ]

    def _known(self, place: Place, instance: DiscoveredInstance) -> Verdict | None:
        return self._verdicts.known(Subject(place.chute, instance.key))

    def _unjudged(self, wish: _Wish) -> list[DiscoveredInstance]:
        """Return the instances with a nonce, but no verdict, that have not been awaited yet."""
        return [
            each
            for each in self._listed(wish.place, wish.avoid)
            if each.instance_id not in wish.awaited
            and self._known(wish.place, each) is None
            and self._pool.has(wish.place, each.instance_id)
        ]

    async def _first_verified(self, wish: _Wish, unjudged: Sequence[DiscoveredInstance]) -> None:
        """Wait until one of these is verified, or all have their verdicts."""
        waiting = {}
        for each in unjudged:
            judging = self._verdicts.judge(wish.place.chute, each, wish.authorization)
            waiting[each.instance_id] = judging
            if not judging.called:
                self._keep_asking(wish, each)
        await first_verified(waiting, wish.awaited)

    def _judge_behind(self, wish: _Wish) -> None:
        """Have instances judged for the next requests, and verdicts renewed before they age."""
        now = self._clock.seconds()
        for each in self._listed(wish.place, wish.avoid):
            verdict = self._known(wish.place, each)
            if verdict is None or (verdict.verified is not None and now >= verdict.renewable):
                self._keep_asking(wish, each)

    def _keep_asking(self, wish: _Wish, instance: DiscoveredInstance) -> None:
        """Have a question answered whether or not its request stays."""
        subject = Subject(wish.place.chute, instance.key)
        if subject not in self._behind:
            asking = self._verdicts.renew(wish.place.chute, instance, wish.authorization)
            self._behind[subject] = asking
            asking.addBoth(self._asked, subject)

    def _asked(self, result: Verdict | Failure, subject: Subject) -> None:
        """Note what was found; a question that was cancelled needs no notice."""
        del self._behind[subject]
        if isinstance(result, Verdict) and result.found is Refusal.MEASUREMENT_UNKNOWN:
            self._basis.unknown()

    def _is_worth(self, wish: _Wish) -> bool:
        """Return whether another discovery could show anything new so soon."""
        stock = self._pool.stock(wish.place)
        if stock is None or self._clock.seconds() - stock.since >= YOUNG_SECONDS:
            return True
        known = (self._known(wish.place, each) for each in self._listed(wish.place, wish.avoid))
        verified = any(each is not None and each.verified is not None for each in known)
        # Other requests have used up the nonces of what is verified.
        return verified and stock.has_given

    def _why(self, wish: _Wish) -> list[Cause | Refusal]:
        """Return why each instance that was listed is of no use."""
        return [
            why_not(
                self._known(wish.place, each) or wish.awaited.get(each.instance_id),
                self._keys.of(each.key) is not None,
                self._pool.has(wish.place, each.instance_id),
            )
            for each in self._pool.instances(wish.place)[:CONSIDERED]
            if each.instance_id not in wish.avoid
        ]

    def _retry_after(self, wish: _Wish) -> float:
        """Return when a discovery may be made again, or a verdict ends, whichever is later."""
        now, stock = self._clock.seconds(), self._pool.stock(wish.place)
        discovery = 0.0 if stock is None else stock.since + YOUNG_SECONDS - now
        known = (self._known(wish.place, each) for each in self._listed(wish.place, wish.avoid))
        ends = [each.until - now for each in known if each is not None and each.verified is None]
        return max(1.0, discovery, min(ends, default=0.0))

    def _hopeless(self) -> frozenset[str]:
        """Return the chutes of which all that is known is that they have no evidence."""
        now, kept = self._clock.seconds(), self._no_hope
        if kept.changes == self._verdicts.changes and now < kept.until:
            return kept.chutes
        known = {each: self._verdicts.of_chute(each).values() for each in self._verdicts.chutes()}
        hopeless = frozenset(
            chute
            for chute, verdicts in known.items()
            if verdicts and all(each.found is NoEvidence.UNATTESTABLE for each in verdicts)
        )
        until = min((each.until for found in known.values() for each in found), default=inf)
        self._no_hope = _NoHope(hopeless, self._verdicts.changes, until)
        return hopeless
