"""The account's governor of a process, and the router's own calls that it counts."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred, TimeoutError

from autopilot.http.fetch import FetchedResponse
from autopilot.routing.edge_circuit import told_seconds
from autopilot.routing.identity import Hasher, upstream_key
from autopilot.routing.retry_policy import Reply, is_edge_limit
from autopilot.state.edge_account import ADDRESS, Admission
from autopilot.state.edge_counts import edge_gauges
from autopilot.state.edge_lease import LeasingGovernor, lending
from autopilot.state.edge_limit import EdgeGovernor
from autopilot.state.edge_shares import SharingGovernor
from autopilot.state.sharing.edge_sharing import EdgeSharing
from autopilot.web.status.edge import EdgeKeyNow, EdgeNow
from autopilot.wiring import mapping
from autopilot.wiring.role import Place

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from autopilot.observability.instruments import Readings
    from autopilot.settings import Settings
    from autopilot.state.edge_account import EdgeConfig, EdgePermit, KeyStanding
    from autopilot.state.sharing.store import Store

MOST_SHOWN: Final = 1000
"""Keys that the page looks at, those used last."""

_HASH_SHOWN: Final = 6

# They take turns with the conversations of the key's clients.
_CONVERSATION: Final = b"api"

Ask = Callable[[str, str], Deferred[FetchedResponse]]
"""Fetches a URL with an authorization."""


def governor_of(place: Place, settings: Settings, clock: IReactorTime) -> EdgeGovernor:
    """Return the governor of a process, which shares limits with other routers over a store."""
    rules = rules_of(place, settings)
    if place is Place.WORKER:
        return LeasingGovernor(clock, rules)
    kind = EdgeGovernor if settings.state_url is None else SharingGovernor
    return kind(clock, rules, started=clock.seconds())


def edge_sharing(
    governor: EdgeGovernor, clock: IReactorTime, governed: Callable[[], bool]
) -> Callable[[Store], EdgeSharing | None]:
    """Return what makes a governor share limits over a store, while something is ``governed``."""

    def sharing(store: Store) -> EdgeSharing | None:
        if not isinstance(governor, SharingGovernor):
            return None
        return EdgeSharing(clock, store, governor, governed)

    return sharing


def rules_of(place: Place, settings: Settings) -> EdgeConfig:
    """Return its rules: a parent keeps what its workers may hold out of its burst."""
    rules = mapping.edge(settings)
    return lending(rules) if place is Place.PARENT else rules


class GovernedApi:
    """The router's own calls of the management API, which count like those of its clients.

    ``governed`` returns whether they are counted at present, ``pace`` the seconds for which one may
    wait for its turn.
    """

    def __init__(
        self,
        clock: IReactorTime,
        governor: EdgeGovernor,
        governed: Callable[[], bool],
        hasher: Hasher,
        pace: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._governor = governor
        self._governed = governed
        self._hasher = hasher
        self._pace = pace

    def may_fetch(self) -> bool:
        """Return whether a call without a key may be made now; if so, it counts."""
        return not self._governed() or self._governor.draw()

    def paced(self, ask: Ask) -> Ask:
        """Return ``ask`` for calls with keys of requests.

        Each waits for its turn like a request; one that may not be made gets a 429.
        """

        async def in_turn(url: str, authorization: str, key: bytes) -> FetchedResponse:
            turn: Deferred[None] = Deferred()
            permit = self._governor.permit(key, lambda: turn.callback(None))
            try:
                if not await self._has_turn(permit, turn):
                    return FetchedResponse(429, b"")
                response = await ask(url, authorization)
                self._note(response, permit)
                return response
            finally:
                self._governor.close_permit(permit)

        def paced(url: str, authorization: str) -> Deferred[FetchedResponse]:
            if not self._governed():
                return ask(url, authorization)
            key = upstream_key(authorization, None, None, self._hasher)
            return Deferred.fromCoroutine(in_turn(url, authorization, key))

        return paced

    async def _has_turn(self, permit: EdgePermit, turn: Deferred[None]) -> bool:
        """Wait until a call may be made; return whether it may."""
        if self._governor.stand_in(permit):
            return True
        admission = self._governor.begin(permit, lambda: _CONVERSATION)
        if admission is not Admission.WAITS:
            return admission is Admission.SENT
        try:
            await turn.addTimeout(self._pace(), self._clock)
        except TimeoutError:
            self._governor.give_up(permit)
            return False
        return not permit.banned

    def _note(self, response: FetchedResponse, permit: EdgePermit) -> None:
        """Begin a ban if the response is the edge's page, or end the one that it shows is over."""
        types = response.headers.getRawHeaders("content-type", [""])
        seen = Reply(response.status, types[0].partition(";")[0].strip().lower())
        if not is_edge_limit(seen, response.body):
            self._governor.answered(permit)
            return
        [told, *_] = response.headers.getRawHeaders("retry-after", [""])
        self._governor.page(permit, told_seconds(told, response.body))
        for key in (permit.account.key, ADDRESS):  # workers have leases, until they know
            self._governor.ban_learned(key)


def edge_now(governor: EdgeGovernor, settings: Settings) -> EdgeNow | None:
    """Return what the page shows of the governor; None if nothing is governed."""
    if not mapping.governed(settings):
        return None
    address, *keys = governor.standing(MOST_SHOWN)
    banned = [each.banned_for for each in keys if each.banned_for]
    shown = sorted(map(_key_now, keys), key=lambda each: (each.left is None, each.left))
    return EdgeNow(
        governor.waiting,
        len(banned),
        max(banned, default=0.0),
        address.banned_for,
        shown[0].left if shown else None,
        tuple(shown),
    )


def _key_now(key: KeyStanding) -> EdgeKeyNow:
    unlimited = key.per_minute == inf
    return EdgeKeyNow(
        key.key[:_HASH_SHOWN].hex(),
        None if unlimited else key.per_minute,
        key.share,
        None if unlimited else int(key.available),
        key.waiting,
        key.banned_for,
    )


def gauges_of(governor: EdgeGovernor, settings: Callable[[], Settings]) -> tuple[Readings, ...]:
    """Return the gauges of a router that has no parent."""

    def fewest_left() -> int | None:
        now = edge_now(governor, settings())
        return None if now is None else now.fewest_left

    return edge_gauges(lambda: governor.waiting, lambda: governor.banned, fewest_left)
