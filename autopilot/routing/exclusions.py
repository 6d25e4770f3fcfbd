"""The reason why a model that a selector could mean is no candidate: the plan's rules, one by one.

`plan` only keeps the candidates, because a request needs nothing else. ``autopilot explain`` also
needs the reasons, so this module applies the same rules to each model separately.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from autopilot.routing.catalog import EMPTY, Catalog
from autopilot.routing.plan import Rules, look_up
from autopilot.routing.requirements import Needs, lacks
from autopilot.routing.selector import Mode, Selector
from autopilot.routing.snapshot import Snapshot
from autopilot.routing.tee import is_confidential


class Cause(StrEnum):
    """The rule that excludes a model."""

    UNKNOWN = "unknown"
    NOT_CONFIDENTIAL = "not_confidential"
    LACKS = "lacks"


@dataclass(frozen=True, slots=True)
class Dropped:
    """A model that is no candidate; ``lacks`` names the needs that it does not meet."""

    name: str
    cause: Cause
    lacks: tuple[str, ...] = ()


def dropped(
    selector: Selector, needs: Needs, tee_only: bool, snapshot: Snapshot, rules: Rules
) -> tuple[Dropped, ...]:
    """Return the models that ``selector`` could mean but `plan` leaves out, in order."""
    catalog = snapshot.catalog or EMPTY
    tee_only = tee_only or rules.require_tee
    named, unknown = look_up(selector, catalog, rules)
    excluded = []
    for name in selector.names:
        if name in unknown:
            excluded.append(Dropped(name, Cause.UNKNOWN))
        elif tee_only and not is_confidential(name, catalog):
            excluded.append(Dropped(name, Cause.NOT_CONFIDENTIAL))
    if selector.mode is not Mode.ALIAS and not selector.alias_last:
        return tuple(excluded)
    already = {each.model for each in named}
    for name in snapshot.eligible.names:
        if name in already:
            continue
        if tee_only and not is_confidential(name, catalog):
            excluded.append(Dropped(name, Cause.NOT_CONFIDENTIAL))
        elif missing := _missing(name, needs, catalog):
            excluded.append(Dropped(name, Cause.LACKS, missing))
    return tuple(excluded)


def _missing(name: str, needs: Needs, catalog: Catalog) -> tuple[str, ...]:
    model = catalog.models.get(name)
    return () if model is None else tuple(lacks(model, needs))
