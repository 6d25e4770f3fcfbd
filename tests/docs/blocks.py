"""The code blocks of the documentation and the README."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
# What `sh`, `python`, `dotenv` and `json` blocks say is tried; the others are only to be looked at.
LANGUAGES: Final = frozenset({"sh", "python", "dotenv", "json", "text", "console"})
_BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The clients' own tests try these.
_ELSEWHERE: Final = frozenset({"recipes.md"})


@dataclass(frozen=True, slots=True)
class Block:
    """One block: where it begins, in what language, and what it says."""

    where: str
    language: str
    text: str


def pages() -> list[Path]:
    """The pages whose blocks are tried here."""
    written = sorted((ROOT / "docs").glob("*.md"))
    return [ROOT / "README.md", *(path for path in written if path.name not in _ELSEWHERE)]


def blocks(language: str | None = None) -> Iterator[Block]:
    """All blocks, or those in one language."""
    for path in pages():
        text = path.read_text("utf-8")
        for found in _BLOCK.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            if language in (None, found[1]):
                yield Block(f"{path.name}:{line}", found[1], found[2])
