"""The versions of the clients with which the recipes were tested, and how."""

from __future__ import annotations

import json
import re
from typing import Final

from tools.docs.blocks import ROOT
from tools.docs.tables import code, table

PYTHON_LOCK: Final = ROOT / "locks" / "litellm.txt"
_NODE_LOCK: Final = ROOT / "tests" / "sdk" / "node" / "package-lock.json"
_PINNED: Final = re.compile(r"^([a-z0-9-]+)==([^ ;]+)", re.MULTILINE)
_PYTHON: Final = ("openai", "langchain-openai", "litellm", "anthropic", "httpx", "aiohttp")
_NODE: Final = ("openai", "ai", "@ai-sdk/openai-compatible")
_BY_TESTS: Final = "each time the tests run"
_BY_HAND: Final = "the block above, by hand, against the stand-in"
_ELSEWHERE: Final = (
    ("`openai`, Node", "7.57.0, Node 24", "the tests, once by hand"),
    ("`ai`, `@ai-sdk/openai-compatible`", "7.0.173, 3.0.92, Node 24", "the tests, once by hand"),
    ("curl", "as installed", _BY_TESTS),
    ("Claude Code", "2.1.330", _BY_HAND),
    ("aider", "0.86.2", _BY_HAND),
    ("Open WebUI", "0.12.4", "its page in a browser, by hand, against the stand-in"),
    ("LibreChat", "–", "not at all: its documentation says so"),
)


class UnpinnedError(Exception):
    """A client is in no lock."""


def clients() -> str:
    """Return a table of the clients, their versions, and how each was tested."""
    python = dict(_PINNED.findall(PYTHON_LOCK.read_text()))
    packages = json.loads(_NODE_LOCK.read_text())["packages"]
    node = {name: packages.get(f"node_modules/{name}", {}).get("version") for name in _NODE}
    rows = [
        *((f"{code(name)}, Python", _version(python, name), _BY_TESTS) for name in _PYTHON),
        *((f"{code(name)}, Node", _version(node, name), _BY_TESTS) for name in _NODE),
        *_ELSEWHERE,
    ]
    return table(("client", "version", "tried"), rows)


def _version(pinned: dict[str, str], name: str) -> str:
    version = pinned.get(name)
    if version is None:
        raise UnpinnedError(name)
    return version
