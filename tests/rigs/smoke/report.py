"""The report of a run: a table for people, JSON for programs, an exit status for both."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.rigs.smoke.scenario import Result


def exit_status(results: Sequence[Result]) -> int:
    """Return 0 if there were scenarios and all of them passed."""
    return 0 if results and all(each.passed for each in results) else 1


def row(result: Result, width: int) -> str:
    """Return the table row of a scenario, followed by a line for each failed check."""
    verdict = "ok" if result.passed else "FAILED"
    cells = (_cell(result.status), _cell(result.attempts), str(result.ms))
    line = f"{result.name:<{width}}  {verdict:<7}{cells[0]:>7}{cells[1]:>10}{cells[2]:>7}"
    return "\n".join((line, *_complaints(result)))


def heading(width: int) -> str:
    """Return the first line of the table. `attempts` are the calls that the stub received."""
    return f"{'scenario':<{width}}  {'verdict':<7}{'status':>7}{'attempts':>10}{'ms':>7}"


def closing(results: Sequence[Result]) -> str:
    """Return the last line of the run."""
    passed = sum(each.passed for each in results)
    return f"{passed} passed, {len(results) - passed} failed"


def as_json(results: Sequence[Result], started: datetime, seconds: float) -> dict[str, Any]:
    """Return the whole report."""
    return {
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 2),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "passed": sum(each.passed for each in results),
        "failed": sum(not each.passed for each in results),
        "scenarios": [
            {"verdict": "passed" if each.passed else "failed", **asdict(each)} for each in results
        ],
    }


def write(report: dict[str, Any], folder: Path) -> Path:
    """Write the report beside its transcripts and as `latest.json`; return the latter's path."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**report, "folder": folder.name}, indent=2) + "\n"
    (folder / "report.json").write_text(text)
    latest = folder.parent / "latest.json"
    latest.write_text(text)
    return latest


def _complaints(result: Result) -> Iterator[str]:
    if result.error is not None:
        yield f"    {result.error}"
    if not result.checks and result.error is None:
        yield "    nothing was checked"
    for check in result.checks:
        if not check.ok:
            yield f"    {check.what}: expected {check.expected}, got {check.actual}"


def _cell(value: int | None) -> str:
    return "-" if value is None else str(value)
