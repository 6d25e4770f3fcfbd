"""The reason why a model that a selector could mean is no candidate: the plan's rules, one by one.

`plan` only keeps the candidates, because a request needs nothing else. ``autopilot explain`` also
needs the reasons, so this module applies the same rules to each model separately.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from autopilot.routing.catalog import EMPTY, Catalog
from autopilot.routing.listing import Cause, Dropped
from autopilot.routing.plan import Rules, list_routes, look_up
from autopilot.routing.requirements import Needs, lacks
from autopilot.routing.selector import Mode, Selector
from autopilot.routing.snapshot import Snapshot
from autopilot.routing.tee import is_confidential


def dropped(
    selector: Selector, needs: Needs, tee_only: bool, snapshot: Snapshot, rules: Rules
) -> tuple[Dropped, ...]:
    """Return the models that ``selector`` could mean but `plan` leaves out, in order."""
    catalog = snapshot.catalog or EMPTY
    tee_only = tee_only or rules.require_tee
    if selector.routes:
        return _by_routes(selector, needs, tee_only, snapshot, rules)
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
    return (*excluded, *_by_alias(already, needs, tee_only, snapshot))


def _by_alias(
    already: Collection[str], needs: Needs, tee_only: bool, snapshot: Snapshot
) -> Iterator[Dropped]:
    """Yield the models that the alias leaves out, without those that have been dealt with."""
    catalog = snapshot.catalog or EMPTY
    for name in snapshot.eligible.names:
        if name in already:
            continue
        if tee_only and not is_confidential(name, catalog):
            yield Dropped(name, Cause.NOT_CONFIDENTIAL)
        elif missing := _missing(name, needs, catalog):
            yield Dropped(name, Cause.LACKS, missing)


def _by_routes(
    selector: Selector, needs: Needs, tee_only: bool, snapshot: Snapshot, rules: Rules
) -> tuple[Dropped, ...]:
    """Return the models that routes leave out, each once, and then those that their alias does."""
    found = list_routes(selector, needs, tee_only, snapshot, rules)
    kept = {each.model for each in found.candidates}
    excluded: dict[str, Dropped] = {}
    for each in found.dropped:
        if each.name not in kept:
            excluded.setdefault(each.name, each)
    with_alias = selector.alias_last or any(rules.routes[n].alias_last for n in selector.routes)
    rest = _by_alias({*kept, *excluded}, needs, tee_only, snapshot) if with_alias else ()
    return (*excluded.values(), *rest)


def _missing(name: str, needs: Needs, catalog: Catalog) -> tuple[str, ...]:
    model = catalog.models.get(name)
    return () if model is None else tuple(lacks(model, needs))
