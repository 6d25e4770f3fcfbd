"""The build script: errors state their cause, and Docker builds if it is selected."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.tools.kit_keys import carriers

ROOT = Path(__file__).resolve().parents[3]
_NEEDED = (
    "autopilot/_version.py",
    "deploy/image",
    "locks",
    "pyproject.toml",
    "tools/locks.py",
)
_LIST = ".dockerignore"
_ENGINE = """#!/bin/sh
printf '%s\\n' "$@" >>"$CALLS"
"""


class BuildTests(SynchronousTestCase):
    """``deploy/image/build.sh`` in a copy of its inputs; the engine only logs its calls."""

    def setUp(self) -> None:
        """Prepare the copy and the engine."""
        self.folder = Path(self.mktemp()).absolute()
        for each in _NEEDED:
            target = self.folder / each
            target.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / each).is_dir() else shutil.copy2
            copy(ROOT / each, target)
        (self.folder / "bin").mkdir()
        engine = self.folder / "bin" / "docker"
        engine.write_text(_ENGINE)
        engine.chmod(0o755)
        self.calls = self.folder / "calls"

    def build(self, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the build with these variables."""
        kept = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "PYTHON": sys.executable}
        return subprocess.run(
            ["sh", "deploy/image/build.sh"],
            cwd=self.folder,
            env=kept | {"CALLS": str(self.calls), "CA_FILE": ""} | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def refused(self, line: str, **variables: str) -> None:
        """Expect an error with this one line, before anything is built."""
        done = self.build(**variables)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        (said,) = done.stderr.splitlines()
        self.assertIn(line, said)
        self.assertFalse(self.calls.exists())

    def test_values(self) -> None:
        """Invalid values are refused."""
        self.refused("TARGET=rooter is neither router nor stub", TARGET="rooter")
        self.refused("FORMAT=zip is neither docker nor oci", FORMAT="zip")
        self.refused("LAYERS=1 is neither yes nor no", LAYERS="1")
        self.refused("USER_ID=operator is not a number", USER_ID="operator")
        self.refused("GROUP_ID=-1 is not a number", GROUP_ID="-1")
        self.refused(
            "USER_ID=0 is root's; choose a number above 0, because the router does not run as root",
            USER_ID="0",
        )
        self.refused("CA_FILE=/nowhere cannot be read", CA_FILE="/nowhere")

    def test_missing_lock(self) -> None:
        """A missing lock is an error, for each lock of the image."""
        for name in ("locks/runtime.txt", "locks/private.txt", "locks/build.txt"):
            there = (self.folder / name).read_bytes()
            (self.folder / name).unlink()
            self.refused(f"{name} is missing; 'make locks' writes it")
            (self.folder / name).write_bytes(there)

    def test_modified_lock(self) -> None:
        """A modified lock is an error."""
        lock = self.folder / "locks" / "runtime.txt"
        lock.write_text(lock.read_text() + "six==1.17.0\n")
        done = self.build()
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertTrue(done.stderr.startswith("locks/runtime.txt "), done.stderr)
        self.assertFalse(self.calls.exists())

    def test_docker(self) -> None:
        """All options reach the engine."""
        done = self.build(
            BASE="debian:bookworm-slim@sha256:0", USER_ID="5", GROUP_ID="6", TARGET="stub"
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        words = self.calls.read_text().split()
        self.assertEqual(words[:2], ["info", "build"])
        for argument in ("BASE=debian:bookworm-slim@sha256:0", "USER_ID=5", "GROUP_ID=6"):
            self.assertIn(argument, words)
        self.assertEqual(words[words.index("--target") + 1], "stub")
        self.assertTrue(words[words.index("--tag") + 1].startswith("chutes-autopilot-stub:"))

    def test_secret(self) -> None:
        """A certificate authority is passed as a build secret, and so stays out of the image."""
        authority = self.folder / "authority.pem"
        authority.write_text("an authority\n")
        self.build(CA_FILE=str(authority))
        words = self.calls.read_text().split()
        self.assertEqual(words[words.index("--secret") + 1], f"id=ca,src={authority}")


class ContextTests(SynchronousTestCase):
    """The files that reach the builder."""

    def test_keys_of_attestation(self) -> None:
        """None of them holds a key that makes the stub's evidence."""
        everything, *listed = [
            line
            for line in (ROOT / _LIST).read_text("utf-8").splitlines()
            if not line.startswith("#") and "**" not in line
        ]
        self.assertEqual(everything, "*")
        self.assertEqual([each for each in listed if not each.startswith("!")], [])
        held = {str(each): each.read_bytes() for name in listed for each in _files(ROOT / name[1:])}
        self.assertIn(str(ROOT / "stub_backend" / "sealed" / "world.py"), held)
        self.assertEqual(carriers(held), [])


def _files(path: Path) -> list[Path]:
    return [each for each in (path, *path.rglob("*")) if each.is_file()]


class StepsTests(SynchronousTestCase):
    """The scripts of the Dockerfile check their inputs, for builds without the build script."""

    def test_user(self) -> None:
        """An invalid user is refused before anything is installed."""
        done = subprocess.run(
            ["sh", str(ROOT / "deploy/image/system.sh"), "install"],
            env={"PATH": "/nowhere", "USER_ID": "me", "GROUP_ID": "1"},
            executable="/bin/sh",
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr, "the image cannot be built: USER_ID=me is not a number\n")
