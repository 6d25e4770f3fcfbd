"""Prometheus's own checks, if it is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from unittest import SkipTest

ROOT = Path(__file__).resolve().parents[3]
RULES = ROOT / "deploy" / "prometheus"


def promtool(*arguments: str, text: str = "") -> tuple[int, str]:
    """Run promtool; return its exit status and output."""
    program = shutil.which("promtool")
    if program is None:
        raise SkipTest("promtool (Debian's package prometheus) is not installed")
    done = subprocess.run(
        [program, *arguments], input=text, capture_output=True, text=True, check=False, cwd=ROOT
    )
    return done.returncode, done.stdout + done.stderr
