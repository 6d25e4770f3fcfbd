"""The decision whether an upstream response is the client's answer or a reason to fail over.

The rules are the rows of one table (contract §6); a response that matches no row is the client's
answer. The platform uses one status for several causes, so another model is tried only where the
cause is known to lie with this one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from msgspec import Struct

from autopilot.routing.error_text import (
    TextPredicate,
    at_capacity,
    context_exceeded,
    detail_is_text,
    error_is_the_engines,
    model_not_found,
    no_target_left,
    read_error,
    texts,
)
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.selector import Mode


class Policy(StrEnum):
    """Which responses lead to the next model (``FAILOVER_POLICY``).

    STRICT: connection failures, deadlines, broken answers and 503. STANDARD: also the responses by
    which the platform reports that the model, not the request, is at fault. OPEN: also every other
    429 and 5xx, for backends with other conventions.
    """

    STRICT = "strict"
    STANDARD = "standard"
    OPEN = "open"


class RetryAction(StrEnum):
    """The next step after an upstream response.

    COMMIT: relay the response (a 2xx: up to its commit point). NEXT: turn to the next candidate.
    READ: the body decides. REPEAT: send the request to the same model at once, on a new connection.
    """

    COMMIT = "commit"
    NEXT = "next"
    READ = "read"
    REPEAT = "repeat"


class RetryDecision(Struct, frozen=True, gc=False):
    """A decision; ``reason`` says why if the action is NEXT.

    ``pause`` is how many seconds to wait before the same model is tried once more, before the next
    one. None means that it is not tried again; 0, that it is tried at once. ``again`` is the same
    for a failure that may pass at once: the next try is neither counted nor a failure of its own.
    """

    action: RetryAction
    reason: FailureReason | None = None
    pause: int | None = None
    again: float | None = None


class Reply(Struct, frozen=True, gc=False):
    """The head of an upstream response; ``content_type`` in lower case, without parameters.

    ``reused``: it came on a connection that had carried another request.
    """

    status: int
    content_type: str
    retry_after: str | None = None
    reused: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A kind of response that leads to the next candidate.

    A ``reason`` of None stands for ``status_`` and the status of the response. ``says`` tests the
    strings of the JSON body; None means that the status suffices. ``pauses``: a short
    ``Retry-After`` is honoured first. ``to_larger``: the row applies only while a candidate that
    may have a larger context is left. ``detail``: the row applies if the ``detail`` of the JSON
    body is a text, whatever it says. ``again``: the row applies if the JSON body is the engine's
    own error, and the same model is tried once more after so many seconds, or after a short
    ``Retry-After``.
    """

    reason: FailureReason | None
    statuses: range
    policies: frozenset[Policy]
    modes: frozenset[Mode] = frozenset(Mode)
    says: TextPredicate | None = None
    pauses: bool = False
    to_larger: bool = False
    detail: bool = False
    again: float | None = None

    @property
    def reads_body(self) -> bool:
        """Whether the status does not suffice."""
        return self.says is not None or self.detail or self.again is not None


_ALL_POLICIES = frozenset(Policy)
_STANDARD_AND_OPEN = frozenset({Policy.STANDARD, Policy.OPEN})
_OPEN = frozenset({Policy.OPEN})
_SEVERAL = frozenset(Mode) - {Mode.DIRECT}
# The statuses by which gateways (502, 504), Cloudflare (520 to 524) and other intermediaries (529)
# report that the backend is unreachable, too slow or overloaded.
_GATEWAY_STATUSES = (502, 504, 520, 521, 522, 523, 524, 529)


def _only(status: int) -> range:
    """Return the range that contains one status."""
    return range(status, status + 1)


# The first row that applies decides. Statuses that blame the request (401, 402, 403, 413, 422, and
# 400 except for an exceeded context) have no row: contract §6 never retries them.
_TABLE: tuple[Row, ...] = (
    Row(None, _only(503), _ALL_POLICIES),
    *(Row(None, _only(status), _STANDARD_AND_OPEN) for status in _GATEWAY_STATUSES),
    Row(FailureReason.CAPACITY, _only(429), _STANDARD_AND_OPEN, says=at_capacity),
    Row(None, _only(500), _STANDARD_AND_OPEN, says=no_target_left),
    Row(None, _only(500), _STANDARD_AND_OPEN, detail=True),
    Row(None, _only(429), _STANDARD_AND_OPEN, again=1.0),
    Row(None, _only(500), _STANDARD_AND_OPEN, again=0.25),
    Row(
        FailureReason.NOT_FOUND,
        _only(404),
        _STANDARD_AND_OPEN,
        modes=_SEVERAL,
        says=model_not_found,
    ),
    Row(
        FailureReason.CONTEXT,
        _only(400),
        _STANDARD_AND_OPEN,
        says=context_exceeded,
        to_larger=True,
    ),
    Row(None, _only(429), _OPEN, pauses=True),
    Row(None, range(500, 600), _OPEN, pauses=True),
)

