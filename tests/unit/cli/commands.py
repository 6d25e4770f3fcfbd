"""The ``autopilot`` command as a separate process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from autopilot.settings import DECLARED

ROOT = Path(__file__).resolve().parents[3]
_OURS = {setting.name for setting in DECLARED}


def start(folder: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """Start it in a folder, with only these settings in its environment."""
    return _started(folder, arguments, variables, subprocess.DEVNULL)


def start_reading(stdin: IO[bytes], *arguments: str) -> subprocess.Popen[str]:
    """Start it with a standard input."""
    return _started(".", arguments, {}, stdin)


def _started(
    folder: str, arguments: Sequence[str], variables: Mapping[str, str], stdin: IO[bytes] | int
) -> subprocess.Popen[str]:
    environ = {name: text for name, text in os.environ.items() if name not in _OURS}
    environ.update({"COLUMNS": "100", **variables}, PYTHONPATH=str(ROOT))
    # What runs the tests in the background may have SIGINT ignored, which a child would inherit.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            (sys.executable, "-m", "autopilot", *arguments),
            cwd=folder,
            env=environ,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


class Done:
    """The result of a process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.output, self.complaint = process.communicate(timeout=60)
        self.status = process.returncode


def run(folder: str, *arguments: str, **variables: str) -> Done:
    """Run it until it ends."""
    return Done(start(folder, *arguments, **variables))
