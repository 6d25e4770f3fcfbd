"""The commands and programs in the documentation, run against a router and the stub."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings import DECLARED, Settings
from autopilot.settings.env_file import EnvFile
from autopilot.settings.files.fallbacks import FallbackEntry, FallbacksFile
from autopilot.settings.files.keys import KeyEntry, KeysFile
from autopilot.settings.files.routes import RouteEntry, RoutesFile
from autopilot.settings.sources import SettingsSources
from tests.rigs.smoke.processes import RouterProcess, StubProcess
from tools.docs.blocks import LANGUAGES, ROOT, Block, blocks, file_name

_PATIENCE = 120
_TARGET = re.compile(r"^make ([a-z-]+)", re.MULTILINE)


class BlockTests(SynchronousTestCase):
    """Each block that can be checked."""

    def test_languages(self) -> None:
        """Every block states its language, so that none is skipped by mistake."""
        self.assertEqual([each for each in blocks() if each.language not in LANGUAGES], [])

    def test_settings(self) -> None:
        """Every line of the settings files is valid."""
        for each in blocks("dotenv"):
            path = Path(self.mktemp())
            path.write_text(each.text)
            env_file = EnvFile(str(path.absolute()), name=each.where, required=True)
            names = {setting.name for setting in DECLARED}
            self.assertLess(set(env_file.read()), names, each.where)
            SettingsSources({}, {}, env_file).load()

    def test_routes(self) -> None:
        """The files of routes are valid beside the usual aliases, and use almost every member."""
        members: set[str] = set()
        for each in blocks("toml"):
            path = Path(self.mktemp())
            path.write_text(each.text)
            if "[routes." not in each.text:
                continue
            file = Settings(routes_file=str(path)).routes_file
            assert isinstance(file, RoutesFile)
            self.assertEqual(len(file.routes), 3)
            self.assertEqual(file.routes[0].models[-1], Settings().aliases[0])
            for table in tomllib.loads(each.text)["routes"].values():
                members |= table.keys()
        known = {each.name for each in fields(RouteEntry)} - {"name"}
        self.assertEqual(known - members, {"private", "plain_failover_after_ms"})

    def test_keys(self) -> None:
        """The files of keys are valid, and use almost every member."""
        members: set[str] = set()
        for each in blocks("toml"):
            if "sha256" not in each.text:
                continue
            path = Path(self.mktemp())
            path.write_text(each.text)
            self.assertIsInstance(Settings(keys_file=str(path)).keys_file, KeysFile)
            for table in tomllib.loads(each.text)["keys"].values():
                members |= table.keys()
        known = {each.name for each in fields(KeyEntry)} - {"name"}
        self.assertEqual(known - members, {"tokens_per_month", "dollars_per_day"})

    def test_fallbacks(self) -> None:
        """The files of other services are valid, with the files of their keys beside them."""
        members: set[str] = set()
        for each in blocks("toml"):
            if "[fallbacks." not in each.text:
                continue
            path = Path(self.mktemp())
            path.parent.mkdir(exist_ok=True)
            path.write_text(each.text)
            for table in tomllib.loads(each.text)["fallbacks"].values():
                members |= table.keys()
                key = path.parent / table["key_file"]
                key.parent.mkdir(exist_ok=True)
                key.write_text("key")
            self.assertIsInstance(Settings(fallbacks_file=str(path)).fallbacks_file, FallbacksFile)
        known = {each.name for each in fields(FallbackEntry)} - {"name", "key"}
        self.assertEqual(members, known | {"key_file"})

    def test_json(self) -> None:
        """JSON blocks are valid."""
        for each in blocks("json"):
            json.loads(each.text)

    def test_targets(self) -> None:
        """The targets of make commands exist."""
        targets = [name for each in blocks("sh") for name in _TARGET.findall(each.text)]
        self.assertIn("demo", targets)
        done = subprocess.run(
            ("make", "--dry-run", "--silent", *targets), cwd=ROOT, capture_output=True, check=False
        )
        self.assertEqual(done.returncode, 0, done.stderr)


class RunningTests(SynchronousTestCase):
    """Blocks that send requests to a router."""

    def setUp(self) -> None:
        """Start a platform and a router."""
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        stub = StubProcess("stub", self.folder, ())
        self.addCleanup(stub.kill)
        stub.start()
        self.router = RouterProcess("router", self.folder, stub.port, {})
        self.addCleanup(self.router.kill)
        self.router.start()
        self.router.wait_ready()

    def run_block(self, block: Block, *command: str) -> str:
        """Run a block, with the router's port replaced."""
        text = re.sub(r"127\.0\.0\.1:808[01]\b", f"127.0.0.1:{self.router.port}", block.text)
        paths = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        done = subprocess.run(
            (*command, text),
            cwd=self.folder,
            env={
                "PATH": paths,
                "HOME": str(self.folder),
                "PYTHONPATH": str(ROOT),
                "CHUTES_API_KEY": "a test key",
            },
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        self.assertEqual(done.returncode, 0, f"{block.where}: {done.stdout}{done.stderr}")
        self.assertNotIn("Traceback", done.stderr, block.where)
        return done.stdout

    def test_commands(self) -> None:
        """Each command succeeds, and completions are received."""
        said = [
            self.run_block(each, "bash", "-euo", "pipefail", "-c")
            for each in blocks("sh")
            if not _TARGET.search(each.text)
        ]
        self.assertTrue(any("data: [DONE]" in each for each in said))
        self.assertTrue(any('"code":"unknown_model"' in each for each in said))
        self.assertTrue(any('"status":"ready"' in each for each in said))
        self.assertTrue(any("chutes_autopilot_requests_total" in each for each in said))
        self.assertTrue(any(each.startswith("LISTEN_ADDR=") for each in said))

    def test_programs(self) -> None:
        """Each program runs to its end; it asserts what the text promises."""
        for each in blocks("python"):
            if file_name(each) is not None:
                continue  # test_embedding_page.py runs these, which serve until they are stopped
            said = self.run_block(each, sys.executable, "-W", "error::SyntaxWarning", "-c")
            if "OpenAI(" in each.text:
                self.assertNotEqual(said, "", each.where)
