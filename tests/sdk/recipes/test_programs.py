"""The blocks of docs/recipes.md for programs, which `make clients` installs."""

from __future__ import annotations

import json

from tests.rigs.smoke.client import Exchange, post_head
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

    def test_codex_comments(self) -> None:
        """Comments before an answer change nothing for Codex CLI."""
        self.run_commented(By.CODEX)

    def test_opencode_comments(self) -> None:
        """Nor for OpenCode."""
        self.run_commented(By.OPENCODE)

    def test_claude_code_comments(self) -> None:
        """Nor for Claude Code."""
        self.run_commented(By.CLAUDE)

    def run_program(self, by: By) -> None:
        """Run the blocks for a program."""
        require(by)
        self.run_each(by, SHELL)

    def run_commented(self, by: By) -> None:
        """Run them with a model so slow that each of its streams begins with a comment."""
        require(by)
        self.run_each(by, SHELL, always="slow-head")
        asked = {"model": self.models[1], "stream": True, "messages": []}
        body = json.dumps(asked).encode()
        head = post_head("/v1/chat/completions", [("Content-Length", str(len(body)))])
        reply = Exchange(self.served["router"].port, head + body).finish()
        self.assertTrue(reply.body.startswith(b": keep-alive\n\n"), reply.body[:200])
