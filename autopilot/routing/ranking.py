"""The ranking behind the alias: models by estimated free capacity, most first (contract §4).

The utilization feed reports over four windows how busy each model was. The score estimates free
instances: those left over by the weighted mean utilization, plus a bonus for models that may still
scale up, minus a penalty for rate-limited requests. `autopilot.feeds.parsers` reads and validates
the feed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from heapq import merge

from msgspec import Struct

from autopilot.routing.catalog import Catalog
from autopilot.routing.steps import STEP, Steps, in_steps, result_of

PRIVATE_NAME = "[private chute]"
"""The feed's placeholder for the name of a chute that is not public."""

_TEE_SUFFIX = "-TEE"
_MAX_SCALE_ALLOWANCE = 8
_BONUS_PER_INSTANCE = 0.05
_RATE_LIMIT_WEIGHT = 2

_SortKey = tuple[float, int, float, float, str]


@dataclass(frozen=True, slots=True)
class Load:
    """One utilization record: finite, non-negative numbers; None where the feed has null."""

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
    """A model's score and its parts: ``score = free + bonus - penalty``."""

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
    """Score one record, under ``name`` if the catalog gives the model another name than the feed.

    A missing window takes the value of the next shorter one. A model without any utilization counts
    as fully used, one without a rate-limit ratio as never rate-limited.
    """
    u5 = _first_known(load.utilization_5m, load.utilization_current, 1.0)
    u15 = _first_known(load.utilization_15m, u5)
    u1h = _first_known(load.utilization_1h, u15)
    r5 = _first_known(load.rate_limit_ratio_5m, 0.0)
    r15 = _first_known(load.rate_limit_ratio_15m, r5)
    r1h = _first_known(load.rate_limit_ratio_1h, r15)
    # Formula and weights of contract §4. The 5-minute window reacts to load, the longer ones damp
    # spikes.
    util = 0.6 * u5 + 0.3 * u15 + 0.1 * u1h
    rate_limit = max(r5, 0.5 * r15, 0.25 * r1h)
    free = load.active_instance_count * max(0.0, 1.0 - util)
    bonus = _scale_up(load) * _BONUS_PER_INSTANCE
    penalty = load.active_instance_count * rate_limit * _RATE_LIMIT_WEIGHT
    return Ranked(
        name=load.name if name is None else name,
        score=free + bonus - penalty,
        free=free,
        bonus=bonus,
        penalty=penalty,
        util=util,
        rate_limit=rate_limit,
        active_instance_count=load.active_instance_count,
        utilization_current=_first_known(load.utilization_current, u5),
        rate_limit_ratio_5m=r5,
    )


class Exclusion(StrEnum):
    """Why a utilization record is not in the ranking."""

    PRIVATE = "private"
    NO_INSTANCES = "no_instances"
    NOT_IN_CATALOG = "not_in_catalog"
    NO_CATALOG = "no_catalog"
    """There is no catalog, and the name lacks the suffix that marks a TEE model."""
    SUPERSEDED = "superseded"
    """Another record of the same model takes precedence."""


@dataclass(frozen=True, slots=True)
class Excluded:
    """A record that is not in the ranking, under the feed's own name."""

    name: str
    reason: Exclusion


class _Match(Struct, frozen=True, gc=False):
    """The name under which a record ranks; ``by_name_only`` if its ``chute_id`` did not match."""

    name: str
    by_name_only: bool


class _ScoredRecord(Struct, frozen=True, gc=False):
    """A record that ranks unless another record of the same model takes precedence."""

    load: Load
    by_name_only: bool
    ranked: Ranked


def rank(loads: Iterable[Load], catalog: Catalog | None) -> tuple[Ranked, ...]:
    """Return the eligible models, best first; the order of the records does not matter.

    A model is eligible if it is public, has an active instance and is in the catalog, matched by
    ``chute_id``, else by name. Without a catalog only names that end in ``-TEE`` are eligible. If
    two records match one model, the one matched by ``chute_id`` counts, else the better one.
    """
    return result_of(ranking_steps(loads, catalog))


