"""The contract's tables: classification of responses, commit, and the guard.

Each is a pure function of everything that has arrived, for comparison with the contract. They share
no code with the router.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tests.properties.exchange_replies import GAVE_UP, Event, Framing, Means, Reply
from tests.unit.relay.upstreams import JSON

MOST_DECIDING = 65536
MOST_HELD = 262144
MOST_HELD_PLAIN = 1 << 20
MOST_HELD_EVENTS = 64
LONGEST_PAUSE = 5

HOLD = "hold"
COMMIT = "commit"


class Verdict(NamedTuple):
    """The consequence of an error response: ``next`` (with its reason), ``answer`` or ``read``."""

    word: str
    reason: str = ""
    pause: int | None = None
    again: float | None = None


ANSWER = Verdict("answer")
READ = Verdict("read")


def at_head(reply: Reply, policy: str, direct: bool) -> Verdict:
    """Return the verdict on a response other than a 2xx; ``READ`` if the body decides."""
    status = reply.status
    if status == 503:
        return Verdict("next", "status_503")
    if policy == "strict":
        return ANSWER
    if status in (502, 504, 520, 521, 522, 523, 524, 529):
        return Verdict("next", f"status_{status}")
    if reply.kind == JSON and (status in (400, 429, 500) or (status == 404 and not direct)):
        return READ
    return _at_last(reply, policy)


def at_body(reply: Reply, said: str, policy: str, direct: bool, larger_left: bool) -> Verdict:
    """Return the verdict after the body; ``said`` is empty if the body is not understood."""
    match reply.status, said:
        case 429, "at capacity":
            return Verdict("next", "capacity")
        case 500, "no target left":
            return Verdict("next", "status_500")
        case 429, "an error of its own":
            after = 1 if reply.retry_after is None else reply.retry_after
            again = after if after <= LONGEST_PAUSE else None
            return Verdict("next", "status_429", again=again)
        case 500, "an error of its own":
            return Verdict("next", "status_500", again=0.25)
        case 500, "something in its detail":
            return Verdict("next", "status_500")
        case 404, "model not found" if not direct:
            return Verdict("next", "not_found")
        case 400, "context exceeded" if larger_left:
            return Verdict("next", "context")
    return _at_last(reply, policy)


def _at_last(reply: Reply, policy: str) -> Verdict:
    """Return the verdict of policy ``open``, under which every other 429 and 5xx is a reason."""
    if policy != "open" or not (reply.status == 429 or reply.status >= 500):
        return ANSWER
    after = reply.retry_after
    pause = after if after is not None and after <= LONGEST_PAUSE else None
    return Verdict("next", f"status_{reply.status}", pause)


def may_be_shaped(reply: Reply, size: int) -> bool:
    """Return whether a partial error may lack the member that SDKs read."""
    declared = len(reply.document) if reply.framing is Framing.LENGTH else 0
    return reply.status >= 400 and reply.kind == JSON and max(size, declared) <= MOST_DECIDING


def commit_point(
    commit: str,
    reply: Reply,
    size: int,
    events: Sequence[Event],
    *,
    last: bool,
    ended: bool,
    most: int,
) -> str:
    """Return the decision on a partial 2xx: ``HOLD``, ``COMMIT`` or a failover reason."""
    if commit == "complete":
        if not reply.streams:
            return _whole_plain(reply, size, ended=ended, last=last, most=most)
        return _whole(size, events, ended=ended, last=last, most=most)
    if commit == "content" and not last:
        if reply.streams:
            return _first_content(size, events, ended=ended)
        if reply.kind == JSON or not size:
            return _whole_plain(reply, size, ended=ended, last=last, most=MOST_HELD_PLAIN)
    return COMMIT if size or ended else HOLD


def _first_content(size: int, events: Sequence[Event], *, ended: bool) -> str:
    empty = 0
    for event in events:
        if event.end > MOST_HELD:
            break
        match event.piece.means:
            case Means.ERROR | Means.BARE_ERROR:
                return "error_event"
            case Means.GAVE_UP:
                return "gave_up"
            case Means.DONE:
                return "empty"
            case Means.CONTENT | Means.FINISH | Means.OWN_ERROR:
                return COMMIT
            case Means.EMPTY | Means.INVALID:
                empty += 1
        if empty == MOST_HELD_EVENTS:
            return COMMIT
    if size > MOST_HELD:
        return COMMIT
    return "no_terminator" if ended else HOLD


_FAILING = {
    Means.ERROR: "error_event",
    Means.BARE_ERROR: "error_event",
    Means.GAVE_UP: "gave_up",
    Means.INVALID: "invalid_event",
}


def _whole(size: int, events: Sequence[Event], *, ended: bool, last: bool, most: int) -> str:
    said = False
    for event in events:
        if event.end > most:
            break
        means = event.piece.means
        if means in _FAILING:
            return _FAILING[means]
        said = said or means in (Means.CONTENT, Means.FINISH)
        if means is Means.OWN_ERROR or (means is Means.DONE and (said or last)):
            return COMMIT
        if means is Means.DONE:
            return "empty"
    if size > most:
        return COMMIT
    if not ended:
        return HOLD
    return COMMIT if all_finished(events, most) else "no_terminator"


def _whole_plain(reply: Reply, size: int, *, ended: bool, last: bool, most: int) -> str:
    if size > most:
        return COMMIT
    if not ended:
        return HOLD
    if not size:
        return COMMIT if last else "empty"
    return reply.fails or COMMIT


def all_finished(events: Sequence[Event], most: int) -> bool:
    """Return whether the requested choice is complete, so that a break ends the stream well."""
    return any(event.piece.means is Means.FINISH for event in events if event.end <= most)


def at_boundary(body: bytes) -> bool:
    """Return whether the bytes end with a complete event."""
    return not body or body.endswith((b"\n\n", b"\r\n\r\n", b"\r\r"))


def answered(reply: Reply, size: int, events: Sequence[Event], most: int) -> bool:
    """Return whether a part of the answer has arrived, even if it is held back."""
    if not reply.streams:
        return size > 0
    telling = (Means.CONTENT, Means.FINISH)
    return any(event.piece.means in telling for event in events if event.end <= most)


class End(NamedTuple):
    """The end of a committed response: its outcome, and whether the client receives a clean end."""

    outcome: str
    clean: bool


class Passed(NamedTuple):
    """The number of committed bytes that the guard has passed.

    ``fault`` is the outcome that ends the response, if any.
    """

    least: int
    most: int
    end: End | None = None


def passed(
    guard: str, reply: Reply, body: bytes, events: Sequence[Event], *, ended: bool, before: int
) -> Passed:
    """Return how much of ``body`` the guard passes, if ``before`` bytes passed earlier."""
    size = len(body)
    if guard == "off" or not reply.streams:
        return Passed(size, size)
    found = _ending(guard, body, events)
    if found is not None:
        event, end = found
        if event.piece.means in _TERMINATORS:
            return Passed(event.end, event.end, end)
        # Bytes that passed before the fault was visible remain passed.
        stop = max(event.start, before)
        return Passed(stop, stop, end)
    line = body.rfind(b"\n") + 1
    waits = body.startswith(b"{", line) and not ended
    return Passed(line if waits else size, size)


def ends(guard: str, reply: Reply, body: bytes, events: Sequence[Event], otherwise: str) -> End:
    """Return the end of a committed response that has stopped.

    ``otherwise`` is the outcome if nothing in the response shows that it is whole: `CLEAN_END` if
    the upstream ended it cleanly.
    """
    clean = otherwise == CLEAN_END
    if clean and reply.status >= 400:
        return End("relayed_error", True)
    if guard == "off" or not reply.streams:
        if clean and 200 <= reply.status < 300 and not reply.streams:
            if not body:
                return End("upstream_empty", True)
            if reply.fails:
                return End("upstream_error", True)
        return End(otherwise, clean)
    if _failed(events):
        return End("upstream_error", False)
    if all_finished(events, len(body)):
        return End("completed", True)
    if not clean:
        return End(otherwise, False)
    return End("upstream_broken" if _said(events) else "upstream_empty", False)


CLEAN_END = "completed"
_TERMINATORS = (Means.DONE, Means.OWN_ERROR)


def _ending(guard: str, body: bytes, events: Sequence[Event]) -> tuple[Event, End] | None:
    """Return the first event at or after which nothing may pass, and the end of the response."""
    seen: list[Event] = []
    generation = ""
    for event in [*events, *_early(body)]:
        piece = event.piece
        if guard == "strict":
            generation = generation or piece.generation
            again = piece.role and any(each.piece.means is Means.CONTENT for each in seen)
            if piece.generation not in ("", generation) or again:
                failed = _failed(seen)
                return event, End("upstream_error" if failed else "upstream_spliced", False)
        match piece.means:
            case Means.BARE_ERROR:
                whole = all_finished(seen, event.start) and not _failed(seen)
                return event, End("completed" if whole else "upstream_error", whole)
            case Means.GAVE_UP:
                return event, End("upstream_error", False)
            case Means.OWN_ERROR:
                return event, End("upstream_error" if _failed(seen) else "relayed_error", True)
            case Means.DONE if _failed(seen):
                return event, End("upstream_error", True)
            case Means.DONE:
                return event, End("completed" if _said(seen) else "upstream_empty", True)
        seen.append(event)
    return None


def _early(body: bytes) -> list[Event]:
    """Return an event by which the engine gave up, which is known before its blank line."""
    piece = GAVE_UP
    begun = piece.data[:-1]
    start = len(body) - len(begun)
    return [Event(start, len(body), piece)] if body.endswith(begun) else []


def _failed(events: Sequence[Event]) -> bool:
    """Return whether an error event was relayed."""
    return any(event.piece.means is Means.ERROR for event in events)


def _said(events: Sequence[Event]) -> bool:
    """Return whether a part of an answer was relayed."""
    return any(event.piece.means in (Means.CONTENT, Means.FINISH) for event in events)


def given_up(reason: str) -> tuple[int, str]:
    """Return the status and code if no response can be relayed."""
    if reason.startswith(("dns_", "connect", "tls_")) or reason == "protocol_error":
        return 502, "upstream_connect_error"
    return {
        "header_timeout": (504, "upstream_header_timeout"),
        "first_body_byte_timeout": (504, "upstream_first_body_byte_timeout"),
    }.get(reason, (502, "upstream_stream_interrupted"))
