"""The regular expressions of the package match alike on every supported Python."""

from __future__ import annotations

import importlib
import pkgutil
import re
import warnings
from collections.abc import Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import autopilot

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import sre_constants
    import sre_parse

_SINGLE = (sre_constants.IN, sre_constants.LITERAL, sre_constants.NOT_LITERAL, sre_constants.ANY)


def possessive_groups(pattern: re.Pattern[Any]) -> Iterator[object]:
    """Yield the possessive quantifiers of more than one character class."""
    yield from _possessive(sre_parse.parse(pattern.pattern, pattern.flags & ~re.TEMPLATE))


def _possessive(parsed: Any) -> Iterator[object]:
    for operator, argument in parsed:
        if operator is sre_constants.POSSESSIVE_REPEAT:
            inner = argument[2]
            if len(inner) != 1 or inner[0][0] not in _SINGLE:
                yield argument
        for each in argument if isinstance(argument, (tuple, list)) else (argument,):
            for nested in each if isinstance(each, list) else (each,):
                if isinstance(nested, sre_parse.SubPattern):
                    yield from _possessive(nested)


class PatternTests(SynchronousTestCase):
    """Before Python 3.11.5 such a quantifier finds too little (CPython issue 106052)."""

    def test_none(self) -> None:
        """No pattern of a module has a possessive quantifier behind a group."""
        patterns = []
        for each in pkgutil.walk_packages(autopilot.__path__, "autopilot."):
            if each.name.rpartition(".")[2] == "__main__" or "._demo" in each.name:
                continue
            for name, value in vars(importlib.import_module(each.name)).items():
                if isinstance(value, re.Pattern):
                    patterns.append(value)
                    self.assertEqual(list(possessive_groups(value)), [], f"{each.name}.{name}")
        self.assertGreater(len(patterns), 40)

    def test_would_be_found(self) -> None:
        """It is found at any depth, and those of single characters are not."""
        for text in (
            r"(?:ab|c)*+",
            r"x(y(?:a*b)?+)",
            r"(?>(?:ab){1,3}+)",
            r"(?=(?:ab)++)",
            r"a|(bc)++",
        ):
            self.assertEqual(len(list(possessive_groups(re.compile(text)))), 1, text)
        for text in (r"[ab]*+a++.?+\d{1,3}+", r"(?>(?:ab)*)", r"(?:a)*+"):
            self.assertEqual(list(possessive_groups(re.compile(text))), [], text)
