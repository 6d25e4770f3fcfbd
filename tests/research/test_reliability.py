"""RELIABILITY.md refers to existing tests and corpus files."""

from __future__ import annotations

import ast
import re
from fnmatch import fnmatchcase
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.hold.report import BEGIN, END

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENT = ROOT / "research" / "RELIABILITY.md"
CORPUS = ROOT / "tests" / "corpus"

_TEST = re.compile(r"`(tests/[\w/]+)(?:\.py)?(?:::([\w*]+)(?:\.(\w+))?)?`")
_CASES = re.compile(r"`((?:requests|responses)/[\w*]+)`")


def classes(path: Path) -> dict[str, set[str]]:
    """Return the classes of a module with the names of their methods, including inherited ones."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            kinds = ast.FunctionDef | ast.AsyncFunctionDef
            own = {each.name for each in node.body if isinstance(each, kinds)}
            for base in node.bases:
                own |= found.get(base.id, set()) if isinstance(base, ast.Name) else set()
            found[node.name] = own
    return found


def missing(text: str) -> list[str]:
    """Return the names in a text that do not exist."""
    wrong = []
    for match in _TEST.finditer(text):
        path, name, method = match.groups()
        place = ROOT / f"{path}.py"
        if not place.exists():
            place = ROOT / path
            known = place.is_dir() and name is None
        elif name is None:
            known = True
        else:
            fitting = [own for each, own in classes(place).items() if fnmatchcase(each, name)]
            known = any(method is None or method in own for own in fitting)
        if not known:
            wrong.append(match.group())
    named = _CASES.finditer(text)
    wrong += [each.group() for each in named if not any(CORPUS.glob(f"{each[1]}.case"))]
    return wrong


class ReliabilityTests(SynchronousTestCase):
    """The page of guarantees."""

    def test_named_tests_exist(self) -> None:
        """Every test and corpus file that the page names exists, and it names many."""
        text = DOCUMENT.read_text()
        self.assertEqual(missing(text), [])
        self.assertGreater(len(_TEST.findall(text)), 100)

    def test_rows(self) -> None:
        """Every row of every table has three cells, and names a test."""
        before, _, rest = DOCUMENT.read_text().partition(BEGIN)
        text = before + rest.partition(END)[2]
        rows = [line for line in text.splitlines() if line.startswith("| ")]
        for row in rows:
            cells = [cell.strip() for cell in row.strip("|").split("|")]
            self.assertEqual(len(cells), 3, row)
            self.assertTrue(all(cells), row)
            if cells[0] != "threat or fault":
                self.assertRegex(cells[2], r"`(tests/|make |requests/|responses/)")

    def test_holds(self) -> None:
        """The table of `make hold` has six cells a row."""
        block = DOCUMENT.read_text().partition(BEGIN)[2].partition(END)[0]
        for row in (line for line in block.splitlines() if line.startswith("| ")):
            self.assertEqual(len(row.strip("|").split("|")), 6, row)

    def test_what_is_missing(self) -> None:
        """A missing name is reported."""
        for text in (
            "`tests/none.py`",
            "`tests/research/test_reliability.py::NoTests`",
            "`tests/research/test_reliability.py::ReliabilityTests.test_none`",
            "`requests/no_such_case`",
        ):
            self.assertEqual(missing(text), [text])
        self.assertEqual(
            missing("`tests/research/test_reliability.py::Reliab*`, `tests/corpus`"), []
        )
