"""The base of the recipes' tests: a block of the page becomes a file, and the file a process."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from unittest import SkipTest
from uuid import uuid4

from tests.process.serving import ServedTestCase
from tests.sdk.private import SLOW_STUB
from tests.sdk.recipes.table import RECIPES, RUN, By, Expected
from tools.docs.blocks import RECIPES as PAGE
from tools.docs.blocks import ROOT, Block, blocks_of

ALIAS = "chutesai/AutoPilot"
PATIENCE = 240.0
NODE_MODULES = ROOT / "tests" / "sdk" / "node" / "node_modules"
_ADDRESS = "127.0.0.1:8080"
_TEE = "X-TEE-Only"
# No other host is contacted, whatever a client does by default; what tries finds a closed proxy.
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
    "OPENCODE_DISABLE_AUTOUPDATE": "true",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "true",
    "OPENCODE_DISABLE_MODELS_FETCH": "true",
    "OPENCODE_DISABLE_DEFAULT_PLUGINS": "true",
    "NO_PROXY": "127.0.0.1,localhost",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "HTTP_PROXY": "http://127.0.0.1:9",
}


@dataclass(frozen=True, slots=True)
class Run:
    """A block run with this model and its own key, so that the router does not know the client."""

    block: Block
    expected: Expected
    model: str
    path: Path
    key: str


class RecipeTestCase(ServedTestCase):
    """Each block is run with the alias, and with a list whose first model fails."""

    routers: ClassVar = {"router": {"KEEPALIVE_AFTER_MS": "1000"}}
    stub_options: ClassVar = SLOW_STUB

    def setUp(self) -> None:
        """Prepare a folder in which JavaScript finds its packages, and two models for the list."""
        super().setUp()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        (self.folder / "node_modules").symlink_to(NODE_MODULES)
        tee = [each for each in self.served["router"].ranking() if each.endswith("-TEE")]
        self.models = tee[:2]
        self.stub.script(self.models[0], [], then="503-cold")

    def prepare(self, by: By) -> list[Run]:
        """Return the runs of all blocks that are run by this."""
        runs = []
        for block, expected in expectations(by):
            for model in (ALIAS, ",".join(self.models)):
                key = f"fixture-{uuid4()}"
                path = self.folder / f"{key}.{RUN[block.language]}"
                path.write_text(self.adapted(block.text, model))
                runs.append(Run(block, expected, model, path, key))
        self.assertNotEqual(runs, [])
        return runs

    def adapted(self, text: str, model: str) -> str:
        """Return a block for this router and this model."""
        address = f"127.0.0.1:{self.served['router'].port}"
        return text.replace(_ADDRESS, address).replace(ALIAS, model)

    def start(self, command: Iterable[str], given: str = "", **variables: str) -> str:
        """Run a command that must succeed; return its output."""
        done = subprocess.run(
            tuple(command),
            cwd=self.folder,
            env={**_QUIET, "PATH": path(), "HOME": str(self.folder), **variables},
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def run_each(self, by: By, command: Iterable[str], *, always: str = "") -> list[str]:
        """Start a process for each run, and check its result; `always`: what each call gets."""
        said = []
        for run in self.prepare(by):
            plays = () if always else run.expected.plays
            self.stub.script(self.models[1], plays, then=always or "ok")
            self._settle(run)
            said.append(self.start((*command, str(run.path)), CHUTES_API_KEY=run.key))
            self.check(run, said[-1])
        return said

    def _settle(self, run: Run) -> None:
        """Write the settings file of the run's section, if there is one."""
        settings = RECIPES[run.block.section].settings
        if settings is not None:
            language, name = settings
            (block,) = (
                each for each in blocks_of(PAGE, language) if each.section == run.block.section
            )
            place = self.folder / name
            place.parent.mkdir(exist_ok=True)
            place.write_text(self.adapted(block.text, run.model))

    def check(self, run: Run, said: str) -> None:
        """Check that the client received an answer, and that its header and the list worked."""
        where = f"{run.block.where} by {run.model}: {said}"
        self.assertNotIn("Traceback", said, where)
        for each in run.expected.shows:
            self.assertIn(each, said, where)
        calls = [each for each in self.stub.calls() if f"Bearer {run.key}" in _values(each)]
        self.assertGreaterEqual(len(calls), max(1, len(run.expected.plays)), where)
        asked = [each["model"] for each in calls]
        expected = self.models if run.model != ALIAS else asked[:1]
        self.assertEqual(asked[: len(expected)], expected, where)
        if _TEE in run.block.text:
            for call in calls:
                self.assertIn("true", _values(call), where)
        if "answered by" in run.block.text:
            self.assertIn(f"answered by {asked[-1]}\n", said, where)


def expectations(by: By) -> Iterator[tuple[Block, Expected]]:
    """Yield the blocks that are run by this, with what is expected of each."""
    for section, recipe in RECIPES.items():
        if recipe.by is by:
            yield from zip(runnable(section), recipe.blocks, strict=True)


def runnable(section: str) -> list[Block]:
    """Return the blocks of a section that are run, in order."""
    found = blocks_of(PAGE)
    return [each for each in found if each.section == section and each.language in RUN]


def interpreter(variable: str) -> str:
    """Return the interpreter that an environment variable names."""
    python = os.environ.get(variable)
    if python is None:
        raise SkipTest(f"{variable} is not set; `make sdks` or `make clients` does it")
    return str(ROOT / python)


def path() -> str:
    """Return the PATH of a recipe: the folders of RECIPES_PROGRAMS come first."""
    folders = os.environ.get("RECIPES_PROGRAMS", "").split(os.pathsep)
    own = [str(ROOT / each) for each in folders if each]
    return os.pathsep.join((*own, os.environ["PATH"]))


def require(program: str) -> None:
    """Skip a test whose program is in no folder of RECIPES_PROGRAMS."""
    if "RECIPES_PROGRAMS" not in os.environ or shutil.which(program, path=path()) is None:
        raise SkipTest(f"there is no {program} in RECIPES_PROGRAMS, which `make clients` sets")


def _values(call: dict[str, Any]) -> list[str]:
    """Return the values of a call's header fields."""
    return [value for _, value in call["headers"]]
