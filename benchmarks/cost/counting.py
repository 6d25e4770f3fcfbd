"""Definition of one kind of counting: its tool, and the reader of that tool's output."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.cost.router import Tool
from benchmarks.cost.windows import Window

Reports = Sequence[Mapping[str, Any]]
"""Reports of the launcher, one per mark."""

TRACE: Final = "trace"
"""Name of the file that a tool writes."""

_PATIENCE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Counting:
    """One kind of counting.

    After `warmup` units, each window has `few` units or `few + more`. `missing` returns why the
    tool cannot run here, or None. `tool` takes the folder for output; `read` takes the folder and
    the reports, and returns the windows, of which the first ends with the first mark. Without
    `records`, the scenarios that write records are left out, which saves the start of a router.
    """

    name: str
    metrics: tuple[str, ...]
    missing: Callable[[], str | None]
    tool: Callable[[Path], Tool]
    read: Callable[[Path, Reports], list[Window]]
    warmup: int = 50
    few: int = 20
    more: int = 100
    rounds: int = 3
    records: bool = True


def why_not(*command: str) -> str | None:
    """Return why a command cannot run here, or None when it can."""
    if shutil.which(command[0]) is None:
        return f"{command[0]} is not installed"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        return f"{command[0]} does not work: {lines[-1]}"
    return None
