"""Every block of docs/recipes.md, run unmodified except for the router's port and the model.

Environment variables name further requirements: `CLIENTS_PYTHON` and `FRAMEWORKS_PYTHON`, the
interpreters with the Python clients, and `RECIPES_PROGRAMS`, folders with programs as in PATH.
Without them the blocks that need them are skipped. With `RECIPES_APART` each block is a process.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.sdk.recipes.cases import (
    NODE_MODULES,
    RecipeTestCase,
    interpreter,
    runnable,
)
from tests.sdk.recipes.table import RECIPES, RUN, By
from tools.docs.blocks import RECIPES as PAGE
from tools.docs.blocks import blocks_of

SHELL = ("bash", "-euo", "pipefail")
_PARSED = frozenset({"yaml", "dotenv", "toml", "json"})
_TOGETHER = Path(__file__).with_name("together.py")


class TableTests(SynchronousTestCase):
    """The table and the page agree."""

    def test_every_section_has_its_run(self) -> None:
        """Every section with blocks is in the table, with as many blocks as are run."""
        sections = dict.fromkeys(each.section for each in blocks_of(PAGE))
        self.assertEqual(sorted(sections), sorted(RECIPES))
        for section, recipe in RECIPES.items():
            blocks_run = 0 if recipe.by is By.NOTHING else len(recipe.blocks)
            self.assertEqual(len(runnable(section)), blocks_run, section)

    def test_languages(self) -> None:
        """Every block is in a language that is run or parsed."""
        for each in blocks_of(PAGE):
            self.assertIn(each.language, _PARSED.union(RUN), each.where)

    def test_settings(self) -> None:
        """Configuration files for other programs have valid syntax."""
        for each in blocks_of(PAGE, "dotenv"):
            for line in each.text.splitlines():
                self.assertRegex(line, r"^[A-Z_]+=\S.*$", each.where)
        for each in blocks_of(PAGE, "toml"):
            self.assertNotEqual(tomllib.loads(each.text), {}, each.where)
        for each in blocks_of(PAGE, "json"):
            self.assertNotEqual(json.loads(each.text), {}, each.where)

    def test_yaml(self) -> None:
        """The same for YAML, which the clients' environment reads."""
        read = "import sys, yaml; assert yaml.safe_load(sys.stdin)"
        python = interpreter("CLIENTS_PYTHON")
        for each in blocks_of(PAGE, "yaml"):
            subprocess.run((python, "-c", read), input=each.text, text=True, check=True)


class SdkRecipeTests(RecipeTestCase):
    """The blocks for SDKs and curl."""

    def test_python(self) -> None:
        """The Python SDKs, in one process unless each is to have its own."""
        python = interpreter("CLIENTS_PYTHON")
        if "RECIPES_APART" in os.environ:
            self.run_each(By.SDKS, (python,))
            return
        runs = self.prepare(By.SDKS)
        given = [(str(each.path), each.key) for each in runs]
        said = self.start((python, str(_TOGETHER)), json.dumps(given))
        for run, (status, each) in zip(runs, json.loads(said), strict=True):
            self.assertEqual(status, 0, f"{run.block.where} by {run.model}: {each}")
            self.check(run, each)

    def test_javascript(self) -> None:
        """The JavaScript SDKs."""
        if shutil.which("node") is None or not (NODE_MODULES / ".installed").exists():
            raise SkipTest("node or its packages are not here; `make sdks` needs both")
        self.run_each(By.NODE, ("node",))

    def test_commands(self) -> None:
        """Shell commands."""
        for said in self.run_each(By.SHELL, SHELL):
            self.assertIn("data: [DONE]", said)


class FrameworkRecipeTests(RecipeTestCase):
    """The blocks for frameworks, streamed and plain, with a tool call and structured output."""

    def test_python(self) -> None:
        """Each block is a process."""
        self.run_each(By.FRAMEWORKS, (interpreter("FRAMEWORKS_PYTHON"),))
