"""`research/COVERAGE_MATRIX.md` as values."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "research" / "COVERAGE_MATRIX.md"
NONE = "–"
LIVE_ONLY = "live only"
_CELLS = 8
_STUB_ONLY = "## Stub only"
_QUOTED = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Row:
    """One behaviour. `stub`: scenarios and feed states; `tests`: `path::Class.test` each."""

    id: str
    behaviour: str
    grades: tuple[str, ...]
    source: str
    what_we_do: str
    stub: tuple[str, ...]
    tests: tuple[str, ...]
    live: str


def read(text: str) -> list[Row]:
    """Return the rows of the page in order. Raise ValueError if one lacks a cell."""
    lines = text.partition(_STUB_ONLY)[0].splitlines()
    return [_row(line) for line in lines if re.match(r"\| [A-Z0-9]+-[0-9]+ ", line)]


def stub_only(text: str) -> list[str]:
    """Return the scenarios that mirror no behaviour of the platform."""
    return re.findall(r"^\* `([^`]+)`: ", text.partition(_STUB_ONLY)[2], re.MULTILINE)


def _row(line: str) -> Row:
    cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
    if len(cells) != _CELLS or not all(cells):
        raise ValueError(f"not {_CELLS} cells: {line}")
    number, behaviour, grades, source, what_we_do, stub, tests, live = cells
    return Row(
        number,
        behaviour,
        tuple(grades.split()),
        source,
        what_we_do,
        _listed(stub),
        _listed(tests),
        live,
    )


def _listed(cell: str) -> tuple[str, ...]:
    """Return the quoted texts of a cell, which has nothing else, or the sign for none."""
    if _QUOTED.sub("", cell).strip(", ") not in ("", NONE):
        raise ValueError(f"more than names: {cell}")
    return tuple(_QUOTED.findall(cell))


def missing(test: str) -> str | None:
    """Return the part of a test's name that does not exist, or None."""
    path, _, name = test.partition("::")
    if not path.startswith("tests/") or not (ROOT / path).is_file():
        return path
    known = _tests(ROOT / path)
    if not name and known:
        return None
    return None if name in known else name or f"{path} has no test"


@cache
def _tests(file: Path) -> frozenset[str]:
    """Return the test classes in a file, and their tests as `Class.test`.

    A class may inherit its tests, or be a state machine.
    """
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            names = [each.name for each in node.body if isinstance(each, ast.FunctionDef)]
            tests = [name for name in names if name.startswith("test")]
            found |= {f"{node.name}.{name}" for name in tests}
            if tests or node.name.endswith("Tests"):
                found.add(node.name)
    return frozenset(found)
