"""Routing stays pure: what it may import is checked, not promised."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import autopilot.routing

_FORBIDDEN = frozenset(
    {"asyncio", "logging", "os", "random", "secrets", "socket", "threading", "time", "datetime"}
)


def _imported(source: Path) -> set[str]:
    """The modules that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or ".")
    return names


class PurityTests(SynchronousTestCase):
    """No Twisted, no clock, no I/O, nothing of the rest of the project."""

    def test_only_itself_and_the_pure_part_of_the_standard_library(self) -> None:
        """Every import is of this package or of a standard module without side effects."""
        sources = list(Path(autopilot.routing.__file__).parent.glob("*.py"))
        self.assertGreater(len(sources), 10)
        for source in sources:
            for name in _imported(source):
                if name.startswith("autopilot.routing."):
                    continue
                top = name.partition(".")[0]
                self.assertIn(top, sys.stdlib_module_names, (source.name, name))
                self.assertNotIn(top, _FORBIDDEN, (source.name, name))
