"""The command line, which runs the measurements and writes the report."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmarks import environment, report
from benchmarks.confinement import ConfinementError
from benchmarks.measuring import Rig, measure
from benchmarks.pace import SLOWED, Pace
from benchmarks.probes import PROBES, Probe
from benchmarks.processes import PROJECT, Cores, ProcessError
from benchmarks.results import Results, ScenarioInfo
from benchmarks.rounds import TimeLeft, expected, run, steps
from benchmarks.scenarios import Item, plan, table
from benchmarks.servers import DIRECT, proxies

_HERE = PROJECT / "benchmarks"
_OUT = _HERE / "out"
_RAW = _OUT / "results.json"
_PROBE_TRIES = 3


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two minutes; reports to out/")
    parser.add_argument("--only", metavar="PATTERN", help="measurements and probes by name")
    parser.add_argument("--rounds", type=int, help="default 3")
    parser.add_argument("--seconds", type=float, help="length of a window, default 3")
    parser.add_argument("--proxies", help="some of direct,autopilot,before,nginx,caddy,litellm")
    parser.add_argument("--reactor", default="autopilot", help="the router's, default autopilot")
    parser.add_argument("--before", type=Path, help="an earlier checkout, with its .venv")
    parser.add_argument("--report", action="store_true", help="report the last run once more")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Measure and report, and return the exit status."""
    options = _arguments(given)
    if not options.report:
        _measure(options).save(_RAW)
    results = Results.load(_RAW)
    whole = not (options.quick or options.only or options.proxies)
    folder = _HERE if whole or options.report else _OUT
    _plots(folder)
    (folder / "results.md").write_text(report.markdown(results, _HERE / "notes.md"))
    print(report.terminal(results))
    return 0


def _measure(options: argparse.Namespace) -> Results:
    known = proxies(options.reactor, options.before)
    missing = [each.missing for each in known.values() if each.missing]
    present = {name: each for name, each in known.items() if not each.missing}
    names = options.proxies.split(",") if options.proxies else [DIRECT, *present]
    names = [name for name in names if name == DIRECT or name in present]
    rounds = options.rounds or (1 if options.quick else 3)
    seconds = options.seconds or (1.0 if options.quick else 3.0)
    warmup = 0.5 if options.quick else 1.0
    items = plan(table(), options.only, names, quick=options.quick)
    results = Results(
        environment.describe(),
        {"rounds": rounds, "seconds of a window": seconds, "reactor": options.reactor},
        scenarios=_infos(items),
        problems=list(missing),
    )
    todo = steps(items, rounds)
    cores = Cores.available()
    pace = Pace.of_core(cores.proxy)
    with Rig(present, cores) as rig:
        left = TimeLeft(expected(todo, warmup, seconds))
        run(todo, lambda s: measure(rig, s.item, s.round, warmup, seconds), pace, results, left)
        _probe(rig, pace, results, options.only, 1 if options.quick else rounds)
    return results


def _infos(items: Sequence[Item]) -> list[ScenarioInfo]:
    scenarios = dict.fromkeys(item.scenario for item in items)
    return [
        ScenarioInfo(each.key, each.title, each.unit, each.kind, each.connections, each.growth)
        for each in scenarios
    ]


def _probe(rig: Rig, pace: Pace, results: Results, only: str | None, rounds: int) -> None:
    for number in range(1, rounds + 1):
        for name, probe in PROBES.items():
            if only is not None and not re.search(only, name):
                continue
            try:
                found = _undisturbed(probe, rig, pace)
            except (ConfinementError, KeyError, OSError, ProcessError) as error:
                results.problems.append(f"probe {name}: {error}")
                print(results.problems[-1], flush=True)
                continue
            for figure, value in found:
                results.probes.setdefault(figure, []).append(value)
                print(f"[probe, round {number}] {figure}: {value:.4g}", flush=True)


def _undisturbed(probe: Probe, rig: Rig, pace: Pace) -> list[tuple[str, float]]:
    """Return what a probe measures while the machine is undisturbed, or on its last try."""
    for _ in range(_PROBE_TRIES - 1):
        slowdown = pace.quiet()
        found = list(probe(rig))
        if max(slowdown, pace.slowdown()) <= SLOWED:
            return found
    return list(probe(rig))


def _plots(folder: Path) -> None:
    if find_spec("matplotlib") is None:
        print("no plots: matplotlib is not installed; make venv does that")
        return
    command = [sys.executable, "-m", "benchmarks.plots", str(_RAW), str(folder / "plots")]
    subprocess.run(command, check=True, cwd=PROJECT)


if __name__ == "__main__":
    sys.exit(main())
