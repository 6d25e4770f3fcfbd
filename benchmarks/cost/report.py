"""Output of `make cost`: table, summary, and breakdown by function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.cost.comparison import Row, Verdict, failures
from benchmarks.cost.windows import Window

_LEAST = 0.05
_UPDATE = "run `make cost ARGS=--update` to record the new counts in benchmarks/cost.toml"


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the table, one line per count."""
    yield from _columns(
        [
            ("a unit of", "count", "measured", "recorded", "target", ""),
            *(
                (
                    row.scenario,
                    row.metric.replace("_", " "),
                    number(row.measured),
                    number(row.recorded),
                    number(row.target),
                    _note(row),
                )
                for row in rows
            ),
        ]
    )


def summary(rows: Sequence[Row], not_counted: Mapping[str, str]) -> Iterator[str]:
    """Yield what was not counted or not compared, the state of the targets, and the verdict."""
    for name, reason in not_counted.items():
        yield f"not counted: {name}: {reason}"
    for verdict in (Verdict.OTHER_VERSION, Verdict.OTHER_BUILD):
        if metrics := dict.fromkeys(row.metric for row in rows if row.verdict is verdict):
            yield f"{verdict.value}: {', '.join(metrics).replace('_', ' ')}"
    missed = sum(row.misses_target for row in rows)
    held = sum(row.target is not None for row in rows) - missed
    yield f"targets: {held} met, {missed} missed"
    if grown := failures(rows):
        yield f"{len(grown)} counts grew or are not in the file; if that is intended, {_UPDATE}"
    elif any(row.verdict is Verdict.FELL for row in rows):
        yield f"no count grew, some fell; {_UPDATE}"
    elif any(row.verdict is Verdict.SAME for row in rows):
        yield "no compared count grew"
    else:
        yield "nothing was compared"


def breakdown(cost: Window) -> Iterator[str]:
    """Yield the functions that a unit calls, the most frequent first."""
    for metric, counts in cost.items():
        yield f"{metric.replace('_', ' ')}: {number(sum(counts.values()))}"
        for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            if abs(count) >= _LEAST:
                yield f"{number(count):>9}  {name}"
        yield ""


def number(value: float | None) -> str:
    """Return a count as text, with one decimal place unless it is an integer."""
    return "–" if value is None else f"{round(value, 1) + 0.0:,.1f}".removesuffix(".0")


def _note(row: Row) -> str:
    missed = "over target" if row.misses_target else ""
    return ", ".join(filter(None, (row.verdict.value, missed)))


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, metric, *numbers, note in rows:
        cells = (f"{cell:>{width}}" for cell, width in zip(numbers, widths[2:-1], strict=True))
        line = f"{name:<{widths[0]}}  {metric:<{widths[1]}}  {'  '.join(cells)}  {note}"
        yield line.rstrip()
