"""The hub of a process that shares its state tables with others, if there are others."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Final

from twisted.logger import Logger

from autopilot.observability.log_rate_limit import LogRateLimit
from autopilot.state.sharing.hub import Hub, HubCounts
from autopilot.state.sharing.outbox import Outbox
from autopilot.wiring import mapping
from autopilot.wiring.role import Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from autopilot.settings import Settings

_REPLICA_BITS: Final = 63
_log = Logger()


def hub_of(
    place: Place,
    settings: Settings,
    clock: IReactorTime,
    shares: Callable[[str], bool],
    counts: HubCounts,
) -> Hub | None:
    """Return a hub without links, or None if there is no process to share tables with.

    A parent shares them with its workers, a worker with its parent, and whoever has a store with
    the routers of other hosts. ``shares`` tells whether a model is named to them.
    """
    if place is Place.SINGLE and settings.state_url is None:
        return None
    limit = LogRateLimit()

    def malformed(error: ValueError) -> None:
        number = limit.admit("malformed", clock.seconds())
        if number is not None:
            _log.warn(
                "Shared state: {number} batch(es) of events were refused, the last one because it"
                " is {problem}",
                number=number,
                problem=str(error),
            )

    outbox = Outbox(secrets.randbits(_REPLICA_BITS), int(time.time() * 1000), shares)
    return Hub(clock, mapping.shared_tables(settings, outbox), malformed, counts)
