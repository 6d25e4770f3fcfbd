"""Calls of Python functions and of C functions, counted by the launcher in the router itself."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from benchmarks.cost.counting import Counting
from benchmarks.cost.launcher import COUNT_CALLS
from benchmarks.cost.router import Tool
from benchmarks.cost.windows import Window
from benchmarks.processes import PROJECT

# The path to a package differs between machines and interpreters.
_PREFIX: Final = re.compile(
    rf"^(?:.*/(?:site|dist)-packages/|{re.escape(str(PROJECT))}/|.*/(?=\w+\.py))"
)


def readable(report: Mapping[str, Any]) -> Window:
    """Return a report of the launcher as a window, with paths relative to the packages."""
    python: Counter[str] = Counter()
    for place, count in report.get("python", {}).items():
        python[_PREFIX.sub("", place)] += count
    return {"python_calls": python, "c_calls": report.get("c", {})}


CALLS: Final = Counting(
    name="calls",
    metrics=("python_calls", "c_calls"),
    missing=lambda: None,
    tool=lambda _: Tool(COUNT_CALLS),
    read=lambda _, reports: [readable(each) for each in reports],
)

QUICK: Final = replace(CALLS, warmup=20, few=5, more=25)
"""The same with fewer units, for tests."""
