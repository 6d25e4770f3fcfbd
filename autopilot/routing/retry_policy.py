"""Whether an upstream response is the client's answer or a reason to turn to the next candidate.

The rules are rows of one table. What is in no row is the client's answer: a status means different
things here, so a second model is tried only where the cause is known to lie with the first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from msgspec import Struct

from autopilot.routing.error_text import (
    Says,
    at_capacity,
    context_exceeded,
    model_not_found,
    no_target_left,
    texts,
)
from autopilot.routing.selector import Mode


class Policy(StrEnum):
    """How much counts as a reason to turn to another model.

    STRICT: failures of the connection, deadlines, breaks and 503. STANDARD: also the responses by
    which the platform says that this model, not this request, is at fault. OPEN: also every other
    429 and 5xx, for backends that say it differently.
    """

    STRICT = "strict"
    STANDARD = "standard"
    OPEN = "open"


class RetryAction(StrEnum):
    """COMMIT: it is the answer (a 2xx: go on to its commit point). READ: its body decides."""

    COMMIT = "commit"
    NEXT = "next"
    READ = "read"


class RetryDecision(Struct, frozen=True, gc=False):
    """A verdict; ``reason`` is a word of ``REASONS`` when it is NEXT.

    ``pause``: seconds to wait, once, for the same model before turning to the next (0 is a wait of
    no length, None is no wait).
    """

    verdict: RetryAction
    reason: str | None = None
    pause: int | None = None


class Reply(Struct, frozen=True, gc=False):
    """The head of an upstream response; ``content_type`` in lower case, without parameters."""

    status: int
    content_type: str
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A response that is a reason to turn to the next candidate.

    ``says`` asks its JSON body; None: the status is enough. ``pauses``: a short ``Retry-After`` is
    waited for first. ``to_larger``: only with a candidate left that is known to read more.
    """

    reason: str
    statuses: range
    policies: frozenset[Policy]
    modes: frozenset[Mode] = frozenset(Mode)
    says: Says | None = None
    pauses: bool = False
    to_larger: bool = False


CONNECT_ERROR = "connect_error"
CONNECT_TIMEOUT = "connect_timeout"
CONNECTION_LOST = "connection_lost"
HEADER_TIMEOUT = "header_timeout"
FIRST_BODY_BYTE_TIMEOUT = "first_body_byte_timeout"
FAILOVER_AFTER = "failover_after"
BROKEN_STREAM = "broken_before_commit"
ERROR_EVENT = "error_event"
EMPTY_STREAM = "empty_stream"
IDLE_TIMEOUT = "idle_timeout"
MALFORMED = "malformed_response"
CONTEXT_EXCEEDED = "context_exceeded"

_NETWORK_REASONS = frozenset(
    {
        *(CONNECT_ERROR, CONNECT_TIMEOUT, CONNECTION_LOST, HEADER_TIMEOUT),
        *(FIRST_BODY_BYTE_TIMEOUT, FAILOVER_AFTER, IDLE_TIMEOUT),
        *(BROKEN_STREAM, ERROR_EVENT, EMPTY_STREAM, MALFORMED),
    }
)

_EVERY = frozenset(Policy)
_USUAL = frozenset({Policy.STANDARD, Policy.OPEN})
_OPEN = frozenset({Policy.OPEN})
_ALIAS = frozenset({Mode.ALIAS})


def _only(status: int) -> range:
    """The range of one status."""
    return range(status, status + 1)


# The first row that fits decides.
_TABLE: tuple[Row, ...] = (
    Row("status_503", _only(503), _EVERY),
    Row("status_502", _only(502), _USUAL),
    Row("status_504", _only(504), _USUAL),
    Row("capacity_429", _only(429), _USUAL, says=at_capacity),
    Row("exhausted_500", _only(500), _USUAL, says=no_target_left),
    Row("model_not_found", _only(404), _USUAL, modes=_ALIAS, says=model_not_found),
    Row(CONTEXT_EXCEEDED, _only(400), _USUAL, says=context_exceeded, to_larger=True),
    Row("status_429", _only(429), _OPEN, pauses=True),
    Row("status_5xx", range(500, 600), _OPEN, pauses=True),
)

REASONS = _NETWORK_REASONS | {row.reason for row in _TABLE}
"""Every reason there is: a fixed vocabulary, fit for a metric's label."""

_COMMIT = RetryDecision(RetryAction.COMMIT)
_READ = RetryDecision(RetryAction.READ)
_FIRST_ERROR_STATUS = 400
_LONGEST_PAUSE = 5
_SECONDS = re.compile(r"[0-9]{1,9}")
_JSON_TYPES = ("application/json", "text/json")
_HTML_TYPES = ("text/html", "application/xhtml+xml")
_HTML_OPENINGS = (b"<html", b"<!doctype html")


def at_head(reply: Reply, policy: Policy, mode: Mode) -> RetryDecision:
    """Judge a final response (not 1xx) by its status and headers alone; READ if that is too little.

    READ is said only of JSON: other bodies are an intermediary's, and their texts mean nothing.
    """
    if reply.status < _FIRST_ERROR_STATUS:
        return _COMMIT
    for row in _TABLE:
        if not _fits(row, reply.status, policy, mode):
            continue
        if row.says is None:
            return _next(row, reply)
        if _is_json(reply.content_type):
            return _READ
    return _COMMIT


def on_body(
    reply: Reply, body: bytes, policy: Policy, mode: Mode, larger_context: bool
) -> RetryDecision:
    """Judge a response of which ``body``, whole or its start, was read. Never READ.

    ``larger_context``: a candidate with a known larger context is left and none was tried for that
    cause yet. A body that is no JSON object, or is cut short, says nothing.
    """
    said = texts(body) if _is_json(reply.content_type) else ()
    for row in _TABLE:
        if not _fits(row, reply.status, policy, mode) or (row.to_larger and not larger_context):
            continue
        if row.says is None or row.says(said):
            return _next(row, reply)
    return _COMMIT


def is_edge_limit(reply: Reply, body: bytes) -> bool:
    """Whether a response is the edge's own rate limit: a 429 that is a page, not JSON.

    Its ban grows with every further call, so clients are told not to retry. ``body``, as far as it
    is known (empty is fine), is asked only when the response names no content type.
    """
    if reply.status != 429:
        return False
    if reply.content_type:
        return reply.content_type in _HTML_TYPES
    return body.lstrip().lower().startswith(_HTML_OPENINGS)


def _fits(row: Row, status: int, policy: Policy, mode: Mode) -> bool:
    """Whether a row is about this status under this policy in this mode."""
    return status in row.statuses and policy in row.policies and mode in row.modes


def _next(row: Row, reply: Reply) -> RetryDecision:
    """Turn to the next candidate for this row's reason."""
    return RetryDecision(
        RetryAction.NEXT, row.reason, _pause(reply.retry_after) if row.pauses else None
    )


def _pause(retry_after: str | None) -> int | None:
    """A ``Retry-After`` that is a short number of seconds; None for longer ones and for dates."""
    text = (retry_after or "").strip(" \t")
    seconds = int(text) if _SECONDS.fullmatch(text) else None
    return seconds if seconds is not None and seconds <= _LONGEST_PAUSE else None


def _is_json(content_type: str) -> bool:
    """Whether a media type is JSON or built on it."""
    return content_type in _JSON_TYPES or content_type.endswith("+json")
