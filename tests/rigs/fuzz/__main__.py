"""`python -m tests.rigs.fuzz`: runs each target under a coverage-guided fuzzer."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.rigs.fuzz.campaign import ROOT, Outcome, fuzz, how_to_keep, why_few
from tests.rigs.fuzz.targets import TARGETS, Target

_UNUSABLE = 2


def main(given: Sequence[str] | None = None) -> int:
    """Run the targets; return 0 without findings, 1 with findings, 2 if one cannot run."""
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
        report(TARGETS[name], outcome)
        outcomes.append(outcome)
    if any(each.found for each in outcomes):
        return 1
    return _UNUSABLE if any(each.broken for each in outcomes) else 0


def unusable() -> str | None:
    """Return why atheris cannot be used, or ``None``.

    A child process imports it, because a broken installation can crash the interpreter.
    """
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


def report(target: Target, outcome: Outcome) -> None:
    """Print the outcome of one target."""
    pace = outcome.runs / outcome.seconds if outcome.seconds else 0.0
    print(
        f"  {outcome.runs} inputs in {outcome.seconds:.0f} s ({pace:.0f} a second),"
        f" {outcome.coverage} covered, corpus {outcome.corpus}, {len(outcome.found)} found",
        flush=True,
    )
    if (reason := why_few(outcome)) is not None:
        print(f"  Few inputs: {reason}.", flush=True)
    if outcome.found or outcome.broken:
        print(outcome.output_tail)
    if outcome.broken:
        print(f"  {target.name} could not be fuzzed.")
    for path in outcome.found:
        print(f"FOUND {path}")
        print(f"  keep it as a seed, which the tests run from now on: {how_to_keep(target, path)}")


def _progress(text: str) -> None:
    print(f"  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
