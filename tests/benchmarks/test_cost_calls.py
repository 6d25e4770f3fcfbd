"""Test that the calls of a real router stay within `benchmarks/cost.toml`."""

from __future__ import annotations

import sys

import pytest

from benchmarks.cost import report
from benchmarks.cost.calls import QUICK
from benchmarks.cost.comparison import compare, failures
from benchmarks.cost.interpreter import COMPARABLE, describe
from benchmarks.cost.limits import load
from benchmarks.cost.measuring import measure
from benchmarks.cost.scenarios import scenarios
from benchmarks.cost.windows import totals

RUNS = describe(sys.executable)


@pytest.mark.skipif(
    not (RUNS.comparable and sys.platform == "linux"),
    reason=f"calls are recorded for {COMPARABLE} on Linux; this is {RUNS.version}",
)
def test_no_count_of_calls_grew() -> None:
    """No unit makes more Python or C calls than the file records."""
    every = scenarios()
    measured = {name: totals(cost) for name, cost in measure(QUICK, every, sys.executable).items()}
    grown = failures(compare(every, measured, load(), RUNS))
    assert not grown, "\n".join((*report.table(grown), *report.summary(grown, {})))
