"""`python -m tests.rigs.smoke [words …]`: runs all scenarios, or those whose name has a word."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import NoReturn

from tests.rigs.smoke.processes import ROOT
from tests.rigs.smoke.run import SCENARIOS, run


def main(arguments: list[str]) -> int:
    """Run the selected scenarios; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.rigs.smoke", description=__doc__)
    parser.add_argument(
        "words", nargs="*", help="run only the scenarios whose name contains one of these"
    )
    parser.add_argument(
        "--logs", type=Path, default=ROOT / "logs" / "smoke", help="where to report"
    )
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _leave)
    chosen = [
        each
        for each in SCENARIOS
        if not given.words or any(word in each.name for word in given.words)
    ]
    return run(chosen, given.logs, lambda line: print(line, flush=True))


def _leave(_number: int, _frame: object) -> NoReturn:
    """Exit through `SystemExit`, so that the children are stopped too."""
    raise SystemExit(143)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
