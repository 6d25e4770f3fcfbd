"""Which models a request may go to, and in which order.

Everything comes in as values: what the client asked for, what the feeds said, what the operator
decided, what the router remembers. Each rule is one small function.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.needs import NOTHING, Needs, lacking
from autopilot.routing.refusal import Refusal
from autopilot.routing.selector import Mode, Order, Selector, split_order
from autopilot.routing.snapshot import Snapshot
from autopilot.routing.suggest import unknown_model

RETRY_AFTER = 5
"""Seconds after which an alias without candidates may have some again."""

_THINKING = ":THINKING"


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator decided."""

    aliases: frozenset[str]
    max_list_items: int
    unknown_models: Literal["reject", "forward"] = "reject"
    require_tee: bool = False


@dataclass(frozen=True, slots=True)
class Recall:
    """What the router has seen for itself.

    ``remembered`` (the model that last answered) and ``failed_recently`` (models that failed
    retryably a moment ago) concern this client and this selector only. ``cooling`` models fail for
    everybody. ``first_byte`` (seconds) and ``throughput`` (tokens per second) are averages, for
    models that have been measured.
    """

    remembered: str | None = None
    failed_recently: frozenset[str] = frozenset()
    cooling: frozenset[str] = frozenset()
    first_byte: Mapping[str, float] = field(default_factory=dict)
    throughput: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """The candidates, best first: at least one, each once."""

    mode: Mode
    candidates: tuple[str, ...]


def plan(
    selector: Selector,
    needs: Needs,
    tee_only: bool,
    snapshot: Snapshot,
    rules: Rules,
    recall: Recall,
) -> Plan | Refusal:
    """Decide the candidates of one request, or say why there are none.

    Refusals: 400 ``unknown_model``, ``tee_required`` or ``no_capable_model``, 503
    ``no_candidates``. Cooling models go last and are never left out.
    """
    known = snapshot.catalog or Catalog.of(())
    found = _named(selector, snapshot, known, rules)
    if not isinstance(found, Refusal) and (tee_only or rules.require_tee):
        found = _confidential(found, known)
    if not isinstance(found, Refusal) and selector.mode is Mode.ALIAS:
        found = _capable(found, known, needs)
    if isinstance(found, Refusal):
        return found
    if selector.mode is not Mode.DIRECT:
        found = _arranged(found, selector, recall)
    return Plan(selector.mode, tuple(found))


def pick(remaining: Sequence[str], cooling: frozenset[str]) -> str:
    """The candidate to try next: the first that is not cooling, else the first.

    ``remaining`` must not be empty.
    """
    return next((name for name in remaining if name not in cooling), remaining[0])


def _named(
    selector: Selector, snapshot: Snapshot, known: Catalog, rules: Rules
) -> Sequence[str] | Refusal:
    """The models a selector speaks of, if they exist."""
    if selector.mode is Mode.ALIAS:
        ranked = tuple(dict.fromkeys(ranked.name for ranked in snapshot.ranking))
        return ranked or _no_candidates()
    names = tuple(dict.fromkeys(selector.names))
    if known and rules.unknown_models == "reject":
        unknown = [name for name in names if not _exists(name, selector.mode, known)]
        if unknown:
            return unknown_model(unknown, known, rules.aliases, selector.mode)
    return names


def _exists(name: str, mode: Mode, known: Catalog) -> bool:
    """Whether the catalog has a name: a list item as it is, a direct one also less its suffixes."""
    return name in known or (mode is Mode.DIRECT and _base(name, known) in known)


def _base(name: str, known: Catalog) -> str:
    """The catalog's name for what the platform would make of ``name``.

    The platform takes a chute's id for its name, and of a single name it takes ``:latency`` or
    ``:throughput``, then ``:THINKING``, off the end.
    """
    plain = split_order(name)[0]
    for text in (name, plain, plain.removesuffix(_THINKING)):
        if text in known:
            return text
        if text in known.by_chute:
            return known.by_chute[text]
    return name


def _confidential(names: Iterable[str], known: Catalog) -> Sequence[str] | Refusal:
    """Only the models that the catalog marks as running in a trusted execution environment."""
    kept = tuple(name for name in names if _is_marked(known.models.get(_base(name, known))))
    return kept or Refusal(
        400,
        "tee_required",
        "A trusted execution environment is required, and none of the models that may serve this "
        "request is marked as running in one.",
        param="model",
    )


def _is_marked(model: Model | None) -> bool:
    """Whether a model is known, and known to be confidential."""
    return model is not None and model.tee is True


def _capable(names: Sequence[str], known: Catalog, needs: Needs) -> Sequence[str] | Refusal:
    """Leave out the models that are known to lack what the request needs."""
    if needs == NOTHING:
        return names
    missing: dict[str, None] = {}
    kept = []
    for name in names:
        model = known.models.get(name)
        lack = None if model is None else lacking(model, needs)
        if lack is None:
            kept.append(name)
        else:
            missing[lack] = None
    return tuple(kept) or Refusal(
        400,
        "no_capable_model",
        f"No model behind the alias supports what this request needs: {', '.join(missing)}.",
        param="model",
    )


def _arranged(names: Sequence[str], selector: Selector, recall: Recall) -> Sequence[str]:
    """Put candidates in order: as asked for, then the one that is remembered, cooling ones last."""
    ordered = _measured(names, selector.order, recall)
    favourite = recall.remembered
    if favourite in ordered and favourite not in recall.cooling:
        before = ordered[: ordered.index(favourite)]
        # In a list the client's own order stands, except while a model it prefers is failing.
        if selector.mode is Mode.ALIAS or not recall.failed_recently.isdisjoint(before):
            ordered = [favourite, *(name for name in ordered if name != favourite)]
    return sorted(ordered, key=recall.cooling.__contains__)


def _measured(names: Sequence[str], order: Order, recall: Recall) -> list[str]:
    """Order by the router's own averages; models without any keep their order, after the rest."""
    if order is Order.GIVEN:
        return list(names)
    if order is Order.LATENCY:
        cost = {name: recall.first_byte[name] for name in names if name in recall.first_byte}
    else:
        cost = {name: -recall.throughput[name] for name in names if name in recall.throughput}
    return sorted(names, key=lambda name: (name not in cost, cost.get(name, 0.0)))


def _no_candidates() -> Refusal:
    """Nothing is ranked: a matter of time, not of the request."""
    return Refusal(
        503, "no_candidates", "No model is available right now.", retry_after=RETRY_AFTER
    )
