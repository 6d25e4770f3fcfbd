"""The response head for the client, derived from the upstream's (contract §7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from email.utils import formatdate
from math import inf

from msgspec import structs

from autopilot.http import headers
from autopilot.http.error_bodies import SHOULD_RETRY, TRIED, tried_fields
from autopilot.http.request_id import REQUEST_ID
from autopilot.http.response_parser import ResponseHead
from autopilot.observability.records import Failover
from autopilot.relay.body_kind import EVENT_STREAM
from autopilot.relay.downstream import CommittedHead
from autopilot.routing.retry_policy import Reply, is_edge_limit
from autopilot.routing.usage import dollars
from autopilot.routing.why import Affinity
from autopilot.upstream.backend import NAME as BACKEND

_SELECTED = b"x-chutes-autopilot-selected"
_ATTEMPTS = b"x-chutes-autopilot-attempts"
_AFFINITY = b"x-chutes-autopilot-affinity"
_COST = b"x-chutes-autopilot-cost"
_BUFFERING = b"x-accel-buffering"
PRIVATE = b"x-chutes-autopilot-private"
INSTANCE = b"x-chutes-autopilot-instance"
"""The fields of private answers alone. An upstream's own never pass, so that clients may insist."""

_OWN = frozenset(
    {REQUEST_ID, _SELECTED, _ATTEMPTS, _AFFINITY, _COST, TRIED, PRIVATE, INSTANCE, BACKEND}
)
_OWN_WITH_RETRY = _OWN | {SHOULD_RETRY}

_FIRST_ERROR_STATUS = 400


class DateField:
    """The value of ``Date`` fields (RFC 9110 §5.6.7), made at most once a second.

    ``value`` is current until ``due``, a time of the monotonic clock; then `renew` it. Callers
    compare the times themselves, which spares each response a call.
    """

    __slots__ = ("_wall_clock", "due", "value")

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self.value = b""
        self.due = -inf

    def renew(self, now: float) -> None:
        """Make the value of the current second."""
        wall = self._wall_clock()
        self.value = formatdate(wall, usegmt=True).encode("ascii")
        self.due = now + 1 - wall % 1


def reply(head: ResponseHead, *, reused: bool = False) -> Reply:
    """Return the part of a head that the retry policy reads; ``Retry-After`` only of errors.

    ``reused``: it came on a connection that had carried another request.
    """
    is_error = head.status >= _FIRST_ERROR_STATUS
    retry_after = head.field(b"retry-after") if is_error else None
    return Reply(head.status, head.content_type, retry_after, reused)


def resized(head: ResponseHead, length: int) -> ResponseHead:
    """Return the head of a whole response, with the length of its changed body."""
    if head.length is None:
        return head
    value = b"%d" % length
    fields = [
        (name, value if name.lower() == b"content-length" else old) for name, old in head.fields
    ]
    return structs.replace(head, fields=fields, length=length)


def tried_models(failovers: Sequence[Failover]) -> bytes:
    """Return the failed attempts as a header value, without names that a header cannot hold."""
    names = ((headers.printable(each.model), each.reason) for each in failovers)
    return b",".join(b"%b=%b" % (name, reason.encode()) for name, reason in names if name)


def committed_head(
    head: ResponseHead,
    request_id: str,
    selected: str | None,
    attempts: int,
    rechunk: bool,
    date: bytes,
    tried: bytes | None = None,
    affinity: Affinity | None = None,
    cost: int | None = None,
) -> CommittedHead:
    """Return the upstream's head without hop-by-hop fields, plus the router's own fields.

    ``date`` is added if the upstream sent none (RFC 9110 §6.6.1).
    ``selected`` is the model to report, ``None`` if the client requested exactly one.
    ``tried`` lists the failed attempts if this response is the last of them and no candidate
    remains. ``affinity`` says how the conversation's model was found (contract §5). ``cost`` is
    that of a whole plain answer in picodollars, None if it is not known (contract §7).
    """
    status = head.status
    edge_limit = status == 429 and is_edge_limit(reply(head), b"")
    fields = headers.sent_down(
        head.fields, _OWN_WITH_RETRY if edge_limit or tried is not None else _OWN
    )
    if not head.dated:
        fields.append((b"Date", date))
    fields.append((REQUEST_ID, request_id.encode("ascii")))
    if selected is not None:
        name = headers.printable(selected)
        if name is not None:
            fields.append((_SELECTED, name))
        fields.append((_ATTEMPTS, b"1" if attempts == 1 else b"%d" % attempts))
        if affinity is not None:
            fields.append((_AFFINITY, affinity.encode()))
    if cost is not None:
        fields.append((_COST, dollars(cost).encode("ascii")))
    if tried is not None:
        fields += tried_fields(tried)
    elif edge_limit:
        # SDKs retry a 429 by themselves, and every further call prolongs the ban by the edge.
        fields.append((SHOULD_RETRY, b"false"))
    framed = head.length is not None
    if framed and (rechunk or status in headers.BODILESS):
        fields = [field for field in fields if field[0].lower() != b"content-length"]
        framed = False
    streams = rechunk or head.content_type == EVENT_STREAM
    if streams:
        _forbid_buffering(fields)
    return CommittedHead(status, head.reason, fields, framed, streams, rechunk)


def bridged_head(request_id: str, date: bytes) -> CommittedHead:
    """Return the head of a stream that begins before its answer, of which it says nothing."""
    fields = [
        (b"Date", date),
        (b"Content-Type", EVENT_STREAM.encode("ascii")),
        (b"Cache-Control", b"no-cache"),
        (b"X-Accel-Buffering", b"no"),
        (REQUEST_ID, request_id.encode("ascii")),
    ]
    return CommittedHead(200, b"OK", fields, streams=True, rechunk=True)


def _forbid_buffering(fields: list[headers.Field]) -> None:
    """Keep an nginx in front of the router from collecting events, if the upstream did not."""
    for field in fields:
        if field[0].lower() == _BUFFERING:
            return
    fields.append((b"X-Accel-Buffering", b"no"))
