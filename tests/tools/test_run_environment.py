"""Tests of the environment of `make demo` and `make run`; tests/docs installs a real one."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from tools.locked import pins
from tools.locks import ROOT
from tools.run_environment import Installer, main, pinned, progress

_LOCK = ROOT / "locks" / "runtime.txt"
_PRIVATE = ROOT / "locks" / "private.txt"
_RECORDS = """#!/bin/sh
printf '%s\\n' "$@" >arguments
"""
_FAILS = """#!/bin/sh
exit 2
"""


class Terminal(io.StringIO):
    """An output that is a terminal."""

    def isatty(self) -> bool:
        """Return that it is one."""
        return True


class InstallTests(SynchronousTestCase):
    """The commands, what they install, and what is shown meanwhile."""

    def setUp(self) -> None:
        """Have a folder of programs, which is the only one on the path."""
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        self.environment = self.folder / "environment"
        self.patch(os, "environ", {**os.environ, "PATH": str(self.folder)})

    def program(self, name: str, text: str) -> None:
        """Write a program."""
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o755)

    def installed(self, lock: Path = _LOCK) -> tuple[int, str]:
        """Return the status and the output."""
        output = io.StringIO()
        return main((str(self.environment), str(lock)), output), output.getvalue()

    def test_with_uv(self) -> None:
        """Uv installs the lock, by its hashes, into an environment without pip."""
        self.program("uv", _RECORDS)
        status, shown = self.installed()
        self.assertEqual(status, 0)
        python = str(self.environment / "bin/python")
        self.assertEqual(
            Path("arguments").read_text().split(),
            ["pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", str(_LOCK)],
        )
        self.assertTrue(os.path.exists(python))
        count = len(pins(_LOCK))
        first, last = shown.splitlines()
        self.assertIn(f"the {count} packages of {_LOCK}, about 40 MB", first)
        self.assertIn("in about 15 seconds", first)
        self.assertRegex(last, rf"\AInstalled {count} packages, \d+ MB, in \d+ s\.\Z")

    def test_addition(self) -> None:
        """A lock that extends another one is added to its environment, which stays."""
        self.program("uv", _RECORDS)
        self.assertEqual(self.installed()[0], 0)
        kept = self.environment / "kept"
        kept.touch()
        status, shown = self.installed(_PRIVATE)
        self.assertEqual(status, 0)
        self.assertTrue(kept.exists())
        first, last = shown.splitlines()
        wanted = f"Installing what {_PRIVATE} adds: dcap-qvl, into {self.environment}. Once only."
        self.assertEqual(first, wanted)
        self.assertRegex(last, r"\AInstalled dcap-qvl, \d+ MB, in \d+ s\.\Z")
        self.assertEqual(Path("arguments").read_text().split()[-1], str(_PRIVATE))

    def test_with_pip(self) -> None:
        """Without uv, or if uv fails, pip installs; if it fails too, its output says why."""
        lock = self.folder / "lock.txt"
        lock.write_text("chutes-autopilot-absent==1 \\\n    --hash=sha256:0\n")
        self.patch(os, "environ", {**os.environ, "PIP_NO_INDEX": "1"})
        for text in (None, _FAILS):
            if text is not None:
                self.program("uv", text)
            status, shown = self.installed(lock)
            self.assertEqual(status, 1)
            self.assertIn("No matching distribution found for chutes-autopilot-absent==1", shown)
            self.assertIn(f"{lock} could not be installed; the reason is above.\n", shown)

    def test_no_environment(self) -> None:
        """An environment that cannot be created is an error with the reason."""
        self.program("uv", _RECORDS)
        self.environment.write_text("a file")
        with patch.object(sys, "executable", shutil.which("false", path=os.defpath)):
            status, shown = self.installed()
        self.assertEqual(status, 1)
        self.assertIn("could not be installed", shown)

    def test_progress(self) -> None:
        """Each package is counted, on a line that only terminals see."""
        lines = ("Collecting a-b==1 (from -r x)\n", "  Using cached\n", "Collecting c==2\n")
        end = "Installing collected packages: c, a-b\n"
        self.assertEqual(
            list(progress((*lines, end), 2)),
            ["  1 of 2: a-b", "  2 of 2: c", "  all there; writing them …"],
        )
        for output, expected in ((io.StringIO(), ""), (Terminal(), "\r\x1b[K  1 of 2: a-b")):
            Installer(self.environment, _LOCK, output)._show("  1 of 2: a-b")
            self.assertEqual(output.getvalue(), expected)


class SelectionTests(SynchronousTestCase):
    """What the two targets install."""

    def test_lock(self) -> None:
        """The lock's packages are found, and none is there for development alone."""
        names = pinned(_LOCK)
        self.assertEqual(names, [each.name for each in pins(_LOCK)])
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
        groups = project["dependency-groups"]
        wanted = [*groups["dev"], *groups["test"], *groups["build"]]
        development = {re.split(r"[^a-z0-9-]", each)[0] for each in wanted if isinstance(each, str)}
        self.assertIn("mypy", development)
        self.assertEqual(development & set(names), set())

    def test_targets(self) -> None:
        """They create the small environment, unless the one for development exists."""
        folder = Path(self.mktemp()).resolve()
        locks = (f"locks/{each}.txt" for each in ("runtime", "private", "development"))
        for name in ("Makefile", *locks, "pyproject.toml"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
        for target in ("demo", "run"):
            shown = self.dry_run(folder, target)
            self.assertIn("tools/run_environment.py .venv-run locks/runtime.txt", shown)
            self.assertIn(f".venv-run/bin/python -m autopilot {target} ", shown)
            self.assertIn("--stay", shown)
            self.assertNotIn("development.txt", shown)
            self.assertNotIn("private.txt", shown)
        shown = self.dry_run(folder, "demo", "--stay --private")
        self.assertIn("tools/run_environment.py .venv-run locks/private.txt", shown)
        self.assertIn(".venv-run/bin/python -m autopilot demo --by-make --stay --private", shown)
        (folder / ".venv").mkdir()
        (folder / ".venv" / ".installed").touch()
        for target, options in (("demo", "--private"), ("run", "--stay")):
            shown = self.dry_run(folder, target, options)
            self.assertIn(f".venv/bin/python -m autopilot {target} ", shown)
            self.assertNotIn("run_environment", shown)

    def dry_run(self, folder: Path, target: str, options: str = "--stay") -> str:
        """Return the commands of a target."""
        command = ("make", "--dry-run", target, "PYTHON=python3", f"ARGS={options}")
        clean = {name: text for name, text in os.environ.items() if "MAKE" not in name}
        done = subprocess.run(
            command, cwd=folder, env=clean, capture_output=True, text=True, check=True
        )
        return done.stdout
