"""What the router would do with one request, and why, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from autopilot.cli.console import Console
from autopilot.cli.explain_data import Explained, asked_for
from autopilot.cli.terminal import Column
from autopilot.request.parse import ParsedRequest
from autopilot.routing.commit import Commit
from autopilot.routing.exclusions import Cause, Dropped
from autopilot.routing.plan import Plan
from autopilot.routing.requirements import LIMITS
from autopilot.routing.router_error import RouterError
from autopilot.routing.selector import Mode, Order
from autopilot.routing.suggest import printable

_COMMITS: Final = {
    Commit.BYTE: "at the first byte",
    Commit.CONTENT: "at the first content",
    Commit.COMPLETE: "when the answer is complete",
}
_CAUSES: Final = {
    Cause.UNKNOWN: "not in the catalog",
    Cause.NOT_CONFIDENTIAL: "not marked as running in a TEE",
}


def show(console: Console, explained: Explained, *, every_candidate: bool) -> None:
    """The result for people."""
    outcome, reading = explained.outcome, explained.reading
    if reading is not None:
        console.say(*_request(reading, explained))
    if isinstance(outcome, RouterError):
        verdict = f"refused with {outcome.status} {outcome.code}"
        console.say(console.painted(verdict, "bad"), f"  {printable(outcome.message)}")
        if outcome.retry_after is not None:
            console.say("  The client is told to try again when the feeds are read next.")
    else:
        _show_candidates(console, explained, outcome, every_candidate)
    for each in explained.dropped:
        console.say(f"  left out  {printable(each.name)}: {_why(each, explained)}")
    if reading is not None and reading.selector.mode is Mode.ALIAS and explained.not_eligible:
        counted = ", ".join(f"{count} {why}" for why, count in explained.not_eligible.items())
        console.say(f"  not eligible at all: {counted} (autopilot rank --all names them)")


def _request(reading: ParsedRequest, explained: Explained) -> Sequence[str]:
    selector, settings = reading.selector, explained.settings
    order = "" if selector.order is Order.GIVEN else f", by {selector.order}"
    lines = [f"mode      {selector.mode}{order}"]
    if explained.needs is not None and (asked := asked_for(explained.needs)):
        said = (name if value is True else f"{name} {value}" for name, value in asked.items())
        lines.append(f"needs     {', '.join(said)}")
    if reading.tee_only or settings.require_tee:
        by = "X-TEE-Only" if reading.tee_only else "REQUIRE_TEE"
        lines.append(f"TEE only  by {by}")
    return lines


def _show_candidates(
    console: Console, explained: Explained, made: Plan, every_candidate: bool
) -> None:
    recall, settings = explained.known.recall, explained.settings
    scores = {ranked.name: ranked.score for ranked in explained.known.snapshot.ranking}
    columns = [Column("#", right=True), Column("model", shrinks=True), Column("score", right=True)]
    measured = bool(recall.first_byte or recall.throughput)
    if measured:
        columns += [Column("first content", right=True), Column("tokens per s", right=True)]
    columns.append(Column("note"))
    rows = []
    shown = made.models[: None if every_candidate else settings.max_attempts]
    for place, name in enumerate(shown, 1):
        row = [str(place), name, f"{scores[name]:.2f}" if name in scores else "–"]
        if measured:
            first, speed = recall.first_byte.get(name), recall.throughput.get(name)
            row.append("–" if first is None else f"{first:.2f} s")
            row.append("–" if speed is None else f"{speed:.0f}")
        notes = ["cooling"] if name in recall.cooling else []
        if place > settings.max_attempts:
            notes.append("not reached")
        rows.append([*row, ", ".join(notes)])
    console.say_table(columns, rows, faint=settings.max_attempts)
    if hidden := len(made.models) - len(shown):
        console.say(console.painted(f"and {hidden} more that are not reached (--all)", "faint"))
    assert explained.reading is not None
    attempts = min(settings.max_attempts, len(made.models))
    console.say(
        f"attempts  at most {attempts} (MAX_ATTEMPTS {settings.max_attempts}), by the"
        f" {settings.failover_policy} policy",
        f"commit    {explained.reading.commit}: {_COMMITS[explained.reading.commit]},"
        " then nothing is retried",
    )
    if attempts > 1:
        seconds = settings.failover_after_ms / 1000
        console.say(f"patience  {seconds:g} s with a stream while another candidate is left")


def _why(each: Dropped, explained: Explained) -> str:
    if each.cause is not Cause.LACKS:
        return _CAUSES[each.cause]
    catalog = explained.known.snapshot.catalog
    model = None if catalog is None else catalog.models.get(each.name)
    parts = []
    for need in each.lacks:
        limit = getattr(model, LIMITS[need]) if need in LIMITS else None
        parts.append(f"no {need}" if limit is None else f"{need} up to {limit}")
    return ", ".join(parts)
