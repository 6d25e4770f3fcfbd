"""The order of the alias: which models have free capacity, most first.

The utilization feed says how busy each model was over four windows. The score estimates free
instances: a weighted mean of the windows, plus a little for models that may still grow, less twice
the share that was turned away. The feed is parsed, and checked for nonsense, elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from autopilot.routing.catalog import Catalog

PRIVATE_NAME = "[private chute]"
"""What the feed writes in place of the name of a chute that is not public."""

_TEE_SUFFIX = "-TEE"
_MOST_ALLOWANCE = 8
_WORTH_OF_ALLOWANCE = 0.05
_WEIGHT_OF_REFUSALS = 2

_Key = tuple[float, int, float, float, str]


@dataclass(frozen=True, slots=True)
class Load:
    """One utilization record: finite numbers, nothing negative; None where the feed has null."""

    name: str
    chute_id: str | None
    active_instance_count: int
    utilization_current: float | None = None
    utilization_5m: float | None = None
    utilization_15m: float | None = None
    utilization_1h: float | None = None
    rate_limit_ratio_5m: float | None = None
    rate_limit_ratio_15m: float | None = None
    rate_limit_ratio_1h: float | None = None
    scalable: bool = False
    scale_allowance: int | None = None


@dataclass(frozen=True, slots=True)
class Ranked:
    """A model's score and the parts it is made of: ``score = free + bonus - penalty``."""

    name: str
    score: float
    free: float
    bonus: float
    penalty: float
    util: float
    rate_limit: float
    active_instance_count: int
    utilization_current: float
    rate_limit_ratio_5m: float


def score(load: Load, name: str | None = None) -> Ranked:
    """Score one record, under ``name`` when the catalog calls the model otherwise.

    A missing window takes the value of the next shorter one; with no utilization at all a model
    counts as full, with no rate-limit ratio as never having turned anyone away.
    """
    u5 = _first(load.utilization_5m, load.utilization_current, 1.0)
    u15 = _first(load.utilization_15m, u5)
    u1h = _first(load.utilization_1h, u15)
    r5 = _first(load.rate_limit_ratio_5m, 0.0)
    r15 = _first(load.rate_limit_ratio_15m, r5)
    r1h = _first(load.rate_limit_ratio_1h, r15)
    util = 0.6 * u5 + 0.3 * u15 + 0.1 * u1h
    rate_limit = max(r5, 0.5 * r15, 0.25 * r1h)
    free = load.active_instance_count * max(0.0, 1.0 - util)
    bonus = _growth(load) * _WORTH_OF_ALLOWANCE
    penalty = load.active_instance_count * rate_limit * _WEIGHT_OF_REFUSALS
    return Ranked(
        name=load.name if name is None else name,
        score=free + bonus - penalty,
        free=free,
        bonus=bonus,
        penalty=penalty,
        util=util,
        rate_limit=rate_limit,
        active_instance_count=load.active_instance_count,
        utilization_current=_first(load.utilization_current, u5),
        rate_limit_ratio_5m=r5,
    )


class Exclusion(StrEnum):
    """Why a utilization record is not in the ranking."""

    PRIVATE = "private"
    NO_INSTANCES = "no_instances"
    NOT_IN_CATALOG = "not_in_catalog"
    NO_CATALOG = "no_catalog"
    """There is no catalog, and the name does not claim a trusted execution environment."""
    SUPERSEDED = "superseded"
    """Another record of the same model counts."""


@dataclass(frozen=True, slots=True)
class Excluded:
    """A record that is not in the ranking, under the name it came with."""

    name: str
    reason: Exclusion


class _Place(NamedTuple):
    """Where a record may rank: under which name, and whether only its own name says so."""

    name: str
    by_name_only: bool


class _Entry(NamedTuple):
    """A record that ranks, unless another one of the same model does."""

    load: Load
    by_name_only: bool
    ranked: Ranked


def rank(loads: Iterable[Load], catalog: Catalog | None) -> tuple[Ranked, ...]:
    """The eligible models, best first; the same records give the same order however they come.

    Eligible is a public model with an active instance that the catalog lists, found by
    ``chute_id``, else by name. While there is no catalog, only names that claim a trusted execution
    environment (``-TEE``) are. A model found twice counts once: the record that has its
    ``chute_id`` wins, then the better one.
    """
    return tuple(sorted((entry.ranked for entry in _found(loads, catalog).values()), key=_order))


def excluded(loads: Sequence[Load], catalog: Catalog | None) -> tuple[Excluded, ...]:
    """The records that `rank` leaves out, in the feed's order, and why."""
    counting = {id(entry.load) for entry in _found(loads, catalog).values()}
    found = []
    for load in loads:
        place = _place(load, catalog)
        if isinstance(place, Exclusion):
            found.append(Excluded(load.name, place))
        elif id(load) not in counting:
            found.append(Excluded(load.name, Exclusion.SUPERSEDED))
    return tuple(found)


def _found(loads: Iterable[Load], catalog: Catalog | None) -> dict[str, _Entry]:
    """The record that counts for each eligible model."""
    found: dict[str, _Entry] = {}
    for load in loads:
        place = _place(load, catalog)
        if isinstance(place, Exclusion):
            continue
        entry = _Entry(load, place.by_name_only, score(load, place.name))
        known = found.get(place.name)
        if known is None or _precedence(entry) < _precedence(known):
            found[place.name] = entry
    return found


def _place(load: Load, catalog: Catalog | None) -> _Place | Exclusion:
    """Where a record may rank, or why it may not."""
    if load.name == PRIVATE_NAME:
        return Exclusion.PRIVATE
    if load.active_instance_count <= 0:
        return Exclusion.NO_INSTANCES
    if not catalog:
        return _Place(load.name, True) if load.name.endswith(_TEE_SUFFIX) else Exclusion.NO_CATALOG
    name = None if load.chute_id is None else catalog.by_chute.get(load.chute_id)
    if name is not None:
        return _Place(name, False)
    return _Place(load.name, True) if load.name in catalog else Exclusion.NOT_IN_CATALOG


def _growth(load: Load) -> int:
    """By how many instances the platform may still enlarge the model, as far as it counts."""
    return min(load.scale_allowance or 0, _MOST_ALLOWANCE) if load.scalable else 0


def _first(*values: float | None) -> float:
    """The first value that is there; the last one always is."""
    return next(value for value in values if value is not None)


def _order(ranked: Ranked) -> _Key:
    """Best first, and a total order: names are unique in a ranking."""
    return (
        -ranked.score,
        -ranked.active_instance_count,
        ranked.utilization_current,
        ranked.rate_limit_ratio_5m,
        ranked.name,
    )


def _precedence(entry: _Entry) -> tuple[bool, _Key, tuple[float, ...]]:
    """Which of two records of one model counts: the least."""
    ranked = entry.ranked
    parts = (ranked.free, ranked.bonus, ranked.penalty, ranked.util, ranked.rate_limit)
    return entry.by_name_only, _order(ranked), parts
