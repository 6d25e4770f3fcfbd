"""The code contains no name of a model, because names change."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

_CODE = Path(__file__).parents[2] / "autopilot"
# The router's own names, which its aliases have, a placeholder, and texts that are not names.
_OWN = frozenset(
    {
        "chutesai/autopilot",
        "chutesai/autopilot-private",
        "org/model",
        "status/events",
        "tokens/s",
        "x-claude-code-session-id",
    }
)
# A renamed organisation: the platform accepts both names (contract §3).
_ORGANISATIONS = frozenset({"thudm/", "zai-org/"})
_FAMILIES = re.compile(
    r"qwen|deepseek|glm|kimi|moonshot|mistral|gemma|llama|hermes|nous|nemotron|mimo|minimax"
    r"|gpt-|thudm|zai-org|tongyi|miromind|unsloth|mixtral|falcon-|command-r|claude-|grok",
    re.IGNORECASE,
)
_ID = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.:-]*")
_MEDIA = re.compile(r"(application|text|image|audio|video|multipart|http)/", re.IGNORECASE)


def named(source: str) -> Iterator[str]:
    """Yield the texts in a module, except docstrings, that could be a model's name."""
    tree = ast.parse(source)
    told = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            told.add(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node not in told:
            value = node.value
            text = value.decode("latin-1") if isinstance(value, bytes) else value
            if isinstance(text, str) and _suspicious(text):
                yield text


def _suspicious(text: str) -> bool:
    if text.lower() in _OWN | _ORGANISATIONS:
        return False
    looks_like_id = _ID.fullmatch(text) is not None and not _MEDIA.match(text)
    return looks_like_id or _FAMILIES.search(text) is not None


class NamesTests(SynchronousTestCase):
    """The whole package."""

    def test_none(self) -> None:
        """No text in the code is a model's name."""
        files = sorted(_CODE.rglob("*.py"))
        self.assertGreater(len(files), 50)
        for file in files:
            found = list(named(file.read_text(encoding="utf-8")))
            self.assertEqual(found, [], file.name)

    def test_would_be_found(self) -> None:
        """Names are found, whole and in parts, in text and in bytes; media types are not."""
        source = '"""Of acme/doc."""\nA = "acme/Model-9"\nB = b"x GLM y"\nC = "text/html"\n'
        self.assertEqual(list(named(source)), ["acme/Model-9", "x GLM y"])
