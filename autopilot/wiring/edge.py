"""The account's governor of a process: that of the router, or one that leases from its parent's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autopilot.state.edge_lease import LeasingGovernor, lending
from autopilot.state.edge_limit import EdgeGovernor
from autopilot.wiring import mapping
from autopilot.wiring.role import Place

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from autopilot.settings import Settings
    from autopilot.state.edge_account import EdgeConfig


def governor_of(place: Place, settings: Settings, clock: IReactorTime) -> EdgeGovernor:
    """Return the governor of a process."""
    kind = LeasingGovernor if place is Place.WORKER else EdgeGovernor
    return kind(clock, rules_of(place, settings))


def rules_of(place: Place, settings: Settings) -> EdgeConfig:
    """Return its rules: a parent keeps what its workers may hold out of its burst."""
    rules = mapping.edge(settings)
    return lending(rules) if place is Place.PARENT else rules
