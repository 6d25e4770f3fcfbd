"""The documentation of request records."""

from __future__ import annotations

import json
from typing import Final

from autopilot.observability.access_log import json_of, text_of
from autopilot.observability.records import Failover, Outcome, RequestRecord, facts
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.usage import Usage
from autopilot.routing.why import Affinity, AffinityWhy, Why
from tools.docs.tables import code, table

_MOMENT: Final = 1_790_000_000.123
_EXAMPLE: Final = RequestRecord(
    req_id="3f0c2f4e-8a53-4b11-9f5e-0d3c5a1b7e42",
    mode="alias",
    candidates=12,
    model="acme/Model-2-TEE",
    attempts=2,
    failovers=(Failover("acme/Model-1-TEE", FailureReason.CAPACITY, 429, 812.4),),
    status=200,
    snapshot_age_ms=4200.0,
    catalog_age_ms=130_500.0,
    ttfb_ms=1250.0,
    duration_ms=9500.0,
    bytes=18_432,
    outcome=Outcome.COMPLETED,
    endpoint="/v1/chat/completions",
    stream=True,
    why=Why.BEST,
    affinity=Affinity.MISS,
    affinity_why=AffinityWhy.NEW,
    usage=Usage(12_400, 11_264, 860, 212),
    cost_picodollars=1_421_600_000,
)
_MEANINGS: Final = {
    "req_id": "The request's id, as in the response's `x-request-id`.",
    "mode": "What the client chose by: `alias`, `list`, `route` or `direct`; `none` if not read.",
    "candidates": "Models that were in question.",
    "model": "The model tried last; the one that answered if any did.",
    "attempts": "Upstream attempts.",
    "failovers": "Failed attempts in order: model, reason, status (null: no response), duration;"
    " `usage` and `cost_picodollars` too if their answers reported any.",
    "status": "The status that the client got, or the one in the error that ended a stream begun"
    " before its answer; null if the client left first.",
    "snapshot_age_ms": "Age of the utilization data when the request came.",
    "catalog_age_ms": "Age of the catalog then.",
    "ttfb_ms": "Until the response was committed.",
    "duration_ms": "Until it ended.",
    "bytes": "Body bytes relayed.",
    "outcome": "How it ended.",
    "terminated": "Whether an event stream carried its own terminator.",
    "endpoint": "The path of the request.",
    "code": "The `error.code` of the router's own error; null if the client got none.",
    "reason": "Why the upstream's answer broke after its first byte, as in `failovers`.",
    "stream": "Whether the client asked for a stream; null if that was not read.",
    "why": "Why the model was tried, see [below](#why-this-model); null without an attempt.",
    "affinity": "`hit`, if the conversation had this model before; `moved`, if it had another;"
    " `miss`, if it had none. Null under a direct name, and for requests that are not to stick.",
    "affinity_why": "Why the conversation does not have the model that it had, see"
    " [below](#why-another-model); null if it has.",
    "usage": "[Tokens](tokens.md) that the upstream reported: `prompt`, of which `cached`, and"
    " `completion`, of which `reasoning`; each null if it did not. A line of text has `tokens`.",
    "cost_picodollars": "What they cost by the catalog's prices, in millionths of a millionth of a"
    " US dollar; null if a count or a price is not known. A line of text has `cost`, in dollars.",
    "key": "The name of the [key of your own](keys.md) that the client used; null without such"
    " keys.",
    "private": "Whether it was sealed to attested instances only, or sent to none.",
    "instance": "The beginning of the id of the instance that a private request was sent to last;"
    " null if it was sent to none.",
    "waited_ms": "How long it waited for [`EDGE_RATE`](settings.md#edge_rate) before it was sent,"
    " or refused; null if it did not.",
    "backend": "The name of the [other service](fallbacks.md) that has the model; null if it is the"
    " platform's.",
    "hedged": "How a [second attempt](how-it-decides.md#hedging) beside a slow first one ended:"
    " `won`, if it took its place, or `lost`; null without one.",
    "dropped": "The one of the two that was given up for the other, no failed attempt: model,"
    " status (null: no response), duration; `usage` and `cost_picodollars` too if its answer had"
    " reported any. Null if neither was.",
}

