"""The report: a capture for each check, a table of proposed changes, the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.rigs.live.check import Check, Cost
from tests.rigs.live.checking import Outcome, Result
from tests.rigs.live.rows import rows_of

SECONDS_PER_CALL = 3.0


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run."""

    day: str
    calls: int
    seconds: float
    stopped: str | None
    results: Sequence[Result]


def plan(checks: Sequence[Check], pace: float) -> str:
    """Return the plan of a run."""
    width = max(len(each.id) for each in checks)
    lines = [f"{'check':<{width}}  calls  costs"]
    lines += [f"{each.id:<{width}}      1  {each.cost}: {each.what}" for each in checks]
    tiny = sum(each.cost is Cost.TINY for each in checks)
    seconds = len(checks) * (pace + SECONDS_PER_CALL)
    lines.append(
        f"{len(checks)} calls, one at a time and {pace:g} s apart: about {seconds:.0f} s; "
        f"{tiny} of them make a model say at most 8 tokens each"
    )
    return "\n".join(lines)


def capture(result: Result) -> bytes:
    """Return the capture of one check."""
    told: dict[str, Any] = {
        **_summary(result),
        "request": result.request.as_json() if result.request is not None else None,
        "seen": result.seen.as_json() if result.seen is not None else None,
        "stub": [each.as_json() for each in result.expected],
    }
    return _json(told)


def line(result: Result, width: int) -> str:
    """Return a line for a result, followed by one for each difference."""
    status = "-" if result.seen is None else str(result.seen.status)
    head = f"{result.check.id:<{width}}  {status:>4}  {result.outcome}"
    why = f": {result.why}" if result.why else ""
    rows = ", ".join(rows_of(result.check.id)) or "no row"
    deltas = (
        f"    {rows}: {each.field}: the stand-in says {each.stub}; seen {each.seen}"
        for each in result.deltas
    )
    return "\n".join((head + why, *deltas))


def as_json(run: Run) -> bytes:
    """Return the whole report as JSON."""
    return _json(
        {
            "day": run.day,
            "calls": run.calls,
            "seconds": round(run.seconds),
            "stopped": run.stopped,
            "checks": [_summary(each) for each in run.results],
        }
    )


def as_markdown(run: Run) -> bytes:
    """Return the whole report for people."""
    return "\n".join(_paragraphs(run)).encode()


def _paragraphs(run: Run) -> Iterator[str]:
    yield f"# Live check of {run.day}\n"
    yield f"{run.calls} calls in {run.seconds:.0f} s. {_counts(run.results)}.\n"
    if run.stopped:
        yield f"The run stopped early: {run.stopped}.\n"
    yield "## Proposed changes to the matrix\n"
    yield from _proposals(run.results)
    yield "\n## As the matrix says\n"
    for each in run.results:
        if each.outcome is Outcome.AS_KNOWN:
            status = "–" if each.seen is None else each.seen.status
            yield f"* {_rows(each)} `{each.check.id}`: {each.check.what}: {status}"
    yield "\n## Still open\n"
    for each in run.results:
        if each.outcome not in (Outcome.AS_KNOWN, Outcome.DIFFERS):
            why = f" ({each.why})" if each.why else ""
            yield f"* {_rows(each)} `{each.check.id}`: {each.outcome}{why}"
    yield "\n## Also seen\n"
    for each in run.results:
        for fact in each.facts:
            yield f"* {_rows(each)} `{each.check.id}`: {fact}"
    yield ""


def _proposals(results: Sequence[Result]) -> Iterator[str]:
    rows = [
        f"| {_rows(each)} | `{each.check.id}` | {_cell(delta.field)} | {_cell(delta.stub)} "
        f"| {_cell(delta.seen)} |"
        for each in results
        for delta in each.deltas
    ]
    if not rows:
        yield "None."
        return
    yield "| row | check | where | the stand-in says | seen |"
    yield "|---|---|---|---|---|"
    yield from rows


def _rows(result: Result) -> str:
    return ", ".join(rows_of(result.check.id)) or "–"


def _counts(results: Sequence[Result]) -> str:
    counts = ((each, sum(r.outcome is each for r in results)) for each in Outcome)
    return ", ".join(f"{count} {outcome}" for outcome, count in counts if count)


def _summary(result: Result) -> dict[str, Any]:
    return {
        "check": result.check.id,
        "rows": list(rows_of(result.check.id)),
        "what": result.check.what,
        "outcome": result.outcome.value,
        "why": result.why,
        "deltas": [asdict(each) for each in result.deltas],
        "facts": list(result.facts),
    }


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
