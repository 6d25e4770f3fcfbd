"""The charts of the last half hour as SVG, each also summarized in a sentence and a table.

Those of a router that started later begin with its start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from math import ceil, floor, log10

from markupsafe import Markup

from autopilot.observability.history import INTERVAL, HistoryWindow, Interval, merged
from autopilot.web.status.formatting import Formatted, duration, escaped, number, plural
from autopilot.web.status.markup import SLOT, Cell, Child, Template, el, join, wrap
from autopilot.web.status.requests import minutes, period
from autopilot.web.status.tables import Table, TableColumn

_WIDTH, _HEIGHT = 600.0, 120.0
_STEP = 10
"""Intervals in one row of a chart's table, which covers five minutes."""
_FEWEST = 4
"""The fewest intervals of a chart: those of two minutes."""

_Value = Callable[[Interval], float | None]


def charts(window: HistoryWindow) -> Markup:
    """Render the section of the charts."""
    return el(
        "section",
        el("h2", _title(window), id="charts-title"),
        el("div", _first_byte(window), _failovers(window), class_="pair"),
        id="charts",
        aria_labelledby="charts-title",
    )


def _title(window: HistoryWindow) -> list[Child]:
    if window.covered >= len(window.intervals):
        return ["Last 30 minutes"]
    return ["Since the start ", el("small", f"{plural(minutes(window), 'minute')} ago")]


def _drawn(window: HistoryWindow) -> Sequence[Interval]:
    """Return the intervals since the start, so that a young router's chart is not mostly empty."""
    return window.intervals[-max(_FEWEST, window.covered) :]


def _first_byte(window: HistoryWindow) -> list[Child]:
    whole, intervals = window.whole, _drawn(window)
    summary = (
        f"Half of {plural(whole.first_bytes, 'response')} began within {duration(whole.median)}, "
        f"95 % within {duration(whole.p95)}."
        if whole.first_bytes
        else f"No response in {period(window)}."
    )
    top = _round_up(max(each.p95 or 0.0 for each in intervals) or 1.0)
    lines = [
        _line(intervals, value, top, kind)
        for kind, value in (("p95", lambda each: each.p95), ("median", lambda each: each.median))
    ]
    rows: list[tuple[Cell, ...]] = [
        (label, duration(each.median), duration(each.p95), number(each.first_bytes, 0))
        for label, each in _steps(window)
    ]
    return _FIRST_BYTE.render(summary, duration(top), lines, _axis(intervals), rows)


def _failovers(window: HistoryWindow) -> list[Child]:
    whole, intervals = window.whole, _drawn(window)
    summary = (
        f"{plural(whole.failovers, 'failed attempt')} in {plural(whole.requests, 'request')}."
        if whole.requests
        else f"No request in {period(window)}."
    )
    most = max(max(each.failovers, each.requests) for each in intervals)
    top = float(ceil(_round_up(float(most or 1))))
    bars = [
        _bars(intervals, lambda each: each.requests, top, "requests"),
        _bars(intervals, lambda each: each.failovers, top, "failovers"),
    ]
    rows: list[tuple[Cell, ...]] = [
        (label, number(each.requests, 0), number(each.failovers, 0))
        for label, each in _steps(window)
    ]
    scale = f"{number(top, 0)} in {INTERVAL:.0f} s"
    return _FAILOVERS.render(summary, scale, bars, _axis(intervals), rows)


def _axis(intervals: Sequence[Interval]) -> tuple[Cell, ...]:
    """Return the labels of the beginning and the middle of the time axis."""
    length = len(intervals) * INTERVAL / 60
    return Formatted(f"{length:g} min ago"), Formatted(f"{length / 2:g}")


