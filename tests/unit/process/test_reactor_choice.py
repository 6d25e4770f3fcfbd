"""Tests of choosing the router's reactor: by module, by plugin, and on systems without epoll."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from tests.unit.process.reactors import HERE

ROOT = Path(__file__).resolve().parents[3]
TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"


class ProcessTests(SynchronousTestCase):
    """Choosing in a real process."""

    def python(self, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run code in an empty directory."""
        folder = self.mktemp()
        os.makedirs(folder)
        return subprocess.run(
            (sys.executable, "-c", code, *arguments),
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @skipUnless(HERE, "there is no epoll here")
    def test_import(self) -> None:
        """Importing the module installs nothing; ``install`` does."""
        code = (
            "import sys, autopilot.process.reactor as module\n"
            "assert 'twisted.internet.reactor' not in sys.modules\n"
            "module.install()\n"
            "from twisted.internet import reactor\n"
            "assert type(reactor) is module.AutopilotReactor\n"
        )
        self.assertEqual(self.python(code).stderr, "")

    @skipUnless(HERE, "there is no epoll here")
    def test_plugin(self) -> None:
        """``twistd`` lists the reactor, and runs the router on it."""
        self.assertIn("\n    autopilot\tepoll(7)", self.python(TWISTD, "--help-reactors").stdout)
        started = self.python(TWISTD, "--reactor=autopilot", "autopilot", "--check-config")
        self.assertEqual((started.returncode, started.stderr), (0, ""))

    def test_no_epoll(self) -> None:
        """Without epoll only choosing the reactor fails, with the reason."""
        without = f"import select; vars(select).pop('epoll', None); {TWISTD}"
        listed = self.python(without, "--help-reactors").stdout
        self.assertRegex(listed, r"(?s)not available.*!autopilot.*\(requires epoll")
        chosen = self.python(without, "--reactor=autopilot", "autopilot")
        self.assertEqual(chosen.returncode, 1)
        self.assertIn("cannot be used, failed with error: requires epoll", chosen.stdout)
        started = self.python(without, "autopilot", "--check-config")
        self.assertEqual((started.returncode, started.stderr), (0, ""))
