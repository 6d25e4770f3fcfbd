"""The table of recipes: for each section of docs/recipes.md, by what its blocks are run.

A block that is run without a row, a row without its blocks, and a section that is in neither are
errors, so that the page claims nothing that does not run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

RUN: Final[Mapping[str, str]] = {"python": "py", "js": "mjs", "sh": "sh"}
"""The languages that are run, and the suffixes of their files."""


class By(StrEnum):
    """What runs the blocks of a section."""

    SDKS = "the Python of `make sdks`"
    FRAMEWORKS = "the Python of `make clients`"
    NODE = "node"
    SHELL = "bash"
    CODEX = "codex"
    OPENCODE = "opencode"
    CLAUDE = "claude"
    AIDER = "aider"
    NOTHING = "nothing"
    """The page says so, and how it was tried instead."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A block: what the model that responds plays, call by call, and what the output contains.

    After the last scenario, the model answers as usual.
    """

    plays: tuple[str, ...] = ()
    shows: tuple[str, ...] = ("Served by",)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A section: by what it is run, and its blocks in order.

    `settings`: the language of the block that is a settings file, and its path in the home.
    """

    by: By
    blocks: tuple[Expected, ...] = (Expected(),)
    settings: tuple[str, str] | None = None


_ONE: Final = Expected()
# The stub's tool call and structured output are of a city and days.
_TRIP: Final = ("Oslo", "3")
RECIPES: Final[Mapping[str, Recipe]] = {
    "openai for Python": Recipe(By.SDKS, (_ONE, _ONE, _ONE)),
    "langchain-openai": Recipe(By.SDKS),
    "litellm": Recipe(By.SDKS),
    "anthropic": Recipe(By.SDKS),
    "httpx": Recipe(By.SDKS),
    "aiohttp": Recipe(By.SDKS),
    "pydantic-ai": Recipe(
        By.FRAMEWORKS,
        (
            # The tokens are those of the second answer, streamed.
            Expected(("ok", "ok"), ("Served by", "\n24 tokens")),
            Expected(("tool-call", "structured"), (*_TRIP, "forecast for Oslo")),
        ),
    ),
    "instructor": Recipe(
        By.FRAMEWORKS,
        (
            Expected(("structured", "structured"), _TRIP),
            Expected(("tool-call", "tool-call"), _TRIP),
        ),
    ),
    "openai-agents": Recipe(
        By.FRAMEWORKS,
        (
            Expected(("ok", "ok"), ("Served by", "\n 24 tokens")),
            Expected(("tool-call", "structured"), (*_TRIP, "forecast for Oslo")),
        ),
    ),
    "openai for Node": Recipe(By.NODE),
    "Vercel ai": Recipe(By.NODE),
    "curl": Recipe(By.SHELL),
    "Claude Code": Recipe(By.CLAUDE),
    "Codex CLI": Recipe(
        By.CODEX,
        # A call of a tool that Codex offers, with another tool's arguments: it returns an error.
        (Expected(("tool-call", "ok")),),
        settings=("toml", ".codex/config.toml"),
    ),
    "OpenCode": Recipe(By.OPENCODE, settings=("json", "opencode.json")),
    "aider": Recipe(By.AIDER),
    "Open WebUI": Recipe(By.NOTHING),
    "LibreChat": Recipe(By.NOTHING),
}
