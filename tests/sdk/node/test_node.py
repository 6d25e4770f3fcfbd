"""The tests in `*.test.mjs`, which node runs with a router and the stub as processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.process.serving import ServedTestCase
from tests.sdk.private import (
    INVOKE,
    PRIVATE_COMMANDS,
    PRIVATE_STUB,
    SLOW_STUB,
    private_calls,
    private_settings,
)

HERE = Path(__file__).parent
PATIENCE = 240.0
INSTALLED = HERE / "node_modules" / ".installed"
# A program is a package for one platform, which other platforms do without.
LOCKED = {HERE: "dependencies", HERE.parent / "programs": "optionalDependencies"}
_COUNT = re.compile(r"^# (tests|pass|fail|cancelled|skipped|todo) (\d+)$", re.MULTILINE)


class LockTests(SynchronousTestCase):
    """Installed packages, of the tests here and of the recipes' programs."""

    def test_lock(self) -> None:
        """Every package is pinned by its hash; npm's settings determine the registry."""
        for folder, kind in LOCKED.items():
            lock = json.loads((folder / "package-lock.json").read_text())
            own = lock["packages"].pop("")
            self.assertGreater(len(lock["packages"]), len(own[kind]))
            for name, package in lock["packages"].items():
                self.assertTrue(package["integrity"].startswith("sha512-"), name)
                self.assertNotIn("resolved", package, name)

    def test_pinned(self) -> None:
        """The clients are listed with exact versions."""
        for folder, kind in LOCKED.items():
            wanted = json.loads((folder / "package.json").read_text())[kind]
            for name, version in wanted.items():
                self.assertRegex(version, r"^\d+\.\d+\.\d+$", name)


class NodeTests(ServedTestCase):
    """One stub and three routers for all tests."""

    routers: ClassVar = {"router": {}, "narrow": {"MAX_CONCURRENT_REQUESTS": "1"}}
    stub_options: ClassVar = (*PRIVATE_STUB, *SLOW_STUB)
    commands: ClassVar = PRIVATE_COMMANDS

    @classmethod
    def settings(cls, folder: Path, base: str) -> Mapping[str, Mapping[str, str]]:
        """Return the settings of all routers."""
        return {**super().settings(folder, base), "private": private_settings(folder, base)}

    @classmethod
    def reason_to_skip(cls) -> str | None:
        """Return why these tests cannot run, or None."""
        if shutil.which("node") is None:
            return "there is no node here; on Debian: apt-get install nodejs npm"
        if not INSTALLED.exists():
            return "the packages are not installed here; `make sdks` brings them along"
        return None

    def run_file(self, name: str) -> None:
        """Run one test file; a failure shows node's output."""
        done = subprocess.run(
            ("node", "--test", "--test-reporter=tap", name),
            cwd=HERE,
            env={
                "PATH": os.environ["PATH"],
                "ROUTER_URL": self.address(),
                "NARROW_ROUTER_URL": self.address("narrow"),
                "PRIVATE_ROUTER_URL": self.address("private"),
                "STUB_URL": f"http://127.0.0.1:{self.stub.port}",
            },
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        counts = {what: int(number) for what, number in _COUNT.findall(done.stdout)}
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertGreater(counts["tests"], 0, done.stdout)
        self.assertEqual(counts["pass"], counts["tests"], done.stdout)
        self.assertEqual(set(private_calls(self.stub.calls())), {INVOKE})

    def test_openai(self) -> None:
        """The official ``openai`` package."""
        self.run_file("openai.test.mjs")

    def test_ai(self) -> None:
        """Vercel's ``ai`` with its provider for OpenAI's API."""
        self.run_file("ai.test.mjs")
