"""The soak with hostile clients beside honest ones: the mix of inputs, and the judge.

Honest clients request streams whose head and events say when the upstream sent them, so that the
latency that the router adds is known for each. First they are alone, then hostile clients join.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.rigs.hold.input import Input

RATE: Final = 6.0
"""Hostile inputs that begin in each second."""

HOSTILE_CLIENTS: Final = 3
"""Processes that send them."""

HONEST_CLIENTS: Final = 20
EVENTS: Final = 20
"""Events of an honest stream."""

MIX: Final[Mapping[str, int]] = {
    "pipelining: 250 × GET /status, unread": 2,
    "pipelining: 250 × GET /v1/models, unread": 2,
    "pipelining: 1,000 upgrades to a WebSocket": 2,
    "pipelining: 1,000 refused bodies": 1,
    "bodies: empty content parts, 4 MB": 2,
    "bodies: halves of surrogates, 4 MB": 1,
    "bodies: token prompt, 4 MB": 2,
    "bodies: commas in a list, 4 MB": 2,
    "bodies: open brackets, 4 MB": 1,
    "bodies: honest text, 32 MiB": 1,
    "selectors: the alias behind 60 KiB of blanks": 2,
    "selectors: a list of 300,000 names": 2,
    "uploads: 1 MB in chunks of 2 bytes": 1,
    "uploads: 2 KiB in segments of a byte": 2,
    "uploads: 22 fields of 64 KiB": 2,
    "uploads: 50 bodies of 200 KB, not finished": 1,
    "streams: { lines, 4 MB, list": 2,
    "streams: empty lines before content, 4 MB, list": 2,
    "streams: : lines before content, 4 MB, list": 1,
    "streams: one event of many lines, 4 MB, direct": 1,
    "heads: 10,000 fields": 2,
    "heads: 10,000 × 102": 1,
    "errors: 500 with escapes in detail, 4 MB": 1,
    "crowds: 2,000 connect and are reset": 1,
}
"""Inputs of `tests.rigs.hold`, with their shares."""

FACTOR: Final = 2.0
ALLOWANCE_MS: Final = 50.0
"""The p99 may be so many times the one without hostile clients, and so much more."""

_LEAST: Final = 100
"""Samples that a phase must have."""


@dataclass(slots=True)
class Phase:
    """The added latencies of a phase in milliseconds, and what went wrong."""

    name: str
    latencies: list[float] = field(default_factory=list)
    requests: int = 0
    failures: list[str] = field(default_factory=list)
    hostile: int = 0

    @property
    def p50(self) -> float:
        """The median of the added latency."""
        return percentile(self.latencies, 0.5)

    @property
    def p99(self) -> float:
        """The 99th percentile of the added latency."""
        return percentile(self.latencies, 0.99)

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.requests} honest requests, {self.hostile} hostile inputs; added"
            f" latency p50 {self.p50:.1f} ms, p99 {self.p99:.1f} ms,"
            f" longest {max(self.latencies, default=0.0):.1f} ms; {len(self.failures)} failures"
        )


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that this share of the values does not exceed."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def mix_of(inputs: Sequence[Input]) -> tuple[list[int], list[int]]:
    """Return the numbers of the inputs of the mix, and their shares.

    :raises LookupError: the mix names an input that does not exist.
    """
    numbers = {each.title: number for number, each in enumerate(inputs)}
    return [numbers[title] for title in MIX], list(MIX.values())


def judge(alone: Phase, beside: Phase) -> list[str]:
    """Return what is wrong; nothing if the hostile clients did not harm the honest ones."""
    found = [
        f"{phase.name}: only {len(phase.latencies)} samples"
        for phase in (alone, beside)
        if len(phase.latencies) < _LEAST
    ]
    if not beside.hostile:
        found.append(f"{beside.name}: no hostile input was played")
    limit = FACTOR * alone.p99 + ALLOWANCE_MS
    if beside.p99 > limit:
        found.append(
            f"the p99 of the added latency is {beside.p99:.1f} ms, more than {limit:.1f} ms"
        )
    for phase in (alone, beside):
        found += [f"{phase.name}: {each}" for each in phase.failures]
    return found
