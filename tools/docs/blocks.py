"""The code blocks of the documentation and the README."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
# Tests check the `sh`, `python`, `dotenv`, `json` and `toml` blocks; others are only displayed.
LANGUAGES: Final = frozenset({"sh", "python", "dotenv", "json", "toml", "text", "console"})
_BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# A line of a block that begins with one # is a comment.
_HEADING: Final = re.compile(r"^## (.+)$", re.MULTILINE)
_FILE: Final = re.compile(r"# ([a-z]+\.(?:py|tac))\n")
# The tests of the recipes run the blocks of this page.
RECIPES: Final = ROOT / "docs" / "recipes.md"
# They run those of this page with a router in private mode.
PRIVATE: Final = ROOT / "docs" / "private-mode.md"


@dataclass(frozen=True, slots=True)
class Block:
    """One block: its position, language and text, and the heading of its section."""

    where: str
    language: str
    text: str
    section: str


def file_name(block: Block) -> str | None:
    """Return the name of a block that is a whole file, from the comment of its first line."""
    found = _FILE.match(block.text)
    return found[1] if found is not None else None


def pages() -> list[Path]:
    """Return all pages."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str | None = None) -> Iterator[Block]:
    """Return all blocks that these tests run, or those in one language."""
    for path in pages():
        if path not in (RECIPES, PRIVATE):
            yield from blocks_of(path, language)


def blocks_of(path: Path, language: str | None = None) -> Iterator[Block]:
    """Return the blocks of one page."""
    text = path.read_text("utf-8")
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        if language in (None, found[1]):
            headings = _HEADING.findall(text, 0, found.start())
            yield Block(f"{path.name}:{line}", found[1], found[2], headings[-1] if headings else "")
