"""The hold suite with real processes: an input is played and reported; no time is judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.smoke.processes import ROOT

_WANTED = {
    ("pipelining: one honest request", "own"): "200",
    ("bodies: messages of nothing, 10 KiB", "own"): "200",
    ("bodies: honest text, 1 MB", "embedded"): "200",
    ("heads: 90 fields", "upstream TLS"): "200",
}


class RunTests(SynchronousTestCase):
    """The command."""

    def test_some_inputs(self) -> None:
        """Each input reaches the router, on both channels and behind TLS."""
        if not Path("/proc/self/schedstat").exists():
            raise SkipTest("the time that threads wait is counted in /proc")
        folder = Path(self.mktemp()).absolute()
        only = "|".join(f"{title} .{setup}." for title, setup in _WANTED)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.rigs.hold", "--only", only),
                *("--logs", str(folder), "--results", str(folder / "rows")),
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        self.assertIn(done.returncode, (0, 1), done.stdout + done.stderr)
        rows = json.loads((folder / "report.json").read_text())["rows"]
        found = {(row["title"], row["setup"]): row["statuses"] for row in rows}
        self.assertEqual(found, _WANTED, done.stdout + done.stderr)

    def test_no_input(self) -> None:
        """An expression that fits no input is reported by the status."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.rigs.hold", "--only", "no such input"],
            cwd=ROOT,
            capture_output=True,
            check=False,
            timeout=60,
        )
        self.assertEqual(done.returncode, 2)
