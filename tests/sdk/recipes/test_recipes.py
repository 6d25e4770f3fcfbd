"""Every block of docs/recipes.md, run unmodified except for the router's port.

Environment variables name further requirements: `CLIENTS_PYTHON`, an interpreter with the Python
clients, and `RECIPES_PROGRAMS`, folders with programs (aider, claude) as in PATH. Without them the
blocks that need them are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import SkipTest
from uuid import uuid4

from tests.process.serving import ServedTestCase
from tools.docs.blocks import RECIPES, ROOT, Block, blocks_of

PATIENCE = 240.0
ALIAS = "chutesai/AutoPilot"
_ADDRESS = "127.0.0.1:8080"
_NODE_MODULES = ROOT / "tests" / "sdk" / "node" / "node_modules"
_RUN = {"python": "py", "js": "mjs", "sh": "sh"}
_PARSED = frozenset({"yaml", "dotenv"})
_PROGRAMS = ("aider", "claude")
_TEE = "X-TEE-Only"
_SHELL = ("bash", "-euo", "pipefail")
_TOGETHER = Path(__file__).with_name("together.py")
# No other host is contacted, whatever a client does by default.
_QUIET = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "AIDER_ANALYTICS_DISABLE": "true",
    "AIDER_CHECK_UPDATE": "false",
    "AIDER_GIT": "false",
    "AIDER_SHOW_MODEL_WARNINGS": "false",
    "AIDER_YES_ALWAYS": "true",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_TELEMETRY": "1",
}


@dataclass(frozen=True, slots=True)
class Run:
    """A block run with this model and its own key, so that the router does not know the client."""

    block: Block
    model: str
    path: Path
    key: str


class RecipeTests(ServedTestCase):
    """Each block with the alias, and with a list whose first model fails."""

    def setUp(self) -> None:
        """Prepare a folder in which JavaScript finds its packages, and two models for the list."""
        super().setUp()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        (self.folder / "node_modules").symlink_to(_NODE_MODULES)
        tee = [each for each in self.served["router"].ranking() if each.endswith("-TEE")]
        self.models = tee[:2]
        self.stub.script(self.models[0], [], then="503-cold")
        self.runs: list[Run] = []

    def prepare(self, language: str, only: str = "") -> list[Run]:
        """Return the runs of all blocks of a language, or of those for one program."""
        for block in blocks_of(RECIPES, language):
            if wanted(block, only):
                text = block.text.replace(_ADDRESS, f"127.0.0.1:{self.served['router'].port}")
                for model in (ALIAS, ",".join(self.models)):
                    key = f"fixture-{uuid4()}"
                    path = self.folder / f"{key}.{_RUN[language]}"
                    path.write_text(text.replace(ALIAS, model))
                    self.runs.append(Run(block, model, path, key))
        self.assertNotEqual(self.runs, [])
        return self.runs

    def start(self, command: Iterable[str], given: str = "", **variables: str) -> str:
        """Run a command that must succeed; return its output."""
        programs = os.environ.get("RECIPES_PROGRAMS", "")
        paths = os.pathsep.join(filter(None, (programs, os.environ["PATH"])))
        done = subprocess.run(
            tuple(command),
            cwd=self.folder,
            env={**_QUIET, "PATH": paths, "HOME": str(self.folder), **variables},
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def run_each(self, command: Iterable[str]) -> list[str]:
        """Start a process for each run, and check its result."""
        all_said = []
        for run in self.runs:
            said = self.start((*command, str(run.path)), CHUTES_API_KEY=run.key)
            self.check(run, said)
            all_said.append(said)
        return all_said

    def check(self, run: Run, said: str) -> None:
        """Check that the client received an answer, and that its header and the list worked."""
        where = f"{run.block.where} by {run.model}: {said}"
        self.assertNotIn("Traceback", said, where)
        self.assertIn("Served by", said, where)
        calls = [each for each in self.stub.calls() if f"Bearer {run.key}" in _values(each)]
        asked = [each["model"] for each in calls]
        expected = self.models if run.model != ALIAS else asked[:1]
        self.assertEqual(asked[: len(expected)], expected, where)
        if _TEE in run.block.text:
            for each in calls:
                self.assertIn("true", _values(each), where)
        if "answered by" in run.block.text:
            self.assertIn(f"answered by {asked[-1]}\n", said, where)

    def test_python(self) -> None:
        """The Python SDKs."""
        python = interpreter()
        given = [(str(each.path), each.key) for each in self.prepare("python")]
        said = self.start((python, str(_TOGETHER)), json.dumps(given))
        for run, (status, each) in zip(self.runs, json.loads(said), strict=True):
            self.assertEqual(status, 0, f"{run.block.where} by {run.model}: {each}")
            self.check(run, each)

    def test_javascript(self) -> None:
        """The JavaScript SDKs."""
        if shutil.which("node") is None or not (_NODE_MODULES / ".installed").exists():
            raise SkipTest("node or its packages are not here; `make sdks` needs both")
        self.prepare("js")
        self.run_each(("node",))

    def test_commands(self) -> None:
        """Shell commands."""
        self.prepare("sh")
        for said in self.run_each(_SHELL):
            self.assertIn("data: [DONE]", said)

    def test_aider(self) -> None:
        """Aider, if it is installed."""
        self.run_program("aider")

    def test_claude_code(self) -> None:
        """Claude Code, if it is installed."""
        self.run_program("claude")

    def run_program(self, name: str) -> None:
        """Run the blocks for a program from `RECIPES_PROGRAMS`."""
        programs = os.environ.get("RECIPES_PROGRAMS", "")
        if shutil.which(name, path=programs) is None:
            raise SkipTest(f"there is no {name} in RECIPES_PROGRAMS")
        self.prepare("sh", only=name)
        self.run_each(_SHELL)

    def test_settings(self) -> None:
        """Configuration files for other programs have valid syntax."""
        read = "import sys, yaml; assert yaml.safe_load(sys.stdin)"
        for each in blocks_of(RECIPES, "yaml"):
            subprocess.run((interpreter(), "-c", read), input=each.text, text=True, check=True)
        for each in blocks_of(RECIPES, "dotenv"):
            for line in each.text.splitlines():
                self.assertRegex(line, r"^[A-Z_]+=\S.*$", each.where)

    def test_nothing_is_left_out(self) -> None:
        """Every block is covered."""
        for each in blocks_of(RECIPES):
            self.assertIn(each.language, _PARSED.union(_RUN), each.where)


def interpreter() -> str:
    """Return the interpreter with the clients."""
    python = os.environ.get("CLIENTS_PYTHON")
    if python is None:
        raise SkipTest("the Python clients are not installed here; `make sdks` does it")
    return str(ROOT / python)


def wanted(block: Block, only: str) -> bool:
    """Return whether a block is for this program, or for none if there is no program."""
    lines = block.text.splitlines()
    named = [name for name in _PROGRAMS if any(line.startswith(f"{name} ") for line in lines)]
    return named == [only] if only else not named


def _values(call: dict[str, Any]) -> list[str]:
    """Return the values of a call's header fields."""
    return [value for _, value in call["headers"]]
