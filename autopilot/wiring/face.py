"""What the operators' pages of a process show: the process itself, or the whole router."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from msgspec import structs
from twisted.internet.defer import fail

from autopilot.web.status.collected_pages import CollectedPages
from autopilot.web.status.parents_pages import NoAnswerError, ParentsPages
from autopilot.web.status.sharing import SharingNow, StoreNow
from autopilot.wiring.keys import lent
from autopilot.wiring.role import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.defer import Deferred

    from autopilot.observability.history import History
    from autopilot.observability.worker_report import Whole
    from autopilot.observability.workers import WorkersNow
    from autopilot.state.sharing.hub import Hub
    from autopilot.web.status.collected_pages import PageName
    from autopilot.web.status.page import OperatorPages, Pages
    from autopilot.web.status.report import StatusReport
    from autopilot.wiring.store import SharedStore


class Workers(Protocol):
    """The workers of a parent, as its pages show them."""

    @property
    def whole(self) -> Whole:
        """The reports of all, as they were collected last."""

    @property
    def serving(self) -> int:
        """The number of those that accept connections."""

    def now(self) -> WorkersNow:
        """Return what the parent itself knows of each."""

    def collect(self) -> Deferred[bool]:
        """Collect the reports of all."""


def pages_by_place(
    place: Place,
    seconds: Callable[[], float],
    own: OperatorPages,
    collect: Callable[[], Deferred[bool]],
    ask: Callable[[PageName], Deferred[bytes]],
) -> Pages:
    """Return the operators' pages of a process in this place, whose own pages are ``own``.

    ``collect`` is what a parent does first, ``ask`` how a worker asks its parent.
    """
    if place is Place.PARENT:
        return CollectedPages(seconds, own, collect)
    return ParentsPages(seconds, own, ask) if place is Place.WORKER else own


def no_parent(_: PageName) -> Deferred[bytes]:
    """Return no page, before a worker has a parent to ask."""
    return fail(NoAnswerError())


def shared_now(
    hub: Hub | None, shared: SharedStore | None, roles: Mapping[str, str]
) -> SharingNow | None:
    """Return what the pages say of shared state; None if this router shares nothing."""
    if hub is None:
        return None
    facts = hub.facts()
    sent, shown = facts.sent, None
    if shared is not None:
        store, link = shared.status()
        # With workers most events are theirs, which the hub passes on.
        sent = link.published
        shown = StoreNow(
            store.state,
            store.fault,
            store.text,
            store.since,
            store.round_trip,
            link.queued,
            link.lost,
            link.warm,
        )
    return SharingNow(sent, facts.received, facts.lost, facts.refused, shown, dict(roles))


def of_whole(own: StatusReport, workers: Workers, history: History) -> StatusReport:
    """Return the report of a parent with what its workers did."""
    whole, keys = workers.whole, own.keys
    return replace(
        own,
        active=whole.active,
        cooling=whole.cooling,
        first_content=whole.first_content,
        throughput=whole.throughput,
        recent=whole.recent,
        failed=whole.failed,
        window=history.window(whole.history),
        workers=workers.now(),
        keys=keys and structs.replace(keys, pool=lent(whole.pool.values())),
    )
