"""Why a model that a selector could mean is no candidate: the plan's rules, told one by one.

A plan only keeps what is left, because nobody asks on the way of a request. Here the same rules are
asked about each model by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from autopilot.routing.catalog import EMPTY, Catalog
from autopilot.routing.plan import Rules, strangers
from autopilot.routing.requirements import Needs, lacks
from autopilot.routing.selector import Mode, Selector
from autopilot.routing.snapshot import Snapshot
from autopilot.routing.tee import is_confidential


class Cause(StrEnum):
    """Which rule leaves a model out."""

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
    """Of the models that ``selector`` could mean, those that `plan` leaves out, in their order."""
    known = snapshot.catalog or EMPTY
    alias = selector.mode is Mode.ALIAS
    tee_only = tee_only or rules.require_tee
    unknown = strangers(selector, known, rules)
    found = []
    for name in snapshot.roster.names if alias else selector.names:
        if name in unknown:
            found.append(Dropped(name, Cause.UNKNOWN))
        elif tee_only and not is_confidential(name, known):
            found.append(Dropped(name, Cause.NOT_CONFIDENTIAL))
        elif alias and (missing := _missing(name, needs, known)):
            found.append(Dropped(name, Cause.LACKS, missing))
    return tuple(found)


def _missing(name: str, needs: Needs, known: Catalog) -> tuple[str, ...]:
    model = known.models.get(name)
    return () if model is None else tuple(lacks(model, needs))
