"""`python -m tests.rigs.hold`: plays hostile inputs and judges how long they hold the router."""

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
from tests.rigs.hold.run import HoldSuite, cases, this_machine
from tests.rigs.smoke.processes import ROOT

PAGE: Final = ROOT / "research" / "RELIABILITY.md"
_NOISE_MS: Final = 25.0


def main(given: Sequence[str] | None = None) -> int:
    """Run the suite; return 0 if every input is within its limits."""
    parser = argparse.ArgumentParser(prog="python -m tests.rigs.hold", description=__doc__)
    parser.add_argument("--only", metavar="REGEX", default="", help="of 'family: input [router]'")
    parser.add_argument("--list", action="store_true", help="print the inputs and exit")
    parser.add_argument("--table", action="store_true", help=f"write the section of {PAGE.name}")
    parser.add_argument("--logs", type=Path, default=ROOT / "logs" / "hold", help="where to report")
    options = parser.parse_args(given)
    wanted = cases(INPUTS, re.compile(options.only).search)
    if options.list or not wanted:
        print("\n".join(f"{each.given.title} [{each.setup.name}]" for each in wanted))
        return 0 if wanted else 2
    folder = options.logs.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    began, rows = time.monotonic(), list[Row]()
    with HoldSuite(INPUTS, folder).opened() as suite:
        noise = suite.noise()
        print(f"{len(wanted)} inputs; an idle router: {noise:.1f} ms", flush=True)
        for case in wanted:
            rows.append(suite.play(case))
            print(line(rows[-1]), flush=True)
    on = this_machine(noise)
    write(rows, on, folder)
    if options.table:
        replace_section(PAGE, section(rows, on))
    return _result(rows, noise, time.monotonic() - began)


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
