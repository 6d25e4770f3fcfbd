"""Arithmetic of measurement windows: the cost of one unit from the counts of two windows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median

Window = Mapping[str, Mapping[str, float]]
"""Counts of one window, by metric and then by the name of the counted function."""

_Combine = Callable[[Sequence[float]], float]


def per_unit(few: Window, many: Window, units: int) -> Window:
    """Return the cost of one unit, where `many` did `units` more than `few`.

    The fixed cost of a window, such as the handling of its mark, cancels out.
    """
    return _merge((few, many), lambda counts: (counts[1] - counts[0]) / units)


def typical(rounds: Sequence[Window]) -> Window:
    """Return the median of each count, which ignores a timer that fires in one round."""
    return _merge(rounds, median)


def difference(cost: Window, less: Window) -> Window:
    """Return `cost` minus `less`."""
    return per_unit(less, cost, 1)


def totals(cost: Window) -> dict[str, float]:
    """Return the total of each metric."""
    return {metric: sum(counts.values()) for metric, counts in cost.items()}


def _merge(windows: Sequence[Window], combine: _Combine) -> Window:
    return {
        metric: {
            name: combine([window.get(metric, {}).get(name, 0) for window in windows])
            for name in _names(window.get(metric, {}) for window in windows)
        }
        for metric in _names(windows)
    }


def _names(mappings: Iterable[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for each in mappings for name in each))
