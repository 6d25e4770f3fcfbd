"""Test that `autopilot.routing` imports nothing but pure modules."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import autopilot.routing

_FORBIDDEN = frozenset(
    {"asyncio", "logging", "os", "random", "secrets", "socket", "threading", "time"}
)
# Dates are values; these read the clock. The other things of that module know time zones of hosts.
_CLOCKS = frozenset({"now", "today", "utcnow", "astimezone"})
_DATES = frozenset({"datetime.UTC", "datetime.date", "datetime.datetime"})
# Values that cost little to make, copies of them, and the ranges of their numbers; nothing else of
# that library has any business here.
_VALUES = frozenset({"msgspec.Meta", "msgspec.Struct", "msgspec.structs"})


def _imported(source: Path) -> set[str]:
    """Return the modules that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module or '.'}.{alias.name}" for alias in node.names}
    return names


class PurityTests(SynchronousTestCase):
    """No Twisted, no clock, no I/O, nothing of the rest of the project."""

    def test_only_itself_and_the_pure_part_of_the_standard_library(self) -> None:
        """Every import is of this package, of a pure standard module, or of the one for values."""
        sources = list(Path(autopilot.routing.__file__).parent.glob("*.py"))
        self.assertGreater(len(sources), 10)
        for source in sources:
            for name in _imported(source):
                if name.startswith("autopilot.routing.") or name in _VALUES:
                    continue
                top = name.partition(".")[0]
                self.assertIn(top, sys.stdlib_module_names, (source.name, name))
                self.assertNotIn(top, _FORBIDDEN, (source.name, name))
                self.assertTrue(top != "datetime" or name in _DATES, (source.name, name))

    def test_no_clock(self) -> None:
        """Whoever imports dates reads no clock by them."""
        for source in Path(autopilot.routing.__file__).parent.glob("*.py"):
            read = ast.walk(ast.parse(source.read_text("utf-8")))
            used = {node.attr for node in read if isinstance(node, ast.Attribute)}
            self.assertEqual(used & _CLOCKS, set(), source.name)
