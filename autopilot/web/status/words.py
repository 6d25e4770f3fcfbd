"""The page's words for outcomes, for what ended an attempt, and for why a model was tried.

Records have the codes.
"""

from __future__ import annotations

from typing import Final

from autopilot.observability.records import Outcome, RequestRecord
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.why import HIT, MISS, MOVED, NEW, AffinityWhy, Why
from autopilot.web.status.formatting import Formatted, escaped

_OUTCOMES: Final = {
    Outcome.COMPLETED: Formatted("completed"),
    Outcome.RELAYED_ERROR: Formatted("upstream error passed on"),
    Outcome.REFUSED: Formatted("refused by the router"),
    Outcome.FAILED: Formatted("no model answered"),
    Outcome.CLIENT_GONE: Formatted("client left"),
    Outcome.CLIENT_STALLED: Formatted("client stopped reading"),
    Outcome.UPSTREAM_BROKEN: Formatted("answer cut off"),
    Outcome.UPSTREAM_IDLE: Formatted("answer stalled"),
    Outcome.UPSTREAM_ERROR: Formatted("error within the answer"),
    Outcome.UPSTREAM_EMPTY: Formatted("answer without content"),
    Outcome.UPSTREAM_SPLICED: Formatted("two answers in one stream"),
    Outcome.SHUT_DOWN: Formatted("cut by the shutdown"),
}

_REASONS: Final = {
    FailureReason.DNS_ERROR: Formatted("name not resolved"),
    FailureReason.CONNECT_REFUSED: Formatted("connection refused"),
    FailureReason.CONNECT_ERROR: Formatted("could not connect"),
    FailureReason.CONNECT_TIMEOUT: Formatted("no connection in time"),
    FailureReason.PROXY_ERROR: Formatted("proxy failed"),
    FailureReason.TLS_ERROR: Formatted("TLS failed"),
    FailureReason.CONNECTION_LOST: Formatted("connection lost"),
    FailureReason.PROTOCOL_ERROR: Formatted("no HTTP response"),
    FailureReason.HEADER_TIMEOUT: Formatted("no response head in time"),
    FailureReason.FIRST_BODY_BYTE_TIMEOUT: Formatted("no content in time"),
    FailureReason.PLAIN_TIMEOUT: Formatted("not complete in time"),
    FailureReason.STALLED: Formatted("stalled"),
    FailureReason.ERROR_EVENT: Formatted("error within the answer"),
    FailureReason.GAVE_UP: Formatted("engine gave up"),
    FailureReason.NO_TERMINATOR: Formatted("ended without its terminator"),
    FailureReason.CUT: Formatted("cut off"),
    FailureReason.INVALID_EVENT: Formatted("event that is not JSON"),
    FailureReason.EMPTY: Formatted("answer without content"),
    FailureReason.CODED: Formatted("compressed unasked"),
    FailureReason.TOTAL_DEADLINE: Formatted("total deadline reached"),
    FailureReason.CAPACITY: Formatted("at capacity"),
    FailureReason.CONTEXT: Formatted("context too long"),
    FailureReason.NOT_FOUND: Formatted("model not found"),
    FailureReason.NOT_ATTESTED: Formatted("no attested instance"),
    FailureReason.DISCOVERY: Formatted("instances not discovered"),
    FailureReason.NONCE_REFUSED: Formatted("nonce refused"),
    FailureReason.INSTANCE_GONE: Formatted("instance gone"),
    FailureReason.NOT_SERVED: Formatted("not served by the instance"),
    FailureReason.REPLY_INVALID: Formatted("answer wrongly sealed"),
}
_WHY: Final = {
    Why.BEST: Formatted("best ranked"),
    Why.STICKY: Formatted("same conversation"),
    Why.LISTED: Formatted("next in the list"),
    Why.DIRECT: Formatted("the only one named"),
    Why.ROUTE: Formatted("by its route"),
    Why.LAST_RESORT: Formatted("last resort"),
    Why.PROBE: Formatted("probe after its cooldown"),
}
_AFFINITY_WHY: Final = {
    AffinityWhy.NEW: Formatted("new conversation"),
    AffinityWhy.EXPIRED: Formatted("its model was remembered too long ago"),
    AffinityWhy.FAILED: Formatted("its model failed"),
    AffinityWhy.GONE: Formatted("its model is gone"),
    AffinityWhy.COOLING: Formatted("its model cools down"),
    AffinityWhy.LISTED: Formatted("its list or route names another first"),
    AffinityWhy.OFF: Formatted("not to stick"),
}
_STATUS: Final = "status_"


def outcome_words(outcome: Outcome) -> Formatted:
    """Return the words for how a request ended."""
    return _OUTCOMES.get(outcome) or escaped(outcome)


def reason_words(reason: FailureReason) -> Formatted:
    """Return the words for what ended an attempt; a status is ``HTTP 503``."""
    known = _REASONS.get(reason)
    if known is not None:
        return known
    if reason.startswith(_STATUS):
        return escaped(f"HTTP {reason.removeprefix(_STATUS)}")
    return escaped(reason)


def why_words(why: Why) -> Formatted:
    """Return the words for why a model was tried."""
    return _WHY.get(why) or escaped(why)


def affinity_why_words(why: AffinityWhy) -> Formatted:
    """Return the words for why a conversation does not have the model that it had."""
    return _AFFINITY_WHY.get(why) or escaped(why)


def choice_words(record: RequestRecord) -> Formatted:
    """Return the words for why a model was tried, and why its conversation had another."""
    if record.why is None:
        return Formatted("")
    words, affinity, cause = why_words(record.why), record.affinity, record.affinity_why
    if cause is not None:
        because = affinity_why_words(cause)
        if affinity is MOVED:
            because = Formatted(f"conversation moved: {because}")
        elif affinity is MISS and cause is not NEW:
            because = Formatted(f"conversation began anew: {because}")
    elif affinity is HIT and record.why is not Why.STICKY:
        because = Formatted("same model as before")
    else:
        return words
    return Formatted(f"{words}, {because}")
