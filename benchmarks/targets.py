"""The router's performance targets, and whether a run met them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Final

from benchmarks.results import Measurement, Results
from benchmarks.scenarios import (
    BEST,
    BY_WORKERS,
    EARLIER,
    NAMED,
    NO_PROXY,
    PLAIN,
    PRIVATE_STREAM,
    PRIVATE_UNARY,
    SEALED,
    TLS,
    WORKERS_STREAM,
    WORKERS_UNARY,
)
from benchmarks.worker_probes import CONFINED, FURTHER_WORKER

OURS: Final = BEST.label
_CLOSED, _STREAMS = "unary-closed", "stream-400"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target: the limit, the result, and whether it is met; None if it was not measured."""

    measure: str
    limit: str
    value: str
    reached: bool | None


class Medians:
    """The medians over the rounds of a run."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def of(
        self,
        scenario: str,
        upstream: str,
        subject: str,
        read: Callable[[Measurement], float | None],
    ) -> float | None:
        """Return the median of one figure, or None if it was not measured."""
        values = [
            value
            for each in self._results.measurements
            if (each.scenario, each.upstream, each.subject) == (scenario, upstream, subject)
            and (value := read(each)) is not None
        ]
        return median(values) if values else None

    def cpu(self, scenario: str, upstream: str, subject: str) -> float | None:
        """Return the proxy's processor time per unit, in microseconds."""
        return self.of(scenario, upstream, subject, lambda each: each.cpu_us)

    def added(self, scenario: str, subject: str, percentile: str) -> float | None:
        """Return the latency added by a proxy over a plain upstream, in microseconds."""

        def read(each: Measurement) -> float | None:
            value: int | None = getattr(each, percentile)
            return value

        through = self.of(scenario, PLAIN, subject, read)
        direct = self.of(scenario, PLAIN, NO_PROXY.label, read)
        return None if through is None or direct is None else through - direct

    def probe(self, name: str) -> float | None:
        """Return the median of a probe's figures."""
        values = self._results.probes.get(name)
        return median(values) if values else None

    def first_byte_added(self, kind: str, proxy: str) -> float | None:
        """Return the time to the first byte added by a proxy, in microseconds."""
        through = self.probe(f"first byte, {kind}, {proxy}")
        direct = self.probe(f"first byte, {kind}, direct")
        return None if through is None or direct is None else through - direct

    def memory_per_stream(self) -> float | None:
        """Return the memory per silent stream, in KB."""
        return self.of("silent", PLAIN, OURS, lambda each: each.grown / 1024 / max(1, each.units))


def verdicts(results: Results) -> list[Verdict]:
    """Return all targets, in order."""
    m = Medians(results)
    return [
        *_against_caddy(m, "CPU per unary request", _CLOSED, 0.85, 1.3, "aim: 2 × nginx"),
        *_against_caddy(m, "CPU per event, 400 × 50/s", _STREAMS, 1.0, 1.3, "aim: 1.3 × nginx"),
        _ratio(
            "p50 added per event, 400 × 50/s",
            m.added(_STREAMS, OURS, "p50"),
            m.added(_STREAMS, "caddy", "p50"),
            1.1,
            "Caddy",
        ),
        _ratio(
            "p99 added per event, 400 × 50/s",
            m.added(_STREAMS, OURS, "p99"),
            m.added(_STREAMS, "caddy", "p99"),
            1.0,
            "Caddy",
        ),
        *_first_bytes(m),
        _limit("peak memory, 64 clients with 150 KB bodies", m.probe("peak memory"), 120, "MB"),
        _ratio(
            "p99 of 200 streams beside a 1 MB body a second",
            m.probe("p99 beside 1 × 1 MB a second, autopilot"),
            m.probe("p99 alone, autopilot"),
            1.5,
            "without them",
        ),
        _limit("stall when 500 clients leave", m.probe("stall"), 50, "ms"),
        _limit("silent upstream closed after", m.probe("upstream closed after"), 100, "ms"),
        _ratio(
            "CPU per event, 5,000 streams",
            m.cpu("stream-5000", PLAIN, OURS),
            m.cpu("growth-100", PLAIN, OURS),
            1.25,
            "100 streams",
        ),
        _limit("memory per silent stream", m.memory_per_stream(), 40, "KB"),
        *_against_litellm(m),
        *_workers(m),
        *_private(m),
        *_against_before(m, results),
        _limit("start to readiness", m.probe("ready after"), 1.5, "s"),
        _limit("import autopilot", m.probe("import autopilot"), 0.5, "s"),
        _limit("feed refresh, 540 records", m.probe("feed refresh"), 5, "ms"),
    ]


