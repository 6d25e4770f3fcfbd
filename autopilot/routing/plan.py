"""Which models a request may go to, and in which order.

Everything comes in as values: what the client asked for, what the feeds said, what the operator
decided, what the router remembers. Each rule is one small function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec import Struct

from autopilot.routing.catalog import EMPTY, Catalog
from autopilot.routing.requirements import Needs
from autopilot.routing.router_error import RouterError
from autopilot.routing.selector import Mode, Order, Selector
from autopilot.routing.snapshot import Snapshot
from autopilot.routing.suggest import unknown_model
from autopilot.routing.tee import catalog_name, confidential


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator decided."""

    aliases: frozenset[str]
    max_list_items: int
    unknown_models: Literal["reject", "forward"] = "reject"
    require_tee: bool = False


class RoutingState(Struct, frozen=True, gc=False):
    """What the router has seen for itself.

    ``remembered`` (the model that last answered) and ``failed_recently`` (models that failed
    retryably a moment ago) concern this client and this selector only. ``cooling`` models fail for
    everybody. ``first_byte`` (seconds) and ``throughput`` (tokens per second) are averages, for
    models that have been measured.
    """

    remembered: str | None = None
    failed_recently: frozenset[str] = frozenset()
    cooling: frozenset[str] = frozenset()
    first_byte: Mapping[str, float] = {}
    throughput: Mapping[str, float] = {}


class Plan(Struct, frozen=True, gc=False):
    """The candidates, best first: at least one, each once."""

    mode: Mode
    candidates: tuple[str, ...]


def plan(
    selector: Selector,
    needs: Needs,
    tee_only: bool,
    snapshot: Snapshot,
    rules: Rules,
    recall: RoutingState,
) -> Plan | RouterError:
    """Decide the candidates of one request, or say why there are none.

    Refusals: 400 ``unknown_model``, ``tee_required`` or ``no_capable_model``, 503
    ``no_candidates``. Cooling models go last and are never left out.
    """
    tee_only = tee_only or rules.require_tee
    if selector.mode is Mode.ALIAS:
        found = snapshot.roster.serving(needs, tee_only)
    else:
        found = _chosen(selector, tee_only, snapshot.catalog or EMPTY, rules)
    if isinstance(found, RouterError):
        return found
    if selector.mode is not Mode.DIRECT:
        found = _arranged(found, selector, recall)
    return Plan(selector.mode, found)


def pick(remaining: Sequence[str], cooling: frozenset[str]) -> str:
    """The candidate to try next: the first that is not cooling, else the first.

    ``remaining`` must not be empty.
    """
    if not cooling:
        return remaining[0]
    return next((name for name in remaining if name not in cooling), remaining[0])


def _chosen(
    selector: Selector, tee_only: bool, known: Catalog, rules: Rules
) -> tuple[str, ...] | RouterError:
    """The models a client named, if they exist."""
    names = selector.names
    unknown = strangers(selector, known, rules)
    if unknown:
        return unknown_model(unknown, known, rules.aliases, selector.mode)
    return confidential(names, known) if tee_only else names


def strangers(selector: Selector, known: Catalog, rules: Rules) -> Sequence[str]:
    """The names in a selector that are refused because the catalog does not have them."""
    if not known.models or rules.unknown_models == "forward":
        return ()
    return [name for name in selector.names if not _exists(name, selector.mode, known)]


def _exists(name: str, mode: Mode, known: Catalog) -> bool:
    """Whether the catalog has a name: a list item as it is, a direct one also as it is read."""
    if name in known.models:
        return True
    return mode is Mode.DIRECT and catalog_name(name, known) in known.models


def _arranged(names: tuple[str, ...], selector: Selector, recall: RoutingState) -> tuple[str, ...]:
    """Put candidates in order: as asked for, then the one that is remembered, cooling ones last."""
    if selector.order is not Order.GIVEN:
        names = _measured(names, selector.order, recall)
    favourite, cooling = recall.remembered, recall.cooling
    if favourite is not None and favourite not in cooling and favourite in names:
        place = names.index(favourite)
        # In a list the client's own order stands, except while a model it prefers is failing.
        if selector.mode is Mode.ALIAS or not recall.failed_recently.isdisjoint(names[:place]):
            names = names[place : place + 1] + names[:place] + names[place + 1 :]
    return tuple(sorted(names, key=cooling.__contains__)) if cooling else names


def _measured(names: tuple[str, ...], order: Order, recall: RoutingState) -> tuple[str, ...]:
    """Order by the router's own averages; models without any keep their order, after the rest."""
    if order is Order.LATENCY:
        cost = {name: recall.first_byte[name] for name in names if name in recall.first_byte}
    else:
        cost = {name: -recall.throughput[name] for name in names if name in recall.throughput}
    return tuple(sorted(names, key=lambda name: (name not in cost, cost.get(name, 0.0))))