_COMMIT = RetryDecision(RetryAction.COMMIT)
_READ = RetryDecision(RetryAction.READ)
_REPEAT = RetryDecision(RetryAction.REPEAT)
_FIRST_ERROR_STATUS = 400
_MAX_PAUSE = 5
_SECONDS = re.compile(r"[0-9]{1,9}")
_JSON_TYPES = ("application/json", "text/json")
_HTML_TYPES = ("text/html", "application/xhtml+xml")
_HTML_OPENINGS = (b"<html", b"<!doctype html")


def at_head(reply: Reply, policy: Policy, mode: Mode) -> RetryDecision:
    """Decide on a final response (not 1xx) by status and headers; READ if those do not suffice.

    Only JSON bodies are read: any other body is an intermediary's, and its text has no meaning
    here.
    """
    if reply.status < _FIRST_ERROR_STATUS:
        return _COMMIT
    # The 408 by which a server closes an idle connection may cross a request that it never read
    # (RFC 9110 §15.5.9), as in a connection that closes without a response.
    if reply.status == 408 and reply.reused and policy is not Policy.STRICT:
        return _REPEAT
    for row in _TABLE:
        if not _fits(row, reply.status, policy, mode):
            continue
        if not row.reads_body:
            return _next(row, reply)
        if is_json(reply.content_type):
            return _READ
    return _COMMIT


def on_body(
    reply: Reply, body: bytes, policy: Policy, mode: Mode, larger_context: bool
) -> RetryDecision:
    """Decide on a response by its ``body``, whole or truncated. Never returns READ.

    ``larger_context``: a candidate with a known larger context is left, and no attempt has yet been
    made for that reason. A body that is truncated or not a JSON object has no strings.
    """
    error = read_error(body) if is_json(reply.content_type) else {}
    error_texts = texts(error)
    for row in _TABLE:
        if not _fits(row, reply.status, policy, mode) or (row.to_larger and not larger_context):
            continue
        if row.detail and not detail_is_text(error):
            continue
        if row.again is not None and not error_is_the_engines(error):
            continue
        if row.says is None or row.says(error_texts):
            return _next(row, reply)
    return _COMMIT


def is_edge_limit(reply: Reply, body: bytes) -> bool:
    """Return whether a response is the edge's own rate limit: a 429 that is an HTML page, not JSON.

    The edge extends its ban with every call, so such a response tells SDKs not to retry (contract
    §6). ``body``, as far as it has arrived, counts only if the response has no content type.
    """
    if reply.status != 429:
        return False
    # The edge responds in HTML, the platform in JSON, which tells their 429s apart (contract §6).
    if reply.content_type:
        return reply.content_type in _HTML_TYPES
    return body.lstrip().lower().startswith(_HTML_OPENINGS)


def is_json(content_type: str) -> bool:
    """Return whether a media type is JSON or has the ``+json`` suffix (RFC 6839 §3.1)."""
    return content_type in _JSON_TYPES or content_type.endswith("+json")


def _fits(row: Row, status: int, policy: Policy, mode: Mode) -> bool:
    """Return whether a row applies to this status under this policy and mode."""
    return status in row.statuses and policy in row.policies and mode in row.modes


def _next(row: Row, reply: Reply) -> RetryDecision:
    """Return the decision to turn to the next candidate for this row's reason."""
    again = row.again
    if again is not None and reply.status == 429 and reply.retry_after is not None:
        again = _pause(reply.retry_after)
    reason = row.reason or FailureReason(f"status_{reply.status}")
    pause = _pause(reply.retry_after) if row.pauses else None
    return RetryDecision(RetryAction.NEXT, reason, pause, again)


def _pause(retry_after: str | None) -> int | None:
    """Return a short ``Retry-After`` in seconds; None for a longer one and for a date."""
    text = (retry_after or "").strip(" \t")
    seconds = int(text) if _SECONDS.fullmatch(text) else None
    return seconds if seconds is not None and seconds <= _MAX_PAUSE else None
