"""A soak test of a few seconds, with router, upstream and clients."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.smoke.processes import ROOT


class RunTests(SynchronousTestCase):
    """The command."""

    def test_short_run(self) -> None:
        """It exits with status 0, and its report counts requests of many kinds."""
        self.runs()

    def test_workers(self) -> None:
        """So does it with workers, whose store misbehaves."""
        report = self.runs("--workers", "2", "--store")
        self.assertGreater(sum(report["counts"]["disturbances of the store"].values()), 0)

    def runs(self, *options: str) -> Any:
        """Run it for a moment; return the report."""
        if not Path("/proc/self/fd").exists():
            raise SkipTest("open files are counted in /proc")
        folder = Path(self.mktemp()).absolute()
        command = [sys.executable, "-m", "tests.rigs.soak", "--seconds", "1.2", "--seed", "11"]
        command += ["--clients", "12", "--last-answers", "0.5", "--logs", str(folder)]
        done = subprocess.run(
            [*command, *options],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        report = json.loads((folder / "report.json").read_text())
        self.assertEqual((report["ok"], report["violations"]), (True, []))
        self.assertGreater(report["figures"]["requests"], 20)
        self.assertGreater(len(report["tally"]), 5)
        self.assertIn("Every response was correct", (folder / "report.md").read_text())
        self.assertIn("<polyline", (folder / "soak.svg").read_text())
        return report
