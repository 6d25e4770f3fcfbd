"""The README: short, complete, and true, from the installation to the first answer."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.smoke.processes import RouterProcess, StubProcess
from tools.docs.blocks import ROOT, blocks_of

README = ROOT / "README.md"
_MOST_LINES = 150
_PATIENCE = 240
_LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")
# What runs each command of a console, the only blocks of this page that are not run as they are.
_CONSOLE = ("uv tool install .", "autopilot run", "autopilot try Hello")


class ReadmeTests(SynchronousTestCase):
    """The page itself."""

    def test_length(self) -> None:
        """It is a page to begin with; the others are linked."""
        self.assertLessEqual(len(README.read_text("utf-8").splitlines()), _MOST_LINES)

    def test_links(self) -> None:
        """Every page and picture is there."""
        links = _LINK.findall(README.read_text("utf-8"))
        local = [each for each in links if "://" not in each]
        self.assertIn("docs/images/status.png", local)
        for each in local:
            self.assertTrue((ROOT / each).exists(), each)

    def test_console(self) -> None:
        """The commands of a console are those that the transcript below runs."""
        found = [
            line.removeprefix("$ ")
            for each in blocks_of(README, "console")
            for line in each.text.splitlines()
        ]
        self.assertEqual(tuple(found), _CONSOLE)


class TranscriptTests(SynchronousTestCase):
    """The first commands, in their order, in folders of their own."""

    def setUp(self) -> None:
        """Create the folders, and a stand-in for the platform."""
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.bin = self.folder / "bin"
        self.stub = StubProcess("stub", self.folder, ())
        self.addCleanup(self.stub.kill)

    def run_command(self, *command: str, **variables: str) -> str:
        """Run a command that succeeds; return its output."""
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_transcript(self) -> None:
        """uv installs the command, which starts the router and gets an answer from it."""
        install, run, ask = (each.split() for each in _CONSOLE)
        uv = Path(sys.executable).with_name("uv")
        self.run_command(
            str(uv),
            *install[1:],
            UV_TOOL_DIR=str(self.folder / "tools"),
            UV_TOOL_BIN_DIR=str(self.bin),
            UV_PYTHON=sys.executable,
        )
        program = str(self.bin / "autopilot")
        self.stub.start()
        command = (program, *run[1:])
        router = RouterProcess("router", self.folder, self.stub.port, {"PYTHONPATH": ""}, command)
        self.addCleanup(router.kill)
        router.start()
        router.wait_ready()
        address = f"http://127.0.0.1:{router.port}"
        said = self.run_command(program, *ask[1:], "--router", address, CHUTES_API_KEY="k")
        self.assertIn("Served by", said)
        self.assertRegex(said, r", 1 attempt; first token after [0-9.]+ s; whole in [0-9.]+ s")
        self.assertNotIn("Traceback", router.output().decode())
