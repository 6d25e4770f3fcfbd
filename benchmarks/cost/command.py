"""Command line of `make cost`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import Final

from benchmarks.cost import interpreter, limits, report
from benchmarks.cost.calls import CALLS
from benchmarks.cost.client import ResponseError
from benchmarks.cost.comparison import compare, failures
from benchmarks.cost.counting import Counting
from benchmarks.cost.measuring import measure
from benchmarks.cost.scenarios import Scenario, scenarios
from benchmarks.cost.system_calls import SYSTEM_CALLS
from benchmarks.cost.valgrind import ALLOCATIONS, INSTRUCTIONS
from benchmarks.cost.windows import totals
from benchmarks.processes import ProcessError

COUNTINGS: Final = (CALLS, SYSTEM_CALLS, INSTRUCTIONS, ALLOCATIONS)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost", description=__doc__)
    names = ", ".join(each.name for each in COUNTINGS)
    add = parser.add_argument
    add("--only", metavar="PATTERN", default="", help="only scenarios whose name matches")
    add("--count", metavar="NAMES", help=f"some of {names}, separated by commas; default all")
    add(
        "--python",
        default=interpreter.default(),
        type=interpreter.found,
        help="interpreter of the router; default %(default)s",
    )
    add("--update", action="store_true", help="record what is measured in benchmarks/cost.toml")
    add("--strict", action="store_true", help="also fail if a target is missed")
    add("--by-function", metavar="SCENARIO", help="print the calls of a unit by function")
    options = parser.parse_args(given)
    known = {each.name: each for each in COUNTINGS}
    wanted = options.count.split(",") if options.count else list(known)
    if unknown := set(wanted) - set(known):
        parser.error(f"--count: {', '.join(sorted(unknown))} is none of {names}")
    options.countings = [known[name] for name in wanted]
    options.scenarios = _selected(parser, options.by_function, options.only)
    return options


def _selected(
    parser: argparse.ArgumentParser, by_function: str | None, pattern: str
) -> list[Scenario]:
    known = {each.name: each for each in scenarios()}
    if by_function is not None:
        if by_function not in known:
            parser.error(f"--by-function: one of {', '.join(known)}")
        return [known[by_function]]
    return [each for name, each in known.items() if re.search(pattern, name)]


def main(given: Sequence[str] | None = None) -> int:
    """Measure and print; return 1 if a count exceeds the file, and 2 if the measurement failed."""
    options = _arguments(given)
    try:
        if options.by_function:
            return _by_function(options)
        return _compare(options)
    except (ProcessError, ResponseError, TimeoutError, limits.LimitsError) as error:
        print(f"not measured: {error}")
        return 2


def _by_function(options: argparse.Namespace) -> int:
    for counting in options.countings if options.count else (CALLS,):
        if reason := counting.missing():
            print(f"not counted: {counting.name}: {reason}")
            continue
        costs = measure(counting, options.scenarios, options.python)
        print(*report.breakdown(costs[options.by_function]), sep="\n")
    return 0


def _compare(options: argparse.Namespace) -> int:
    file = limits.load()
    runs = interpreter.describe(options.python)
    print(f"interpreter: {runs.version}: {runs.build}")
    measured: dict[str, dict[str, float]] = {}
    not_counted: dict[str, str] = {}
    for counting in options.countings:
        reason = counting.missing()
        if reason is None:
            _measure(counting, options, measured)
        else:
            not_counted[counting.name] = reason
    rows = compare(options.scenarios, measured, file, runs)
    print(*report.table(rows), *report.summary(rows, not_counted), sep="\n")
    if options.update:
        return _update(measured, runs)
    return int(bool(failures(rows)) or (options.strict and any(row.misses_target for row in rows)))


def _measure(
    counting: Counting, options: argparse.Namespace, measured: dict[str, dict[str, float]]
) -> None:
    print(f"counting {counting.name}", flush=True)
    for name, cost in measure(counting, options.scenarios, options.python).items():
        found = totals(cost)
        counts = {metric: found.get(metric, 0.0) for metric in counting.metrics}
        measured.setdefault(name, {}).update(counts)


def _update(measured: Mapping[str, Mapping[str, float]], runs: interpreter.Interpreter) -> int:
    if not runs.comparable:
        print(f"not recorded: the file is for {interpreter.COMPARABLE}")
        return 1
    limits.PATH.write_text(limits.updated(limits.PATH.read_text(), measured, runs))
    print("recorded in benchmarks/cost.toml")
    return 0
