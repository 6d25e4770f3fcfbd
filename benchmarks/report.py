"""The report of a run: targets, one table per scenario, and how to read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.pace import SLOWED
from benchmarks.results import Measurement, Results, ScenarioInfo
from benchmarks.scenarios import NO_PROXY, UPSTREAMS
from benchmarks.targets import Medians, verdicts

BUSY: Final = 0.85
"""The share of their core above which load and upstream distort the measurement."""

_MARKS = {True: "reached", False: "**missed**", None: "not measured"}
_HEAD = (
    "",
    "CPU µs (min–max)",
    "× nginx",
    "× Caddy",
    "per s",
    "p50 added",
    "mean added",
    "p99 added",
    "load",
)
_LATENCIES = ("p50", "mean", "p99")
_HEAD_SILENT = ("", "KB per stream", "idle CPU")
_HOW = """\
Each proxy has a core of its own; load and upstream share the other. Processor time is the
scheduler's count for all threads of the proxy, divided by the requests or events of the window.
Every measurement starts a new proxy, and the proxies alternate within each round, so that a slow
minute of the machine affects all of them; the tables show medians over the rounds. Latency is
measured with stamps inside the events (or for the whole request); "added" is the difference to the
same load without a proxy. All proxies write a line per request to a file. The router runs with its
default settings: stickiness, cooldown, records, metrics and the stream guard are on.

The neighbours of a virtual machine take a share of its cores that no accounting reports. Therefore
a fixed piece of work is timed on the proxy's core before and after each measurement. A measurement
whose core was more than 20 % slower than its best is repeated at the end of the run, as far as time
allows.

`load` is the utilization of the core of load and upstream. ⚠ marks a row with more than 85 % of it,
or with errors."""


def markdown(results: Results, notes: Path) -> str:
    """Return the whole report."""
    parts = [
        "# Results",
        *_environment(results),
        _HOW,
        _disturbed(results),
        "## Targets",
        *_targets(results),
    ]
    parts += ["![CPU per event](plots/cpu.svg)", "![Latency](plots/latency.svg)"]
    for scenario in results.scenarios:
        for upstream in UPSTREAMS:
            parts += _scenario(results, scenario, upstream)
    parts += _probes(results)
    if results.problems:
        parts += ["## What failed", *(f"- {each}" for each in results.problems)]
    if notes.exists():
        parts.append(notes.read_text().strip())
    return "\n\n".join(parts) + "\n"


def terminal(results: Results) -> str:
    """Return the targets and the problems as text."""
    lines = []
    for each in verdicts(results):
        mark = {True: "ok    ", False: "MISSED", None: "-     "}[each.reached]
        lines.append(f"{mark} {each.measure}: {each.value}  [{each.limit}]")
    return "\n".join([*lines, *results.problems])


def _disturbed(results: Results) -> str:
    slowed = sum(each.slowdown > SLOWED for each in results.measurements)
    return f"Of {len(results.measurements)} measurements {slowed} remained disturbed in this run."


def _probes(results: Results) -> Iterator[str]:
    """Yield the table of single figures, whose units are in the table of targets."""
    if results.probes:
        yield "## Single figures"
        yield _table(
            ("", "median", "min–max"),
            (
                (name, f"{median(values):.4g}", f"{min(values):.4g}–{max(values):.4g}")
                for name, values in results.probes.items()
            ),
        )


def _environment(results: Results) -> Iterator[str]:
    facts = {**results.environment, **{k: str(v) for k, v in results.options.items()}}
    yield "\n".join(f"- {name}: {fact}" for name, fact in facts.items())


def _targets(results: Results) -> Iterator[str]:
    rows = [(v.measure, v.limit, v.value, _MARKS[v.reached]) for v in verdicts(results)]
    yield _table(("measure", "at most", "measured", ""), rows)


def _scenario(results: Results, scenario: ScenarioInfo, upstream: str) -> Iterator[str]:
    found = [
        each
        for each in results.measurements
        if each.scenario == scenario.key and each.upstream == upstream
    ]
    if not found:
        return
    yield f"## {scenario.title}, {upstream} upstream"
    subjects = list(dict.fromkeys(each.subject for each in found))
    if scenario.unit == "stream":
        rows = [_silent_row([each for each in found if each.subject == s]) for s in subjects]
        yield _table(_HEAD_SILENT, rows)
        return
    medians = Medians(results)
    rows = [
        _row(medians, [each for each in found if each.subject == subject]) for subject in subjects
    ]
    yield _table(_HEAD, rows)


def _silent_row(found: Sequence[Measurement]) -> tuple[str, ...]:
    each = found[0]
    size = each.grown / 1024 / max(1, each.units)
    return (_named(found), f"{size:.1f}", f"{each.cpu / each.elapsed:.1%}")


def _row(medians: Medians, found: Sequence[Measurement]) -> tuple[str, ...]:
    one = found[0]
    speed = medians.of(one.scenario, one.upstream, one.subject, lambda each: each.per_second)
    busy = f"{max(each.busy for each in found):.0%}"
    direct = one.subject == NO_PROXY.label
    if direct:
        latency = [_plain(medians, one, name) for name in _LATENCIES]
        return (_named(found), "", "", "", f"{speed:,.0f}", *latency, busy)
    values = [each.cpu_us for each in found if each.cpu_us is not None]
    cpu = medians.cpu(one.scenario, one.upstream, one.subject)
    spread = f"{cpu:.1f} ({min(values):.1f}–{max(values):.1f})" if cpu is not None else "–"
    ratios = [_over(cpu, medians.cpu(one.scenario, one.upstream, p)) for p in ("nginx", "caddy")]
    latency = [_more(medians, one, name) for name in _LATENCIES]
    return (_named(found), spread, *ratios, f"{speed:,.0f}", *latency, busy)


def _named(found: Sequence[Measurement]) -> str:
    odd = any(each.errors or each.busy > BUSY for each in found)
    errors = sum(each.errors for each in found)
    return found[0].subject + (" ⚠" if odd else "") + (f" {errors} errors" if errors else "")


def _over(cpu: float | None, other: float | None) -> str:
    return f"{cpu / other:.2f}" if cpu is not None and other else ""


def _value(medians: Medians, one: Measurement, name: str, subject: str) -> float | None:
    return medians.of(one.scenario, one.upstream, subject, lambda each: getattr(each, name))


def _plain(medians: Medians, one: Measurement, name: str) -> str:
    value = _value(medians, one, name, one.subject)
    return f"({value:,.0f} µs)" if value is not None else ""


def _more(medians: Medians, one: Measurement, name: str) -> str:
    through = _value(medians, one, name, one.subject)
    direct = _value(medians, one, name, NO_PROXY.label)
    return f"{through - direct:,.0f} µs" if through is not None and direct is not None else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
