"""Fails if the line or the branch coverage of a gated folder is too low.

``coverage report`` adds lines and branches up, so that many covered lines hide missing branches.
Here each must reach the limit in each folder.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


def measured(folder: str) -> dict[str, Any]:
    """Return the totals of ``coverage json`` for one folder of ``autopilot``."""
    with TemporaryDirectory() as scratch:
        report = Path(scratch, "coverage.json")
        command = ("json", "-q", "-o", str(report), "--include", f"autopilot/{folder}/*")
        subprocess.run((sys.executable, "-m", "coverage", *command), check=True)
        totals: dict[str, Any] = json.loads(report.read_bytes())["totals"]
    return totals


def percent(covered: int, total: int) -> float:
    """Return the covered share in percent; 100 of nothing."""
    return 100.0 * covered / total if total else 100.0


def main(arguments: list[str]) -> int:
    """Print a row for each folder; return 1 if one is below the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at-least", type=float, default=95.0)
    parser.add_argument("folders", nargs="+")
    given = parser.parse_args(arguments)
    subprocess.run((sys.executable, "-m", "coverage", "report"), check=True)
    print(f"\n{'folder':<12}{'lines':>9}{'branches':>10}   (each at least {given.at_least:g} %)")
    failed = False
    for folder in given.folders:
        totals = measured(folder)
        lines = percent(totals["covered_lines"], totals["num_statements"])
        branches = percent(totals["covered_branches"], totals["num_branches"])
        bad = min(lines, branches) < given.at_least
        failed = failed or bad
        print(f"{folder:<12}{lines:>8.1f}%{branches:>9.1f}%{'   TOO LOW' if bad else ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
