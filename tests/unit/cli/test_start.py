"""Tests of ``autopilot run``."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from autopilot.cli import entry, main, start
from tests.unit.cli import commands
from tests.unit.cli.commands import run


class StartTests(SynchronousTestCase):
    """The call of ``twistd``, and the command as a process."""

    def setUp(self) -> None:
        """Make an empty working directory."""
        self.folder = self.mktemp()
        os.makedirs(self.folder)

    def test_call(self) -> None:
        """It stays in the foreground, writes no file, and uses the system's best reactor."""
        called: list[list[str]] = []
        for system, reactor in (("linux", "autopilot"), ("darwin", "default")):
            with (
                patch.object(sys, "platform", system),
                patch.object(sys, "argv", ["autopilot", "run"]),
                patch("twisted.scripts.twistd.run", lambda: called.append(sys.argv)),
            ):
                main(("run", "--commit=byte"))
            own = ["--nodaemon", "--pidfile=", f"--reactor={reactor}"]
            self.assertEqual(called.pop(), ["twistd", *own, "autopilot", "--commit=byte"])

    def test_settings(self) -> None:
        """Its options are the settings."""
        done = run(self.folder, "run", "--check-config", "--commit=byte", LOG_LEVEL="warn")
        self.assertEqual((done.status, done.complaint), (0, ""))
        self.assertIn("COMMIT=byte  # option", done.output)
        self.assertIn("LOG_LEVEL=warn  # environment", done.output)
        self.assertEqual(os.listdir(self.folder), [])

    def test_mistakes(self) -> None:
        """A mistake is one line on standard error, and the status is 1."""
        for words, expected in (
            (("--comit=byte",), "autopilot: option --comit not recognized\n"),
            (("--max-attempts=0",), "autopilot: MAX_ATTEMPTS: "),
        ):
            done = run(self.folder, "run", *words)
            self.assertEqual((done.status, done.output), (1, ""))
            self.assertTrue(done.complaint.startswith(expected), done.complaint)
            self.assertEqual(done.complaint.count("\n"), 1)

    def test_help(self) -> None:
        """``autopilot --help`` lists it, and its own help explains the settings."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), self.assertRaises(SystemExit):
            main(("--help",))
        self.assertRegex(printed.getvalue(), rf"\n    {start.NAME}\s+{start.HELP}\n")
        done = run(self.folder, "run", "--help")
        self.assertEqual(done.status, 0)
        self.assertTrue(done.output.startswith("Usage: autopilot run [options]\n"), done.output)
        self.assertIn("--listen-addr=", done.output)

    def test_help_is_not_read(self) -> None:
        """A reader of the help that leaves, as ``head`` does, ends it without a complaint."""
        process = commands.start(self.folder, "run", "--help")
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        with process.stderr as stderr:
            self.assertEqual(stderr.read(), "")
        self.assertEqual(process.wait(60), 141)

    def test_examples(self) -> None:
        """The parser, which only explains the command, accepts each example."""
        for line in start.EXAMPLES.splitlines():
            words = line.split()[1:]
            self.assertEqual(entry.parser().parse_known_args(words)[0].command, start)