def _against_caddy(
    m: Medians, measure: str, scenario: str, plain: float, tls: float, aim: str
) -> list[Verdict]:
    found = []
    for upstream, limit, words in (
        (PLAIN, plain, "plain upstream"),
        (TLS, tls, "TLS upstream"),
    ):
        ours, caddy, nginx = (m.cpu(scenario, upstream, each) for each in (OURS, "caddy", "nginx"))
        verdict = _ratio(f"{measure}, {words}", ours, caddy, limit, "Caddy", aim)
        if ours and nginx:
            value = f"{verdict.value}; {ours / nginx:.2f} × nginx"
            verdict = Verdict(verdict.measure, verdict.limit, value, verdict.reached)
        found.append(verdict)
    return found


def _first_bytes(m: Medians) -> list[Verdict]:
    found = [
        _ratio(
            f"first byte added, idle, {kind}",
            m.first_byte_added(kind, "autopilot"),
            m.first_byte_added(kind, "caddy"),
            2.0,
            "Caddy",
        )
        for kind in ("unary", "stream")
    ]
    added = m.first_byte_added("unary", "autopilot")
    return [*found, _limit("p50 added, idle, unary", added, 150, "µs")]


def _against_litellm(m: Medians) -> list[Verdict]:
    """Compare with LiteLLM, each at a load that its core can bear."""
    found = []
    for unit, ours, theirs, times in (
        ("event", m.cpu(_STREAMS, PLAIN, OURS), m.cpu("small-stream", PLAIN, "litellm"), 25),
        ("request", m.cpu("small-unary", PLAIN, OURS), m.cpu("small-unary", PLAIN, "litellm"), 80),
    ):
        measure, limit = f"CPU per {unit} against LiteLLM", f"≥ {times} × less"
        if not ours or theirs is None:
            found.append(Verdict(measure, limit, "not measured", None))
            continue
        value = f"{theirs / ours:.0f} × less ({ours:.0f} against {theirs:.0f} µs)"
        found.append(Verdict(measure, limit, value, theirs >= times * ours))
    return found


def _workers(m: Medians) -> list[Verdict]:
    """Compare a router with workers with one of a single process."""
    found = []
    for scenario, unit in ((WORKERS_UNARY, "unary request"), (WORKERS_STREAM, "event")):
        one = m.cpu(scenario, PLAIN, OURS)
        found += [
            _ratio(
                f"CPU per {unit}, {count} workers on one core",
                m.cpu(scenario, PLAIN, subject.label),
                one,
                1.1,
                "one process",
            )
            for count, subject in BY_WORKERS.items()
        ]
    one, two = m.probe(CONFINED[1]), m.probe(CONFINED[2])
    measure, limit = "throughput of two workers, each confined to a fifth of a core", "≥ 1.7 × one"
    if one and two is not None:
        value = f"{two / one:.2f} × ({two:,.0f} against {one:,.0f} requests/s)"
        found.append(Verdict(measure, limit, value, two >= 1.7 * one))
    else:
        found.append(Verdict(measure, limit, "not measured", None))
    found.append(
        _limit("proportional memory of each further worker", m.probe(FURTHER_WORKER), 45, "MB")
    )
    return found


def _private(m: Medians) -> list[Verdict]:
    """Compare private mode with the plain path."""
    found = []
    for scenario, unit, most in ((PRIVATE_STREAM, "event", 25), (PRIVATE_UNARY, "request", 500)):
        sealed, plain = (m.cpu(scenario, PLAIN, each.label) for each in (SEALED, NAMED))
        more = None if sealed is None or plain is None else sealed - plain
        found.append(_limit(f"CPU per sealed {unit}, over a plain one", more, most, "µs"))
    return found


def _against_before(m: Medians, results: Results) -> list[Verdict]:
    """Compare with the earlier checkout, wherever it was measured."""
    found = []
    for each in results.scenarios:
        for upstream in (PLAIN, TLS):
            before = m.cpu(each.key, upstream, EARLIER.label)
            if before is not None:
                measure = f"CPU against the earlier checkout: {each.title}, {upstream} upstream"
                ours = m.cpu(each.key, upstream, OURS)
                found.append(_ratio(measure, ours, before, 1.03, "before"))
    return found


def _ratio(
    measure: str, ours: float | None, other: float | None, most: float, whose: str, aim: str = ""
) -> Verdict:
    limit = f"≤ {most:g} × {whose}" + (f" ({aim})" if aim else "")
    if ours is None or not other or other < 0:
        return Verdict(measure, limit, "not measured", None)
    value = f"{ours / other:.2f} × ({ours:.1f} against {other:.1f} µs)"
    return Verdict(measure, limit, value, ours <= most * other)


def _limit(measure: str, value: float | None, most: float, unit: str) -> Verdict:
    limit = f"≤ {most:g} {unit}"
    if value is None:
        return Verdict(measure, limit, "not measured", None)
    return Verdict(measure, limit, f"{value:.3g} {unit}", value <= most)
