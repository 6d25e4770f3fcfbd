"""The data of the status page and of /status.json, collected at one moment.

None of it identifies a client (contract §10).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from autopilot.attestation.evidence_poller import Findings
from autopilot.observability.history import INTERVAL, HistoryWindow

if TYPE_CHECKING:
    from autopilot.feeds.readiness import Readiness
    from autopilot.routing.ranking import Ranked


@dataclass(frozen=True, slots=True)
class StatusReport:
    """The state of one router at one moment.

    ``cooling`` maps models to the seconds until a request may probe them. ``first_content``
    (seconds) and ``throughput`` (tokens per second) are this router's own averages by model;
    ``recent`` are the last requests, newest first.
    """

    version: str
    readiness: Readiness
    active: int = 0
    most_active: int = 0
    ranking: Sequence[Ranked] = ()
    cooling: Mapping[str, float] = field(default_factory=dict)
    first_content: Mapping[str, float] = field(default_factory=dict)
    throughput: Mapping[str, float] = field(default_factory=dict)
    evidence: Findings = field(default_factory=Findings)
    recent: Sequence[Mapping[str, Any]] = ()
    window: HistoryWindow = field(default_factory=HistoryWindow)

    def document(self) -> dict[str, Any]:
        """Return the report as plain data for /status.json."""
        return {
            "version": self.version,
            "ready": self.readiness.status == 200,
            "readiness": self.readiness.report(),
            "requests_active": self.active,
            "ranking": self.ranking,
            "cooling": sorted(self.cooling),
            "cooling_for_ms": {
                name: int(seconds * 1000) for name, seconds in sorted(self.cooling.items())
            },
            "first_content_seconds": self.first_content,
            "tokens_per_second": self.throughput,
            "evidence": {name: each.report() for name, each in self.evidence.items()},
            "recent": self.recent,
            "past": {
                "interval_ms": int(INTERVAL * 1000),
                "outcomes": dict(self.window.outcomes),
                "whole": self.window.whole,
                "intervals": self.window.intervals,
            },
        }
