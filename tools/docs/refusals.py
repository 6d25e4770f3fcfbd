"""Every `RouterError` in the code, found by parsing the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CODE = Path(__file__).resolve().parents[2] / "autopilot"
_VARYING = "…"


class UnreadableError(Exception):
    """A status or code that is not a literal, so that the page would lack the error."""


@dataclass(frozen=True, slots=True)
class Said:
    """One expression that creates an error; an ellipsis replaces variable parts of its message."""

    status: int
    code: str
    message: str


def said() -> list[Said]:
    """Return all of them, by file."""
    return [each for path in sorted(_CODE.rglob("*.py")) for each in _made_in(path)]


def _made_in(path: Path) -> Iterator[Said]:
    module = ast.parse(path.read_text("utf-8"))
    texts = {
        target.id: node.value
        for node in ast.walk(module)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and _names_router_error(node.func):
            given = dict(zip(("status", "code", "message"), node.args, strict=False))
            given |= {each.arg: each.value for each in node.keywords if each.arg}
            status, code = (_constant(given.get(name), texts) for name in ("status", "code"))
            if not isinstance(status, int) or not isinstance(code, str):
                raise UnreadableError(f"{path}:{node.lineno}")
            yield Said(status, code, _text(given.get("message"), texts))


def _names_router_error(function: ast.expr) -> bool:
    return isinstance(function, ast.Name) and function.id == "RouterError"


def _constant(node: ast.expr | None, texts: dict[str, ast.expr]) -> object:
    if isinstance(node, ast.Name):
        node = texts.get(node.id)
    return node.value if isinstance(node, ast.Constant) else None


def _text(node: ast.expr | None, texts: dict[str, ast.expr]) -> str:
    """Return the constant parts of a message."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_text(value, texts) for value in values)
        case ast.Name(id=name) if name in texts:
            return _text(texts[name], {})
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return _text(left, texts) + _text(right, texts)
    return _VARYING
