"""`python -m tests.rigs.hold`: plays hostile inputs and judges how long they hold the router.

The rows are stored by family and commit as they come, so that a run can be divided or resumed, and
`--table` can write the whole table from several runs.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.rigs.hold.families import INPUTS
from tests.rigs.hold.judge import Row, Verdict
from tests.rigs.hold.report import line, replace_section, section, write
from tests.rigs.hold.results import MixedError, Results, in_order, this_commit
from tests.rigs.hold.run import Case, HoldSuite, cases, this_machine
from tests.rigs.smoke.processes import ROOT

PAGE: Final = ROOT / "research" / "RELIABILITY.md"
_NOISE_MS: Final = 25.0
_FAMILIES: Final = tuple(dict.fromkeys(each.family for each in INPUTS))


def main(given: Sequence[str] | None = None) -> int:
    """Run the suite; return 0 if every input is within its limits."""
    options = _parser().parse_args(given)
    results = Results(options.results.absolute(), this_commit())
    if options.table:
        return _write_table(results, options.page, mixed=options.any_commit)
    wanted = cases(INPUTS, re.compile(options.only).search)
    if options.family:
        wanted = [case for case in wanted if case.given.family in options.family]
    if options.resume:
        done = results.done()
        wanted = [case for case in wanted if case.key not in done]
    if options.list or not wanted:
        print("\n".join(f"{each.given.title} [{each.setup.name}]" for each in wanted))
        return 0 if wanted or options.resume else 2
    return _play(wanted, results, options.logs.absolute())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.rigs.hold", description=__doc__)
    parser.add_argument("--only", metavar="REGEX", default="", help="of 'family: input [router]'")
    parser.add_argument("--family", action="append", choices=_FAMILIES, help="this family")
    parser.add_argument("--resume", action="store_true", help="leave out what has a stored row")
    parser.add_argument("--list", action="store_true", help="print the inputs and exit")
    parser.add_argument(
        "--table",
        action="store_true",
        help=f"write the section of {PAGE.name} from the stored rows, and exit",
    )
    parser.add_argument(
        "--any-commit", action="store_true", help="with --table: rows of any commit"
    )
    parser.add_argument("--logs", type=Path, default=ROOT / "logs" / "hold", help="where to report")
    parser.add_argument(
        "--results", type=Path, default=ROOT / "build" / "hold", help="where rows are stored"
    )
    parser.add_argument("--page", type=Path, default=PAGE, help=argparse.SUPPRESS)
    return parser


def _play(wanted: Sequence[Case], results: Results, folder: Path) -> int:
    """Play inputs, store and report their rows; return the exit status."""
    folder.mkdir(parents=True, exist_ok=True)
    began, rows = time.monotonic(), list[Row]()
    with HoldSuite(INPUTS, folder).opened() as suite:
        noise = suite.noise()
        on = this_machine(noise)
        print(f"{len(wanted)} inputs; an idle router: {noise:.1f} ms", flush=True)
        for case in wanted:
            rows.append(suite.play(case))
            results.add(rows[-1], on)
            print(line(rows[-1]), flush=True)
    write(rows, on, folder)
    return _result(rows, noise, time.monotonic() - began)


def _write_table(results: Results, page: Path, *, mixed: bool) -> int:
    """Write the section of the page from the stored rows; return the exit status."""
    try:
        stored = results.load(mixed=mixed)
    except MixedError as error:
        print(f"{error}; --any-commit takes them as they are.", file=sys.stderr)
        return 2
    keys = [case.key for case in cases(INPUTS, bool)]
    rows = in_order(stored.rows, keys)
    missing = len(keys) - len(rows)
    replace_section(page, section(rows, stored.machine, commit=stored.commit, missing=missing))
    print(f"{page}: {len(rows)} of {len(keys)} inputs")
    return 1 if any(row.verdict.failed for row in rows) else 0


def _result(rows: Sequence[Row], noise: float, seconds: float) -> int:
    """Print what exceeds its limits; return the exit status."""
    failed = [row for row in rows if row.verdict.failed]
    noisy = sum(row.verdict is Verdict.NOISY for row in rows)
    print(f"\n{len(rows)} inputs in {seconds:.0f} s: {len(failed)} exceed a limit, {noisy} noisy")
    if noise > _NOISE_MS:
        print(f"This machine is noisy: an idle router was held {noise:.0f} ms.")
    for row in failed:
        print(line(row))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
