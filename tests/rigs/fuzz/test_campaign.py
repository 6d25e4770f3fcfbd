"""`python -m tests.rigs.fuzz` with a stand-in for atheris: its report and its exit status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.fuzz.campaign import ROOT, Outcome, why_few

_BROKEN = "raise ImportError('no such wheel')\n"
_STAND_IN = """
import contextlib, sys
options = {}
def instrument_imports(include, enable_loader_override):
    assert include == ["autopilot"] and "autopilot" not in sys.modules
    return contextlib.nullcontext()
def Setup(argv, run):
    options.update(each.split("=", 1) for each in argv[1:] if each.startswith("-"))
    run(b"")
def Fuzz():
    print("#7\\tDONE   cov: 11 ft: 30 corp: 5/2Kb lim: 4096 exec/s: 900 rss: 50Mb", flush=True)
    if %r:
        open(options["-artifact_prefix"] + "crash-1", "w").close()
        print("AssertionError: a promise")
    sys.exit(%d)
"""


class CampaignTests(SynchronousTestCase):
    """One target, one input."""

    def run_with(self, atheris: str) -> subprocess.CompletedProcess[str]:
        """Run the command with this module in place of atheris."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        (folder / "atheris.py").write_text(atheris)
        path = os.pathsep.join([str(folder), str(ROOT)])
        command = [sys.executable, "-m", "tests.rigs.fuzz", "--only", "body", "--runs", "1"]
        return subprocess.run(
            [*command, "--logs", str(folder / "logs")],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def test_without_atheris(self) -> None:
        """Without atheris the command says so, and prints no result."""
        ended = self.run_with(_BROKEN)
        self.assertEqual((ended.returncode, ended.stdout), (2, ""))
        self.assertIn("Nothing was fuzzed: atheris does not work", ended.stderr)
        self.assertIn("no such wheel", ended.stderr)

    def test_nothing_found(self) -> None:
        """Progress is reported."""
        ended = self.run_with(_STAND_IN % (False, 0))
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        self.assertIn("  7 inputs in ", ended.stdout)
        self.assertIn("11 covered, corpus 5, 0 found", ended.stdout)

    def test_found(self) -> None:
        """The report of a finding has its file, the command that keeps it, and the last lines."""
        ended = self.run_with(_STAND_IN % (True, 77))
        self.assertEqual((ended.returncode, ended.stderr), (1, ""))
        self.assertIn("AssertionError: a promise\n", ended.stdout)
        self.assertRegex(ended.stdout, r"FOUND /.*/logs/body/found/crash-1\n")
        self.assertRegex(ended.stdout, r"cp /.*/crash-1 tests/rigs/fuzz/found/body/WHAT_IT_IS\n")

    def test_broken(self) -> None:
        """A fuzzer that crashes without a finding is reported as broken, not as success."""
        ended = self.run_with(_STAND_IN % (False, 1))
        self.assertEqual((ended.returncode, ended.stderr), (2, ""))
        self.assertIn("body could not be fuzzed", ended.stdout)

    def test_few(self) -> None:
        """A target with few inputs says whether they or other processes are the reason."""
        self.assertIsNone(why_few(Outcome(runs=2000, seconds=60.0, processor=1.0)))
        few = why_few(Outcome(runs=1999, seconds=60.0, processor=29.0))
        self.assertEqual(few, "other processes left it 29 s of processor time")
        few = why_few(Outcome(runs=500, seconds=60.0, processor=50.0))
        self.assertEqual(few, "each takes 100 ms, its share of the start included")
        self.assertIsNotNone(why_few(Outcome(seconds=1.0)))

    def test_progress(self) -> None:
        """Only lines of progress are recorded."""
        outcome = Outcome()
        self.assertFalse(outcome.take("INFO: Loaded 1 modules\n"))
        self.assertTrue(
            outcome.take("#128\tpulse  cov: 3 ft: 4 corp: 5/6b lim: 4 exec/s: 9 rss: 1Mb\n")
        )
        self.assertEqual((outcome.runs, outcome.coverage, outcome.corpus), (128, 3, 5))
