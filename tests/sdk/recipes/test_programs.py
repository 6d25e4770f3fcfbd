"""The blocks of docs/recipes.md for programs, which `make clients` installs."""

from __future__ import annotations

from tests.sdk.recipes.cases import RecipeTestCase, require
from tests.sdk.recipes.table import By
from tests.sdk.recipes.test_recipes import SHELL


class ProgramTests(RecipeTestCase):
    """Each program, with its own settings in a home that is empty otherwise."""

    def test_codex(self) -> None:
        """Codex CLI."""
        self.run_program(By.CODEX)

    def test_opencode(self) -> None:
        """OpenCode."""
        self.run_program(By.OPENCODE)

    def test_claude_code(self) -> None:
        """Claude Code."""
        self.run_program(By.CLAUDE)

    def test_aider(self) -> None:
        """Aider, if it is installed."""
        self.run_program(By.AIDER)

    def run_program(self, by: By) -> None:
        """Run the blocks for a program."""
        require(by)
        self.run_each(by, SHELL)
