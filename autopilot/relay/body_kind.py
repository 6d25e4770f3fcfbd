"""The kind of a 2xx's body: how much of it the router understands (contract §6)."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from autopilot.routing.retry_policy import is_json

if TYPE_CHECKING:
    from autopilot.http.response_parser import ResponseHead

EVENT_STREAM = "text/event-stream"
# The first bytes of gzip and zstd (RFC 1952 §2.3.1, RFC 8878 §3.1.1); neither JSON nor a line of an
# event stream begins with one of them.
CODED_OPENINGS = frozenset(b"\x1f\x28")


class BodyKind(Enum):
    """How much the router understands of a 2xx's body."""

    STREAM = "server-sent events"
    JSON = "a JSON document, or nothing at all"
    OPAQUE = "bytes that are passed on unread: another type, or coded"


def body_kind(head: ResponseHead) -> BodyKind:
    """Return the kind of a body by its response's head."""
    if head.coded:
        return BodyKind.OPAQUE
    if head.content_type == EVENT_STREAM:
        return BodyKind.STREAM
    kind = head.content_type
    plain = kind == "application/json" or head.length == 0 or is_json(kind)
    return BodyKind.JSON if plain else BodyKind.OPAQUE