class _Chart:
    """The parts of a chart that do not depend on its values, and its table."""

    def __init__(self, name: str, title: str, keys: Sequence[tuple[str, str]], data: Table) -> None:
        legend = [
            (el("i", class_=f"key {kind}", aria_hidden="true"), word, " ") for kind, word in keys
        ]
        self._figure = Template(
            el(
                "figure",
                el(
                    "figcaption",
                    el("h3", title, id=f"{name}-title"),
                    el("p", SLOT, id=f"{name}-summary"),
                ),
                el("div", el("span", SLOT, class_="top"), _drawing(name), _AXIS, class_="plot"),
                el("p", legend, class_="legend"),
                class_="chart",
            )
        )
        self._details = el(
            "details",
            el("summary", f"{data.caption}: table"),
            SLOT,
            id=f"{name}-table",
            class_="data",
        )
        self._data = data

    def render(
        self,
        summary: str,
        top: str,
        drawn: Sequence[Markup],
        axis: tuple[Cell, ...],
        rows: Sequence[tuple[Cell, ...]],
    ) -> list[Child]:
        """Return the chart and its table; ``top`` and ``axis`` label the chart's scales."""
        figure = self._figure.fill([(escaped(summary), escaped(top), join(drawn), *axis)])
        table = self._data.render(rows, len(rows))
        return wrap(_DIV, figure, wrap(self._details, table))


_DIV = el("div", SLOT)
_AXIS = el("div", el("span", SLOT), el("span", SLOT), el("span", "now"), class_="axis")


def _drawing(name: str) -> Markup:
    """Return the drawing with its grid, and a slot for the lines or bars."""
    grid = [
        el("line", class_="grid", x1="0", x2=f"{_WIDTH:g}", y1=f"{y:g}", y2=f"{y:g}")
        for y in (0.5, _HEIGHT / 2, _HEIGHT - 0.5)
    ]
    return el(
        "svg",
        grid,
        SLOT,
        viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}",
        preserveAspectRatio="none",
        role="img",
        aria_labelledby=f"{name}-title {name}-summary",
        focusable="false",
    )


_FIRST_BYTE = _Chart(
    "first-byte",
    "Time to first byte",
    (("median", "median"), ("p95", "95th percentile")),
    Table(
        "first-byte-data",
        "Time to first byte, worst per five minutes",
        (
            TableColumn("Minutes ago"),
            TableColumn("Median", True),
            TableColumn("95 %", True),
            TableColumn("Responses", True),
        ),
    ),
)
_FAILOVERS = _Chart(
    "failovers",
    "Requests and failovers",
    (("requests", "requests"), ("failovers", "failovers")),
    Table(
        "failovers-data",
        "Requests and failovers per five minutes",
        (
            TableColumn("Minutes ago"),
            TableColumn("Requests", True),
            TableColumn("Failovers", True),
        ),
    ),
)


def _steps(window: HistoryWindow) -> list[tuple[Formatted, Interval]]:
    """Return the intervals since the start merged into steps of five minutes, latest first."""
    intervals = _drawn(window)
    found = []
    for end in range(len(intervals), 0, -_STEP):
        start = max(0, end - _STEP)
        since, until = ((len(intervals) - edge) * INTERVAL / 60 for edge in (start, end))
        found.append((Formatted(f"{until:g} to {since:g}"), merged(intervals[start:end])))
    return found


def _line(intervals: Sequence[Interval], value: _Value, top: float, kind: str) -> Markup:
    """Draw a line with gaps where there is no value; a single value becomes a short dash."""
    width = _WIDTH / len(intervals)
    values = list(enumerate(map(value, intervals)))
    path = []
    for measured, run in groupby(values, key=lambda each: each[1] is not None):
        if measured:
            points = [
                ((index + 0.5) * width, _HEIGHT * (1 - min(1.0, (number or 0.0) / top)))
                for index, number in run
            ]
            first, last = points[0], points[-1]
            points = [(first[0] - width / 2, first[1]), *points, (last[0] + width / 2, last[1])]
            path.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points))
    return el("path", class_=kind, d="".join(path), vector_effect="non-scaling-stroke")


def _bars(intervals: Sequence[Interval], value: _Value, top: float, kind: str) -> Markup:
    width = _WIDTH / len(intervals)
    path = []
    for index, interval in enumerate(intervals):
        height = _HEIGHT * (value(interval) or 0) / top
        if height:
            path.append(
                f"M{index * width + 1:.1f} {_HEIGHT:g}v{-height:.1f}h{width - 2:.1f}v{height:.1f}z"
            )
    return el("path", class_=kind, d="".join(path))


def _round_up(value: float) -> float:
    """Return the next value that is 1, 2 or 5 times a power of ten, for a readable scale."""
    power: float = 10.0 ** floor(log10(value))
    return next(step * power for step in (1, 2, 5, 10) if value <= step * power * 1.0001)
