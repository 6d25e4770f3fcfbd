"""The response head a client gets, made from the upstream's."""

from __future__ import annotations

from autopilot.relay import headers
from autopilot.relay.call import ResponseHead
from autopilot.relay.downstream import CommittedHead
from autopilot.routing.verdict import Reply, is_edge_limit

EVENT_STREAM = "text/event-stream"

_REQUEST_ID = b"x-request-id"
_SELECTED = b"x-chutes-autopilot-selected"
_ATTEMPTS = b"x-chutes-autopilot-attempts"
_SHOULD_RETRY = b"x-should-retry"
_OWN = frozenset({_REQUEST_ID, _SELECTED, _ATTEMPTS})


def reply(head: ResponseHead) -> Reply:
    """What the verdict looks at in a head."""
    return Reply(head.status, head.content_type, head.field(b"retry-after"))


def committed_head(
    head: ResponseHead, *, request_id: str, selected: str | None, attempts: int, rechunk: bool
) -> CommittedHead:
    """The upstream's head less what is the connection's own, plus what the router adds.

    ``selected`` is the model to name, ``None`` where the client itself named exactly one.
    """
    edge_limit = is_edge_limit(reply(head), b"")
    fields = headers.sent_down(head.fields, own=_OWN | {_SHOULD_RETRY} if edge_limit else _OWN)
    fields.append((_REQUEST_ID, request_id.encode("ascii")))
    if selected is not None:
        name = headers.printable(selected)
        if name is not None:
            fields.append((_SELECTED, name))
        fields.append((_ATTEMPTS, b"%d" % attempts))
    if edge_limit:
        # Its ban grows with every further call, and SDKs retry a 429 by themselves.
        fields.append((_SHOULD_RETRY, b"false"))
    return CommittedHead(head.status, head.reason, fields, rechunk)
