"""Runs one check on both sides and returns its result."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.rigs.live.admission import ClosedError
from tests.rigs.live.caller import NoAnswerError
from tests.rigs.live.check import Check, Cost
from tests.rigs.live.compare import Delta, compare
from tests.rigs.live.facts import stream_facts
from tests.rigs.live.model_choice import NoSuchModelError
from tests.rigs.live.observe import HTML, SSE, Observation, observe
from tests.rigs.live.reply import Reply
from tests.rigs.live.request import Auth, Host, LiveRequest
from tests.rigs.live.side import Side

EDGE = "the edge limits this caller"


class Outcome(StrEnum):
    """The outcome of a check."""

    AS_KNOWN = "as known"
    DIFFERS = "differs"
    UNAVAILABLE = "the model was not available"
    NO_MODEL = "no model for it"
    NOT_PLAYED = "not played"
    NO_ANSWER = "no answer"
    WITHHELD = "withheld"


@dataclass(frozen=True, slots=True)
class Result:
    """The redacted result of one check."""

    check: Check
    outcome: Outcome
    why: str = ""
    request: LiveRequest | None = None
    seen: Observation | None = None
    expected: tuple[Observation, ...] = ()
    deltas: tuple[Delta, ...] = ()
    facts: tuple[str, ...] = ()


async def run_check(check: Check, platform: Side, stub: Side) -> tuple[Result, Reply | None]:
    """Run a check; return the result, and the raw reply for later checks that need it."""
    try:
        request = check.build(platform.choice)
    except NoSuchModelError as nobody:
        return Result(check, Outcome.NO_MODEL, str(nobody)), None
    if request.host not in platform.bases:
        return Result(check, Outcome.NOT_PLAYED, "the run was stopped before", request), None
    try:
        reply = await platform.caller.send(request)
    except ClosedError as closed:
        return Result(check, Outcome.NOT_PLAYED, str(closed), request), None
    except NoAnswerError as problem:
        return Result(check, Outcome.NO_ANSWER, str(problem), request), None
    reason = closing_reason(request, reply)
    if reason is not None:
        platform.caller.admission.close(reason)
    seen = observe(reply, platform.redactor)
    outcome, why, expected = await _expected(check, seen, stub)
    deltas = tuple(compare(seen, expected))
    if outcome is Outcome.AS_KNOWN and deltas:
        outcome = Outcome.DIFFERS
    facts = tuple(_facts(check, reply, platform))
    return Result(check, outcome, why, request, seen, tuple(expected), deltas, facts), reply


def closing_reason(request: LiveRequest, reply: Reply) -> str | None:
    """Return the reason to make no further calls after this response, or None."""
    if reply.status == 429 and (reply.media_type == HTML or reply.body.lstrip()[:1] != b"{"):
        return EDGE
    if reply.status == 403 and reply.media_type == HTML:
        return "the edge refuses this caller"
    if request.auth is Auth.KEY and request.host in (Host.LLM, Host.ROUTER):
        return {401: "the key is refused", 402: "the account cannot pay"}.get(reply.status)
    return None


async def _expected(
    check: Check, seen: Observation, stub: Side
) -> tuple[Outcome, str, list[Observation]]:
    """Return the stub's response to the request; for a temporary failure, the same failure."""
    answers = [await _answer(each, stub) for each in _asks(check, stub)]
    if not answers:
        return Outcome.NO_MODEL, "the stand-in has no model for it", [seen]
    alike = [each for each in answers if each.status == seen.status]
    if not alike and check.cost is Cost.TINY:
        scenario = likeness(seen)
        if scenario is not None:
            failed = [await _answer(_ask_of(check, stub, scenario), stub)]
            return Outcome.UNAVAILABLE, f"compared with the scenario {scenario}", failed
    return Outcome.AS_KNOWN, "", alike or answers[:1]


def _asks(check: Check, stub: Side) -> Iterator[LiveRequest]:
    with suppress(NoSuchModelError):
        yield check.build(stub.choice)
    for scenario in check.accepted:
        with suppress(NoSuchModelError):
            yield _ask_of(check, stub, scenario)


def _ask_of(check: Check, stub: Side, scenario: str) -> LiveRequest:
    return check.build(stub.choice.as_every_role(stub.choice.named(f"stub/{scenario}")))


async def _answer(request: LiveRequest, stub: Side) -> Observation:
    return observe(await stub.caller.send(request), stub.redactor)


def likeness(seen: Observation) -> str | None:
    """Return the stub scenario that corresponds to a temporary failure."""
    said = " ".join(seen.skeleton["$.detail"].texts) if "$.detail" in seen.skeleton else ""
    page = seen.content_type == HTML
    by_status = {
        402: "402-quota" if "$.detail.message" in seen.skeleton else "402-string",
        429: "429-edge-html" if page else _limit(said),
        500: "500-exhausted",
        502: "502-html",
        503: "503-html" if page else "503-disabled" if "disabled" in said else "503-cold",
        504: "504-html",
    }
    return by_status.get(seen.status)


def _limit(said: str) -> str:
    return "429-capacity" if "maximum capacity" in said else "429-account"


def _facts(check: Check, reply: Reply, platform: Side) -> Iterator[str]:
    if reply.media_type == SSE:
        yield from stream_facts(reply.body)
    if check.facts is not None and reply.status == 200:
        value = parsed(reply.body)
        if value is not None:
            yield from check.facts(value, platform.choice)


def parsed(body: bytes) -> Any:
    """Return a body as JSON, or None."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
