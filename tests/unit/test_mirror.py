"""Every module of `autopilot/` has its test file here, or stands in a list that is checked."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.unit.untested import ELSEWHERE, OWN_TESTS, VALUES

_HERE = Path(__file__).parent
_CODE = _HERE.parents[1] / "autopilot"
_TEST_FILE = re.compile(r"[\w/]*\btest_[\w*]+\.py")
_DECISIONS = (
    *(ast.If, ast.IfExp, ast.Match, ast.BoolOp, ast.Compare),
    *(ast.For, ast.AsyncFor, ast.While, ast.comprehension),
    *(ast.Try, ast.With, ast.AsyncWith, ast.Raise, ast.Assert),
    *(ast.Yield, ast.YieldFrom, ast.Await, ast.Lambda),
)


def has_tests(module: Path) -> bool:
    """Return whether a test file is named after the module, with an aspect of it or without."""
    folder, name = _HERE / module.parent, module.stem.strip("_")
    return any(
        each.stem == f"test_{name}" or each.stem.startswith(f"test_{name}_")
        for each in folder.glob("test_*.py")
    )


def decides(source: str) -> bool:
    """Return whether a function of a module does more than to store, name or return a value."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    return any(
        isinstance(inner, _DECISIONS)
        for outer in ast.walk(ast.parse(source))
        if isinstance(outer, functions)
        for inner in ast.walk(outer)
    )


class MirrorTests(SynchronousTestCase):
    """The modules, the test files, and the lists of exceptions."""

    def setUp(self) -> None:
        """Find the modules."""
        found = (each.relative_to(_CODE) for each in _CODE.rglob("*.py"))
        self.modules = {str(each): each for each in found if each.stem != "__init__"}

    def test_every_module(self) -> None:
        """A module has a test file, or stands in one of the lists; not both."""
        without = {name for name, path in self.modules.items() if not has_tests(path)}
        listed = VALUES | set(ELSEWHERE)
        self.assertEqual(without - listed, set(), "no test file, and in no list")
        self.assertEqual(listed - without, set(), "listed, and yet tested or gone")
        self.assertEqual(VALUES & set(ELSEWHERE), set(), "in both lists")

    def test_values(self) -> None:
        """What is called a table of values decides nothing."""
        deciding = {name for name in VALUES if decides((_CODE / name).read_text())}
        self.assertEqual(deciding, set(), "it needs a test file")

    def test_own_tests(self) -> None:
        """In these packages nothing but a table of values lacks a test file of its own."""
        packages = {name: self.modules[name].parts[0] for name in ELSEWHERE}
        borrowed = {name for name, package in packages.items() if package in OWN_TESTS}
        self.assertEqual(borrowed, set(), "it needs a test file")
        self.assertEqual({each for each in OWN_TESTS if not (_CODE / each).is_dir()}, set())

    def test_elsewhere(self) -> None:
        """What tests a module instead is named, and exists."""
        for name, reason in ELSEWHERE.items():
            named = _TEST_FILE.findall(reason)
            self.assertNotEqual(named, [], name)
            for each in named:
                roots = (_HERE, _HERE.parent, (_HERE / name).parent)
                self.assertTrue(any(any(root.glob(each)) for root in roots), (name, each))

    def test_every_folder(self) -> None:
        """The folders of the tests are those of the code."""
        folders = {each.parent.relative_to(_HERE) for each in _HERE.rglob("test_*.py")}
        self.assertEqual({each for each in folders if not (_CODE / each).is_dir()}, set())


class DecidesTests(SynchronousTestCase):
    """What tells a table of values from other modules."""

    def test_values(self) -> None:
        """Names, fields, defaults and what only hands a value on are a table of values."""
        for source in (
            "A = 1\nif A:\n    import typing\n",
            "class E(Exception):\n    def __init__(self, a):\n        self.a = a\n",
            "class C:\n    @property\n    def b(self):\n        return self.a.b\n",
        ):
            self.assertFalse(decides(source), source)

    def test_decisions(self) -> None:
        """A branch, a loop, an exception or a wait in any function is a decision."""
        for body in (
            "if a: return 1",
            "return 1 if a else 2",
            "return a or 2",
            "return a > 2",
            "return [b for b in a]",
            "for b in a: pass",
            "raise ValueError",
            "yield a",
        ):
            self.assertTrue(decides(f"class C:\n    def f(self, a):\n        {body}\n"), body)
        self.assertTrue(decides("f = lambda a: a > 2"))
