"""The part of the report that is about the keys of each chute."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from autopilot.attestation.nonce_pool import NoncePool
from autopilot.attestation.private_report import ChuteReport
from autopilot.attestation.verdicts import Verdict, Verdicts


@dataclass(slots=True)
class _Pools:
    """The pools of all clients for one chute."""

    keys: set[str] = field(default_factory=set, repr=False)
    nonces: int = 0
    since: float = 0.0


def chute_reports(pool: NoncePool, verdicts: Verdicts, now: float) -> dict[str, ChuteReport]:
    """Return the report on each chute of which anything is known. ``now`` is the clock's time."""
    pools: dict[str, _Pools] = {}
    for place, stock in pool.stocks():
        found = pools.setdefault(place.chute, _Pools())
        found.keys.update(each.key for each in stock.instances)
        found.nonces += stock.count()
        found.since = max(found.since, stock.since)
    known = {chute: verdicts.of_chute(chute) for chute in {*pools, *verdicts.chutes()}}
    return {
        chute: _report(known[chute], pools.get(chute), now)
        for chute in sorted(known)
        if known[chute] or chute in pools
    }


def _report(known: dict[str, Verdict], pools: _Pools | None, now: float) -> ChuteReport:
    verified = [each for each in known.values() if each.verified is not None]
    found = [each.verified for each in verified if each.verified is not None]
    refused = Counter(str(each.found) for each in known.values() if each.verified is None)
    return ChuteReport(
        known=len(known.keys() | (set() if pools is None else pools.keys)),
        verified=len(verified),
        refused=tuple(sorted(refused.items())),
        age=max((now - each.since for each in verified), default=None),
        measurements=tuple(sorted({each.measurement.label for each in found})),
        tcb=tuple(sorted({each.tcb for each in found})),
        nonces=0 if pools is None else pools.nonces,
        discovered=None if pools is None else now - pools.since,
    )