_WHYS: Final = {
    "best": "It was the best that the alias could choose, of those not yet tried.",
    "sticky": "It answered this conversation before.",
    "listed": "The client's list had it next.",
    "direct": "The client named it alone.",
    "route": "The route that the client named had it next.",
    "last_resort": "No other candidate was left, or the account could make no call, and it is the"
    " default model of another service.",
    "probe": "Its pause after repeated failures was over: does it work again?",
}

_AFFINITY_WHYS: Final = {
    "new": ("`miss`", "Nothing was remembered of this conversation."),
    "expired": ("`miss`", "The model was remembered, but for longer than `STICKY_TTL_SECS`."),
    "failed": (
        "`miss`, `moved`",
        "The model failed: for an earlier request (`miss`), or for this one (`moved`).",
    ),
    "gone": (
        "`miss`, `moved`",
        "The model is no candidate now (`miss`), or in private mode the instance was not offered.",
    ),
    "cooling": ("`moved`", "The model cools down after repeated failures."),
    "listed": (
        "`moved`",
        "The list or route names another model first, and its order rules.",
    ),
    "off": ("null", "`X-Autopilot-Affinity: off`, or `STICKY_TTL_SECS` is 0."),
}

_OUTCOMES: Final = {
    "completed": "The client has the whole answer.",
    "relayed_error": "The client has the upstream's own 4xx or 5xx, or its error within a stream.",
    "refused": "The client has a 4xx or 503 of the router.",
    "failed": "The client has a 500, 502 or 504 of the router, or a response broken by its fault.",
    "client_gone": "The client left before the end.",
    "client_stalled": "The client read nothing for too long.",
    "upstream_broken": "The upstream broke off its answer.",
    "upstream_idle": "The upstream fell silent within its answer.",
    "upstream_error": "The upstream reported an error, or gave up, within its answer.",
    "upstream_empty": "The upstream's answer said nothing, and no candidate was left.",
    "upstream_spliced": "A second answer began within the first (`SSE_GUARD=strict`).",
    "shut_down": "The router stopped before the end.",
}


class UndescribedError(Exception):
    """Fields and descriptions do not match."""


def record_fields() -> str:
    """Return a table of every field of a record."""
    known = facts(_EXAMPLE)
    if known.keys() != _MEANINGS.keys():
        raise UndescribedError(", ".join(sorted(known.keys() ^ _MEANINGS.keys())))
    return table(
        ("field", "meaning", "example"),
        ((code(name), _MEANINGS[name], code(json.dumps(value))) for name, value in known.items()),
    )


def outcomes() -> str:
    """Return the outcomes of an exchange in records and metrics."""
    if _OUTCOMES.keys() != set(Outcome):
        raise UndescribedError(", ".join(sorted(_OUTCOMES.keys() ^ set(Outcome))))
    return table(("outcome", "meaning"), ((code(each), _OUTCOMES[each]) for each in Outcome))


def record_whys() -> str:
    """Return the reasons for which models are tried."""
    if _WHYS.keys() != set(Why):
        raise UndescribedError(", ".join(sorted(_WHYS.keys() ^ set(Why))))
    return table(("why", "meaning"), ((code(each), _WHYS[each]) for each in Why))


def record_affinity_whys() -> str:
    """Return the reasons for which conversations do not have the models that they had."""
    if _AFFINITY_WHYS.keys() != set(AffinityWhy):
        raise UndescribedError(", ".join(sorted(_AFFINITY_WHYS.keys() ^ set(AffinityWhy))))
    return table(
        ("affinity_why", "affinity", "meaning"),
        ((code(each), *_AFFINITY_WHYS[each]) for each in AffinityWhy),
    )


def record_lines() -> str:
    """Return one record in both formats."""
    return f"```text\n{text_of(_EXAMPLE, _MOMENT)}```\n\n```json\n{json_of(_EXAMPLE, _MOMENT)}```"
