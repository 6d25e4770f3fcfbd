"""Checker of the wording of code's texts and of Markdown pages, by the rules in ``prose.toml``.

``python -m tools.prose`` prints one line per finding and exits with status 1 if there are any.
"""

from __future__ import annotations

import ast
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_RULES = Path(__file__).with_suffix(".toml")
# Code in Markdown: a fenced block, or a span of one paragraph between runs of as many backticks.
_CODE = re.compile(
    r"^ *(```+|~~~+).*?^ *\1|(?<!`)(`+)(?!`)(?:(?!\n\n).)+?(?<!`)\2(?!`)", re.DOTALL | re.MULTILINE
)
_LOG_METHODS = frozenset({"critical", "debug", "error", "failure", "info", "warn"})


@dataclass(frozen=True, slots=True)
class Rule:
    """Wording that is rejected, and a suggestion."""

    pattern: re.Pattern[str]
    instead: str


@dataclass(frozen=True, slots=True)
class Rules:
    """The contents of ``prose.toml``."""

    checked: tuple[str, ...]
    pending: tuple[str, ...]
    pages: tuple[str, ...]
    wording: tuple[Rule, ...]
    opening: Rule


@dataclass(frozen=True, slots=True)
class Finding:
    """A place that breaks a rule."""

    path: Path
    line: int
    text: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text!r}; write: {self.instead}"


def load_rules(path: Path = _RULES) -> Rules:
    """Read the rules."""
    table = tomllib.loads(path.read_text("utf-8"))
    return Rules(
        checked=tuple(table["paths"]["checked"]),
        pending=tuple(table["paths"]["pending"]),
        pages=tuple(table["paths"]["pages"]),
        wording=tuple(_rule(each) for each in table["rules"]),
        opening=_rule(table["openings"], 0),
    )


def _rule(table: dict[str, str], flags: int = re.IGNORECASE) -> Rule:
    # A phrase may wrap, and is then indented.
    return Rule(re.compile(table["pattern"].replace(" ", r"\s+"), flags), table["instead"])


def check(path: Path, rules: Rules) -> Iterator[Finding]:
    """Yield what breaks the rules in one file."""
    is_page = path.suffix == ".md"
    for line, text in _page_texts(path) if is_page else _texts(path):
        for rule in rules.wording:
            for match in rule.pattern.finditer(text):
                at = line + text.count("\n", 0, match.start())
                yield Finding(path, at, " ".join(match[0].split()), rule.instead)
    if is_page:
        return
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _check_opening(path, node, rules.opening)
        elif isinstance(node, ast.Call):
            yield from _check_log_message(path, node)


def _page_texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the text of a page, with backticks in place of code to keep the line numbers."""
    yield 1, _CODE.sub(lambda code: re.sub(".", "`", code[0]), path.read_text("utf-8"))


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the comments and string literals of a file with their first lines.

    Comments on adjacent lines count as one text, because a phrase may wrap.
    """
    comment: list[str] = []
    start = 0
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                start = start if comment else token.start[0]
                comment.append(token.string.removeprefix("#"))
            elif token.type != tokenize.NL and comment:
                yield start, "\n".join(comment)
                comment = []
            if token.type == tokenize.STRING and _is_prose(token.string):
                yield token.start[0], token.string


def _is_prose(literal: str) -> bool:
    """Return whether a literal may be a sentence: bytes and single words are data."""
    return " " in literal and not literal.startswith(("b", "B"))


def _check_opening(
    path: Path, node: ast.FunctionDef | ast.AsyncFunctionDef, rule: Rule
) -> Iterator[Finding]:
    """Check the first word of a function's docstring."""
    is_property = any(
        isinstance(each, ast.Name) and each.id.endswith("property") for each in node.decorator_list
    )
    text = ast.get_docstring(node) or ""
    if not is_property and not node.name.startswith("test") and (match := rule.pattern.match(text)):
        yield Finding(path, node.body[0].lineno, match[0], rule.instead)


def _check_log_message(path: Path, call: ast.Call) -> Iterator[Finding]:
    """Check that a log message begins with a capital, or with a value."""
    match call:
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id="_log") | ast.Attribute(attr="_log"), attr=method),
            args=[ast.Constant(value=str(text)), *_],
        ) if method in _LOG_METHODS and text[:1].islower():
            yield Finding(path, call.lineno, text[:20], "a capital at the start of the message")


def checked_files(rules: Rules, root: Path = _ROOT) -> Iterator[Path]:
    """Yield the Python files to check, without pending and hidden folders, and the pages."""
    for folder in rules.checked:
        for path in sorted((root / folder).rglob("*.py")):
            name = path.relative_to(root)
            hidden = any(part.startswith(".") or part == "node_modules" for part in name.parts)
            if not hidden and not any(map(name.is_relative_to, rules.pending)):
                yield path
    for page in rules.pages:
        place = root / page
        yield from sorted(place.rglob("*.md")) if place.is_dir() else (place,)


def main(arguments: Sequence[str]) -> int:
    """Check the given files, or all; return the exit status."""
    rules = load_rules()
    paths = [Path(each) for each in arguments] or list(checked_files(rules))
    findings = [each for path in paths for each in check(path, rules)]
    print(*findings, sep="\n", end="\n" if findings else "")
    if findings:
        print(f"{len(findings)} findings; the rules are in {_RULES.relative_to(_ROOT)}")
    return 1 if findings else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