def ranking_steps(loads: Iterable[Load], catalog: Catalog | None) -> Steps[tuple[Ranked, ...]]:
    """Do what `rank` does, in steps."""
    counting = yield from _counting_steps(loads, catalog)
    records = [record.ranked for record in counting.values()]
    # Parts are sorted one by one and merged, as sorting all at once is one long step.
    parts = []
    for start in range(0, len(records), STEP):
        parts.append(sorted(records[start : start + STEP], key=_sort_key))
        if len(parts) * STEP < len(records):
            yield
    if len(parts) == 1:
        return tuple(parts[0])
    ranking = []
    for ranked in in_steps(merge(*parts, key=_sort_key)):
        if ranked is None:
            yield
        else:
            ranking.append(ranked)
    return tuple(ranking)


def excluded(loads: Sequence[Load], catalog: Catalog | None) -> tuple[Excluded, ...]:
    """Return the records that `rank` leaves out, in the feed's order, with the reason."""
    counting = {id(record.load) for record in _counting_records(loads, catalog).values()}
    found = []
    for load in loads:
        match = _match(load, catalog)
        if isinstance(match, Exclusion):
            found.append(Excluded(load.name, match))
        elif id(load) not in counting:
            found.append(Excluded(load.name, Exclusion.SUPERSEDED))
    return tuple(found)


def _counting_records(loads: Iterable[Load], catalog: Catalog | None) -> dict[str, _ScoredRecord]:
    """Return the record that counts for each eligible model, by the model's name."""
    return result_of(_counting_steps(loads, catalog))


def _counting_steps(
    loads: Iterable[Load], catalog: Catalog | None
) -> Steps[dict[str, _ScoredRecord]]:
    found: dict[str, _ScoredRecord] = {}
    for load in in_steps(loads):
        if load is None:
            yield
            continue
        match = _match(load, catalog)
        if isinstance(match, Exclusion):
            continue
        record = _ScoredRecord(load, match.by_name_only, score(load, match.name))
        rival = found.get(match.name)
        if rival is None or _precedence(record) < _precedence(rival):
            found[match.name] = record
    return found


def _match(load: Load, catalog: Catalog | None) -> _Match | Exclusion:
    """Return the name under which a record ranks, or the reason why it does not."""
    if load.name == PRIVATE_NAME:
        return Exclusion.PRIVATE
    if load.active_instance_count <= 0:
        return Exclusion.NO_INSTANCES
    # An empty catalog counts as none: the check by name is then the only safeguard.
    if not catalog:
        return _Match(load.name, True) if load.name.endswith(_TEE_SUFFIX) else Exclusion.NO_CATALOG
    name = None if load.chute_id is None else catalog.by_chute.get(load.chute_id)
    if name is not None:
        return _Match(name, False)
    return _Match(load.name, True) if load.name in catalog else Exclusion.NOT_IN_CATALOG


def _scale_up(load: Load) -> int:
    """Return by how many instances the platform may still scale the model, capped at 8."""
    return min(load.scale_allowance or 0, _MAX_SCALE_ALLOWANCE) if load.scalable else 0


def _first_known(*values: float | None) -> float:
    """Return the first value that is not None; the last one never is."""
    return next(value for value in values if value is not None)


def _sort_key(ranked: Ranked) -> _SortKey:
    """Return the sort key, best first. It is a total order, as names are unique in a ranking."""
    return (
        -ranked.score,
        -ranked.active_instance_count,
        ranked.utilization_current,
        ranked.rate_limit_ratio_5m,
        ranked.name,
    )


def _precedence(record: _ScoredRecord) -> tuple[bool, _SortKey, tuple[float, ...]]:
    """Return the key that decides between two records of one model: the smaller one counts."""
    ranked = record.ranked
    parts = (ranked.free, ranked.bonus, ranked.penalty, ranked.util, ranked.rate_limit)
    return record.by_name_only, _sort_key(ranked), parts
