"""What the documentation says of request records."""

from __future__ import annotations

import json
from typing import Final

from autopilot.observability.access_log import json_of, text_of
from autopilot.observability.records import RequestRecord, facts
from tools.docs.tables import code, table

_MOMENT: Final = 1_790_000_000.123
_EXAMPLE: Final = RequestRecord(
    request_id="3f0c2f4e-8a53-4b11-9f5e-0d3c5a1b7e42",
    mode="alias",
    candidates=12,
    model="acme/Model-2-TEE",
    attempts=2,
    failovers=("capacity_429",),
    status=200,
    snapshot_age=4.2,
    catalog_age=130.5,
    first_byte=1.25,
    duration=9.5,
    sent=18_432,
    outcome="completed",
)
_MEANINGS: Final = {
    "req_id": "The request's id, as in the response's `x-request-id`.",
    "mode": "How the model was chosen: `alias`, `list` or `direct`; `none` if nothing was chosen.",
    "candidates": "Models that were in question.",
    "model": "The model tried last; the one that answered if any did.",
    "attempts": "Upstream attempts.",
    "failovers": "Why attempts failed, in order, separated by commas.",
    "status": "The status that the client got; null if it left first.",
    "snapshot_age_ms": "Age of the utilization data when the request came.",
    "catalog_age_ms": "Age of the catalog then.",
    "ttfb_ms": "Until the response was committed.",
    "duration_ms": "Until it ended.",
    "bytes": "Body bytes relayed.",
    "outcome": "How it ended.",
    "terminated": "Whether an event stream carried its own terminator.",
}


class UndescribedError(Exception):
    """Fields and descriptions are not the same."""


def record_fields() -> str:
    """Every field of a record."""
    known = facts(_EXAMPLE)
    if known.keys() != _MEANINGS.keys():
        raise UndescribedError(", ".join(sorted(known.keys() ^ _MEANINGS.keys())))
    return table(
        ("field", "meaning", "example"),
        ((code(name), _MEANINGS[name], code(json.dumps(value))) for name, value in known.items()),
    )


def record_lines() -> str:
    """One record in both formats."""
    return f"```text\n{text_of(_EXAMPLE, _MOMENT)}```\n\n```json\n{json_of(_EXAMPLE, _MOMENT)}```"
