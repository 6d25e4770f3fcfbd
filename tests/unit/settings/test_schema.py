"""Tests of ``Settings.load``, by which an embedding application has its settings."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings import DECLARED, Settings, SettingsError


class LoadTests(SynchronousTestCase):
    """A working directory and an environment without settings."""

    def setUp(self) -> None:
        """Change to an empty directory, and clear the environment."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)
        self.environ: dict[str, str] = {}
        self.patch(os, "environ", self.environ)

    def problems(self, *options: dict[str, str], env_file: str | None = None) -> tuple[str, ...]:
        """Return the problems of settings that are refused."""
        error = self.assertRaises(SettingsError, Settings.load, *options, env_file=env_file)
        return tuple(error.problems)

    def test_nothing(self) -> None:
        """Without any source they are the defaults."""
        self.assertEqual(Settings.load(), Settings())
        self.assertEqual(Settings.load({each.name: None for each in DECLARED}), Settings())

    def test_precedence(self) -> None:
        """Option over environment over file, each of the process or as given."""
        Path(".env").write_text("COMMIT=byte\nLOG_LEVEL=debug\nLOG_FORMAT=json\n")
        self.environ.update(COMMIT="content", LOG_LEVEL="warn", OTHER="x")
        loaded = Settings.load({"COMMIT": "complete"})
        self.assertEqual(loaded, Settings(commit="complete", log_level="warn", log_format="json"))
        Path("mine").write_text("MAX_ATTEMPTS=3\n")
        self.assertEqual(Settings.load(environ={}, env_file="mine"), Settings(max_attempts=3))

    def test_lower_case(self) -> None:
        """The spellings of other programs count, in options too."""
        proxy = "http://proxy.test:1"
        self.assertEqual(Settings.load({"https_proxy": proxy}), Settings(https_proxy=proxy))

    def test_every_problem(self) -> None:
        """The error has a line for each faulty value of each source, and each unknown option."""
        Path(".env").write_text("COMMIT=half\n")
        self.environ["LISTEN_ADDR"] = "8080"
        given = {"MAX_ATTEMPTS": "none", "MAX_ATEMPTS": "3", "commit": "byte"}
        lines = self.problems(given)
        self.assertEqual(
            lines[:2],
            ("MAX_ATEMPTS: there is no such setting", "commit: there is no such setting"),
        )
        names = [line.partition(":")[0] for line in lines[2:]]
        self.assertEqual(names, ["LISTEN_ADDR", "COMMIT", "MAX_ATTEMPTS"])
        self.assertEqual(len(self.problems({"X": ""}, env_file=".env")), 3)
        self.environ.clear()
        Path(".env").unlink()
        self.assertEqual(self.problems({"X": "1"}), ("X: there is no such setting",))

    def test_missing_file(self) -> None:
        """A file that was named must exist."""
        self.assertEqual(self.problems(env_file="none"), ("'none' does not exist",))
