"""What the router would do with one request, and why, as a value; and the same for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from autopilot.cli.router import Known
from autopilot.request.parse import ParsedRequest
from autopilot.routing.commit import Commit
from autopilot.routing.exclusions import Dropped, dropped
from autopilot.routing.plan import Plan, Rules
from autopilot.routing.requirements import Needs
from autopilot.routing.router_error import RouterError
from autopilot.settings import Settings


@dataclass(frozen=True, slots=True)
class Explained:
    """What became of a request; ``reading`` is None where it could not be read."""

    reading: ParsedRequest | None
    needs: Needs | None
    outcome: Plan | RouterError
    dropped: tuple[Dropped, ...]
    known: Known
    not_eligible: Mapping[str, int]
    settings: Settings


def explain(
    reading: ParsedRequest | RouterError,
    known: Known,
    not_eligible: Mapping[str, int],
    settings: Settings,
    rules: Rules,
) -> Explained:
    """What becomes of a request that was read, by what is known and by the operator's rules."""
    if isinstance(reading, RouterError):
        return Explained(None, None, reading, (), known, not_eligible, settings)
    snapshot = known.snapshot
    needs = reading.needs(snapshot)
    return Explained(
        reading,
        needs,
        reading.plan(snapshot, rules, known.recall),
        dropped(reading.selector, needs, reading.tee_only, snapshot, rules),
        known,
        not_eligible,
        settings,
    )


def in_json(explained: Explained) -> dict[str, object]:
    """The result for programs."""
    reading, outcome, settings = explained.reading, explained.outcome, explained.settings
    refused = outcome if isinstance(outcome, RouterError) else None
    return {
        "outcome": "refused" if refused else "candidates",
        "mode": reading and reading.selector.mode,
        "order": reading and reading.selector.order,
        "needs": asked_for(explained.needs) if explained.needs is not None else None,
        "tee_only": (reading.tee_only or settings.require_tee) if reading else None,
        "candidates": [_candidate(explained, name) for name in _candidates(explained)],
        "dropped": [
            {"name": each.name, "cause": each.cause, "lacks": list(each.lacks)}
            for each in explained.dropped
        ],
        "limits": {
            "max_attempts": settings.max_attempts,
            "commit": (reading.commit if reading else Commit(settings.commit)).value,
            "failover_policy": settings.failover_policy,
            "failover_after_ms": settings.failover_after_ms,
        },
        "error": refused
        and {"status": refused.status, "code": refused.code, "message": refused.message},
        "not_eligible": dict(explained.not_eligible),
    }


def _candidates(explained: Explained) -> Sequence[str]:
    outcome = explained.outcome
    return outcome.models if isinstance(outcome, Plan) else ()


def _candidate(explained: Explained, name: str) -> dict[str, object]:
    recall = explained.known.recall
    scores = {ranked.name: ranked.score for ranked in explained.known.snapshot.ranking}
    return {
        "name": name,
        "tried": _candidates(explained).index(name) < explained.settings.max_attempts,
        "score": scores.get(name),
        "cooling": name in recall.cooling,
        "first_content_seconds": recall.first_byte.get(name),
        "tokens_per_second": recall.throughput.get(name),
    }


def asked_for(needs: Needs) -> dict[str, object]:
    """The needs that there are."""
    values = msgspec.structs.asdict(needs)
    return {name: value for name, value in values.items() if value not in (False, None)}
