"""The contract's tables: what a response means, when it is committed to, what of it may pass.

Each is a pure function of everything that has arrived so far, so that it can be read beside the
contract. They share nothing with the router's own code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tests.properties.exchange_replies import Event, Framing, Means, Reply
from tests.unit.relay.upstreams import JSON

MOST_DECIDING = 65536
MOST_HELD = 262144
MOST_HELD_PLAIN = 1 << 20
MOST_HELD_EVENTS = 64
LONGEST_PAUSE = 5

HOLD = "hold"
COMMIT = "commit"


class Verdict(NamedTuple):
    """What an error response leads to: ``next`` (with its reason), ``answer`` or ``read``."""

    word: str
    reason: str = ""
    pause: int | None = None
    again: float | None = None


ANSWER = Verdict("answer")
READ = Verdict("read")


def at_head(reply: Reply, policy: str, direct: bool) -> Verdict:
    """The verdict on anything but a 2xx by its head; ``READ`` if the body decides."""
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
    """The verdict when the body was read; ``said`` is empty when it could not be understood."""
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
    """Under ``open`` every other 429 and 5xx is a reason too, perhaps after a pause."""
    if policy != "open" or not (reply.status == 429 or reply.status >= 500):
        return ANSWER
    after = reply.retry_after
    pause = after if after is not None and after <= LONGEST_PAUSE else None
    return Verdict("next", f"status_{reply.status}", pause)


def may_be_shaped(reply: Reply, size: int) -> bool:
    """Whether an error of which so much has arrived may lack what SDKs read."""
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
    """What becomes of a 2xx of which so much has arrived: ``HOLD``, ``COMMIT`` or a reason."""
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
    """Whether all choices are complete (the one that was asked for): a break ends them well."""
    return any(event.piece.means is Means.FINISH for event in events if event.end <= most)


def at_boundary(body: bytes) -> bool:
    """Whether no event has begun of which the rest is missing."""
    return not body or body.endswith((b"\n\n", b"\r\n\r\n", b"\r\r"))


def answered(reply: Reply, size: int, events: Sequence[Event], most: int) -> bool:
    """Whether part of the answer has arrived, even if it is still held."""
    if not reply.streams:
        return size > 0
    telling = (Means.CONTENT, Means.FINISH)
    return any(event.piece.means in telling for event in events if event.end <= most)


class Passed(NamedTuple):
    """How many bytes of a committed body have passed: some may wait until they can be judged.

    ``fault`` is the outcome that ends it, if one does.
    """

    least: int
    most: int
    fault: str


def passed(
    guard: str, reply: Reply, body: bytes, events: Sequence[Event], *, ended: bool, before: int
) -> Passed:
    """What of ``body`` the guard lets through, ``before`` bytes of which passed earlier."""
    size = len(body)
    if guard == "off" or not reply.streams:
        return Passed(size, size, "")
    fault = _fault(guard, events)
    if fault is not None:
        # What passed before the fault could be seen stays passed.
        end = max(fault.start, before)
        bare = fault.piece.means is Means.BARE_ERROR
        return Passed(end, end, "upstream_error" if bare else "upstream_spliced")
    line = body.rfind(b"\n") + 1
    waits = body.startswith(b"{", line) and not ended
    return Passed(line if waits else size, size, "")


def said_all(guard: str, reply: Reply, passed: bytes) -> bool:
    """Whether a guarded stream has said its terminator, and nothing after it."""
    return reply.streams and guard != "off" and passed.endswith(b"data: [DONE]\n\n")


def _fault(guard: str, events: Sequence[Event]) -> Event | None:
    """The first event from which on nothing may pass: a bare error, or a second generation."""
    generation, spoken = "", False
    for event in events:
        piece = event.piece
        if piece.means is Means.BARE_ERROR:
            return event
        if guard == "strict":
            generation = generation or piece.generation
            if piece.generation not in ("", generation) or (piece.role and spoken):
                return event
            spoken = spoken or piece.means is Means.CONTENT
    return None


def given_up(reason: str) -> tuple[int, str]:
    """Status and code for a client to whom no response can be relayed."""
    if reason.startswith(("dns_", "connect", "tls_")) or reason == "protocol_error":
        return 502, "upstream_connect_error"
    return {
        "header_timeout": (504, "upstream_header_timeout"),
        "first_body_byte_timeout": (504, "upstream_first_body_byte_timeout"),
    }.get(reason, (502, "upstream_stream_interrupted"))
