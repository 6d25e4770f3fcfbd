"""`python -m tests.rigs.fuzz`: every target under a coverage-guided fuzzer, for a while each."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.rigs.fuzz.campaign import ROOT, Outcome, fuzz, how_to_keep
from tests.rigs.fuzz.targets import TARGETS, Target

_UNUSABLE = 2


def main(given: Sequence[str] | None = None) -> int:
    """Run, report, and tell: 0 nothing found, 1 something, 2 it could not be run."""
    parser = argparse.ArgumentParser(prog="python -m tests.rigs.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target, default 60")
    parser.add_argument("--runs", type=int, default=0, help="inputs for each target at most")
    parser.add_argument("--only", action="append", choices=sorted(TARGETS), help="this target")
    parser.add_argument("--logs", type=Path, default=ROOT / "logs" / "fuzz", help="where to keep")
    options = parser.parse_args(given)
    if (complaint := unusable()) is not None:
        print(f"Nothing was fuzzed: {complaint}", file=sys.stderr)
        return _UNUSABLE
    outcomes = []
    for name in options.only or TARGETS:
        print(f"{name}:", flush=True)
        folder = options.logs.absolute() / name
        outcome = fuzz(
            TARGETS[name], folder, seconds=options.seconds, runs=options.runs, say=_progress
        )
        tell(TARGETS[name], outcome)
        outcomes.append(outcome)
    if any(each.found for each in outcomes):
        return 1
    return _UNUSABLE if any(each.broken for each in outcomes) else 0


def unusable() -> str | None:
    """Why atheris cannot be used, or ``None``; asked of another process, which it may take down."""
    asked = subprocess.run(
        [sys.executable, "-c", "import atheris; atheris.Setup, atheris.Fuzz"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    if asked.returncode == 0:
        return None
    reason = (asked.stderr.strip().splitlines() or [f"it ended with {asked.returncode}"])[-1]
    return (
        f"atheris does not work in {sys.executable} ({reason}).\n`make fuzz` installs it from"
        " locks/development.txt; it has wheels for CPython 3.11 to 3.13 on Linux (x86-64) only."
    )


def tell(target: Target, outcome: Outcome) -> None:
    """Say what came of one target."""
    pace = outcome.runs / outcome.seconds if outcome.seconds else 0.0
    print(
        f"  {outcome.runs} inputs in {outcome.seconds:.0f} s ({pace:.0f} a second),"
        f" {outcome.coverage} covered, corpus {outcome.corpus}, {len(outcome.found)} found",
        flush=True,
    )
    if outcome.found or outcome.broken:
        print(outcome.last_words)
    if outcome.broken:
        print(f"  {target.name} could not be fuzzed.")
    for path in outcome.found:
        print(f"FOUND {path}")
        print(f"  make it a seed, which the tests try from then on: {how_to_keep(target, path)}")


def _progress(text: str) -> None:
    print(f"  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
