"""The versions of the clients with which the recipes were tested, and how."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

from tools.docs.blocks import ROOT
from tools.docs.tables import code, table

PYTHON_LOCK: Final = ROOT / "locks" / "litellm.txt"
_FRAMEWORKS_LOCK: Final = ROOT / "locks" / "frameworks.txt"
_NODE_LOCK: Final = ROOT / "tests" / "sdk" / "node" / "package-lock.json"
_PROGRAMS_LOCK: Final = ROOT / "tests" / "sdk" / "programs" / "package-lock.json"
_PINNED: Final = re.compile(r"^([a-z0-9-]+)==([^ ;]+)", re.MULTILINE)
_PYTHON: Final = ("openai", "langchain-openai", "litellm", "anthropic", "httpx", "aiohttp")
_FRAMEWORKS: Final = ("pydantic-ai-slim", "instructor", "openai-agents")
_NODE: Final = ("openai", "ai", "@ai-sdk/openai-compatible")
_PROGRAMS: Final = {
    "Claude Code": "@anthropic-ai/claude-code-linux-x64",
    "Codex CLI": "@openai/codex",
    "OpenCode": "opencode-linux-x64",
}
_BY_TESTS: Final = "each time the tests run"
_BY_CLIENTS: Final = "each time `make clients` runs, which is a part of `make verify`"
_BY_HAND: Final = "the block above, by hand, against the stand-in"
_ELSEWHERE: Final = (
    ("`openai`, Node", "7.57.0, Node 24", "the tests, once by hand"),
    ("`ai`, `@ai-sdk/openai-compatible`", "7.0.173, 3.0.92, Node 24", "the tests, once by hand"),
    ("curl", "as installed", _BY_TESTS),
    ("aider", "0.86.2", _BY_HAND),
    ("Open WebUI", "0.12.4", "its page in a browser, by hand, against the stand-in"),
    ("LibreChat", "–", "not at all: its documentation says so"),
)


class UnpinnedError(Exception):
    """A client is in no lock."""


def clients() -> str:
    """Return a table of the clients, their versions, and how each was tested."""
    python, node = _python(PYTHON_LOCK), _node(_NODE_LOCK)
    frameworks, programs = _python(_FRAMEWORKS_LOCK), _node(_PROGRAMS_LOCK)
    rows = [
        *((f"{code(name)}, Python", _version(python, name), _BY_TESTS) for name in _PYTHON),
        *((f"{code(name)}, Node", _version(node, name), _BY_TESTS) for name in _NODE),
        *((code(name), _version(frameworks, name), _BY_CLIENTS) for name in _FRAMEWORKS),
        *((name, _version(programs, package), _BY_CLIENTS) for name, package in _PROGRAMS.items()),
        *_ELSEWHERE,
    ]
    return table(("client", "version", "tried"), rows)


def _python(lock: Path) -> dict[str, str]:
    return dict(_PINNED.findall(lock.read_text()))


def _node(lock: Path) -> dict[str, str]:
    packages = json.loads(lock.read_text())["packages"]
    return {
        name.removeprefix("node_modules/"): each.get("version") for name, each in packages.items()
    }


def _version(pinned: dict[str, str], name: str) -> str:
    version = pinned.get(name)
    if version is None:
        raise UnpinnedError(name)
    return version
