"""The explanation of one request's plan as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from autopilot.cli.console import Console
from autopilot.cli.explain_data import (
    CLIENT_ALONE,
    Conversation,
    Explanation,
    PrivateBy,
    asked_for,
    why_of,
)
from autopilot.cli.terminal import TextColumn
from autopilot.request.parse import ParsedRequest
from autopilot.routing.commit import Commit
from autopilot.routing.listing import Cause, Dropped
from autopilot.routing.plan import Plan
from autopilot.routing.requirements import LIMITS
from autopilot.routing.router_error import RouterError
from autopilot.routing.selector import ASCII_BLANKS, Mode, Order
from autopilot.routing.suggest import echo, printable
from autopilot.routing.why import AffinityWhy

_COMMITS: Final = {
    Commit.BYTE: "at the first byte",
    Commit.CONTENT: "at the first content",
    Commit.COMPLETE: "when the response is complete",
}
_CAUSES: Final = {
    Cause.UNKNOWN: "not in the catalog",
    Cause.NOT_CONFIDENTIAL: "not marked as running in a TEE",
}
_PRIVATE_BY: Final = {
    PrivateBy.HEADER: "X-Autopilot-Private",
    PrivateBy.MODEL: "the model that it names",
    PrivateBy.SETTING: "PRIVATE",
}

_DISPLACED: Final = {
    AffinityWhy.GONE: "because the remembered model is no candidate",
    AffinityWhy.COOLING: "because the remembered model cools down",
    AffinityWhy.LISTED: "because its list or route names another model first",
}


def show(console: Console, explained: Explanation, *, every_candidate: bool) -> None:
    """Print the explanation."""
    outcome, request = explained.outcome, explained.request
    if request is not None:
        console.say(*_request(request, explained))
    if isinstance(outcome, RouterError):
        heading = f"refused with {outcome.status} {outcome.code}"
        console.say(console.painted(heading, "bad"), f"  {printable(outcome.message)}")
        if outcome.retry_after is not None:
            console.say("  Retry-After asks the client to retry after the next feed refresh.")
    else:
        _show_candidates(console, explained, outcome, every_candidate)
    for each in explained.dropped:
        console.say(f"  left out  {printable(each.name)}: {_reason(each, explained)}")
    if request is not None and request.selector.mode is Mode.ALIAS and explained.not_eligible:
        counted = ", ".join(f"{count} {why}" for why, count in explained.not_eligible.items())
        console.say(f"  not eligible: {counted} (autopilot rank --all names them)")


def _request(request: ParsedRequest, explained: Explanation) -> Sequence[str]:
    selector, settings = request.selector, explained.settings
    order = "" if selector.order is Order.GIVEN else f", by {selector.order}"
    lines = [f"mode      {selector.mode}{order}"]
    if explained.route is not None:
        filters = ", ".join(explained.route.filters) or "no filters"
        lines.append(f"route     {explained.route.name}: {filters}")
    if explained.alias_by is not None:
        by = "a pattern in ALIASES" if explained.alias_by == "ALIASES" else explained.alias_by
        name = echo(explained.asked.strip(ASCII_BLANKS))
        lines.append(f"name      {name} is not in the catalog: by {by} the router chooses")
    if explained.needs is not None and (asked := asked_for(explained.needs)):
        needs = (name if value is True else f"{name} {value}" for name, value in asked.items())
        lines.append(f"needs     {', '.join(needs)}")
    if explained.private_by is not None:
        most = settings.private_max_instances
        lines.append(
            f"private   by {_PRIVATE_BY[explained.private_by]}: encrypted to at most {most}"
            " instances whose keys are verified (PRIVATE_MAX_INSTANCES)"
        )
        lines.append("verified  see /status of a router, which alone knows for which models")
    elif request.tee_only or settings.require_tee:
        by = "X-TEE-Only" if request.tee_only else "REQUIRE_TEE"
        lines.append(f"TEE only  by {by}")
    if explained.conversation is not None:
        lines.append(f"sticks    {_sticks(request, explained.conversation)}")
    return lines


def _sticks(request: ParsedRequest, conversation: Conversation) -> str:
    if conversation.told_by is None:
        by = "STICKY_TTL_SECS is 0" if request.sticky else "X-Autopilot-Affinity is off"
        return f"not: {by}"
    told = conversation.told_by
    words = "by its client alone" if told == CLIENT_ALONE else f"by its conversation ({told})"
    if conversation.affinity is None:
        return words
    because = f", {_DISPLACED[conversation.why]}" if conversation.why is not None else ""
    return f"{words}: {conversation.affinity}{because}"


def _show_candidates(
    console: Console, explained: Explanation, plan: Plan, every_candidate: bool
) -> None:
    state, settings = explained.inputs.state, explained.settings
    scores = {ranked.name: ranked.score for ranked in explained.inputs.snapshot.ranking}
    columns = [
        TextColumn("#", right=True),
        TextColumn("model", shrinks=True),
        TextColumn("why"),
        TextColumn("score", right=True),
    ]
    measured = bool(state.first_byte or state.throughput)
    if measured:
        columns += [TextColumn("first content", right=True), TextColumn("tokens per s", right=True)]
    columns.append(TextColumn("note"))
    rows = []
    shown = plan.candidates[: None if every_candidate else settings.max_attempts]
    for place, candidate in enumerate(shown, 1):
        name = candidate.model
        score = f"{scores[name]:.2f}" if name in scores else "–"
        row = [str(place), name, why_of(plan, candidate), score]
        if measured:
            first, speed = state.first_byte.get(name), state.throughput.get(name)
            row.append("–" if first is None else f"{first:.2f} s")
            row.append("–" if speed is None else f"{speed:.0f}")
        notes = ["cooling"] if name in state.cooling else []
        if place > settings.max_attempts:
            notes.append("not reached")
        rows.append([*row, ", ".join(notes)])
    console.say_table(columns, rows, faint=settings.max_attempts)
    if hidden := len(plan.candidates) - len(shown):
        console.say(console.painted(f"and {hidden} more that are not reached (--all)", "faint"))
    if plan.resort:
        console.say(f"resort    {', '.join(each.model for each in plan.resort)}, behind all others")
    assert explained.request is not None
    attempts = min(settings.max_attempts, len(plan.candidates) + len(plan.resort))
    console.say(
        f"attempts  at most {attempts} (MAX_ATTEMPTS {settings.max_attempts}), by the"
        f" {settings.failover_policy} policy",
        f"commit    {explained.request.commit}: {_COMMITS[explained.request.commit]};"
        " the router retries nothing after it",
    )
    if attempts > 1:
        stream = explained.timeouts.failover_after
        plain = explained.timeouts.plain_failover_after
        console.say(
            f"failover  after {stream:g} s of a silent stream or {plain:g} s without a whole answer"
            " to a plain request, if a candidate is left"
        )


def _reason(each: Dropped, explained: Explanation) -> str:
    if each.cause is Cause.FILTERED:
        return f"fails {', '.join(each.lacks)}"
    if each.cause is not Cause.LACKS:
        return _CAUSES[each.cause]
    catalog = explained.inputs.snapshot.catalog
    model = None if catalog is None else catalog.models.get(each.name)
    parts = []
    for need in each.lacks:
        limit = getattr(model, LIMITS[need]) if need in LIMITS else None
        parts.append(f"no {need}" if limit is None else f"{need} up to {limit}")
    return ", ".join(parts)
