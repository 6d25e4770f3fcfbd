"""The results of a run, and their JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Measurement:
    """One window of one scenario through one proxy, or directly.

    `cpu` is the proxy's, in seconds; `load_share` and `upstream_share` are shares of a core.
    Latencies of requests or events are in microseconds. `grown` is the growth of the proxy's memory
    from its start to the window in bytes, `rss` its memory then. `slowdown` is that of the proxy's
    core before or after the window, whichever is greater.
    """

    scenario: str
    upstream: str
    subject: str
    round: int
    streams: int
    units: int
    elapsed: float
    cpu: float
    load_share: float
    upstream_share: float
    shared_core: bool
    p50: int | None
    p99: int | None
    p999: int | None
    longest: int | None
    first_byte_p50: int | None
    first_byte_p99: int | None
    max_gap_ms: float
    grown: int
    rss: int
    peak: int
    errors: int
    reasons: Mapping[str, int] = field(default_factory=dict)
    slowdown: float = 1.0
    mean: float | None = None

    @property
    def key(self) -> tuple[str, str, str, int]:
        """The identity of what was measured."""
        return (self.scenario, self.upstream, self.subject, self.round)

    @property
    def cpu_us(self) -> float | None:
        """The proxy's processor time for one request or event, in microseconds."""
        return self.cpu / self.units * 1e6 if self.units else None

    @property
    def per_second(self) -> float:
        """Requests or events per second."""
        return self.units / self.elapsed if self.elapsed else 0.0

    @property
    def busy(self) -> float:
        """The utilization of the busier core of load and upstream, or of their shared core."""
        if self.shared_core:
            return self.load_share + self.upstream_share
        return max(self.load_share, self.upstream_share)


@dataclass(frozen=True, slots=True)
class ScenarioInfo:
    """The facts of a scenario for the report."""

    key: str
    title: str
    unit: str
    kind: str
    streams: int
    growth: bool


@dataclass(slots=True)
class Results:
    """All results of a run. `problems` lists the proxies, measurements and probes that failed."""

    environment: dict[str, str]
    options: dict[str, Any]
    scenarios: list[ScenarioInfo] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    probes: dict[str, list[float]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def keep(self, measured: Measurement) -> None:
        """Add a measurement; of two of the same thing, keep the less disturbed one."""
        for place, other in enumerate(self.measurements):
            if other.key == measured.key:
                if measured.slowdown < other.slowdown:
                    self.measurements[place] = measured
                return
        self.measurements.append(measured)

    def save(self, path: Path) -> None:
        """Write the results to a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read the results from a file written by `save`."""
        value = json.loads(path.read_text())
        value["scenarios"] = [ScenarioInfo(**each) for each in value["scenarios"]]
        value["measurements"] = [Measurement(**each) for each in value["measurements"]]
        return cls(**value)
