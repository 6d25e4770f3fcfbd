"""The kind of a 2xx's body: how much of it the router understands (contract §6)."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from autopilot.routing.retry_policy import is_json

if TYPE_CHECKING:
    from autopilot.http.response_parser import ResponseHead

EVENT_STREAM = "text/event-stream"
# Types that servers give to streams as well, or by default.
_UNLABELLED = frozenset({"", "text/plain", "application/octet-stream"})
_FIELDS = (b"data", b"event", b"id", b"retry", b":")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MAX_BLANKS = 4096
# The first bytes of gzip and zstd (RFC 1952 §2.3.1, RFC 8878 §3.1.1); neither JSON nor a line of an
# event stream begins with one of them.
CODED_OPENINGS = (b"\x1f", b"\x28\xb5")


class BodyKind(Enum):
    """How much the router understands of a 2xx's body."""

    STREAM = "server-sent events"
    JSON = "a JSON document, or nothing at all"
    OPAQUE = "bytes that are passed on unread: another type, or coded"
    UNLABELLED = "one of these; the first bytes tell which"


# Looked up through the enum, these would cost as much as a call.
_JSON, _STREAM = BodyKind.JSON, BodyKind.STREAM


def body_kind(head: ResponseHead, stream: bool = False) -> BodyKind:
    """Return the kind of a body by its response's head; ``stream``: a stream was asked for."""
    if head.coded:
        return BodyKind.OPAQUE
    if head.content_type == EVENT_STREAM:
        return _STREAM
    kind = head.content_type
    if kind == "application/json" or head.length == 0 or is_json(kind):
        return _JSON
    return BodyKind.UNLABELLED if stream and kind in _UNLABELLED else BodyKind.OPAQUE


def is_coded(head: ResponseHead, opening: bytes) -> bool:
    """Return whether a body is compressed, as its head says or its first bytes show."""
    return (head.coded and head.length != 0) or opening.startswith(CODED_OPENINGS)


def opening_kind(opening: bytes) -> BodyKind | None:
    """Return the kind of an unlabelled body by its first bytes; None if they are too few.

    What begins with a field or a comment is an event stream; a blank line may stand before it.
    """
    if opening.startswith(CODED_OPENINGS):
        return BodyKind.OPAQUE
    text = opening.removeprefix(_BYTE_ORDER_MARK).lstrip()
    if not text or _BYTE_ORDER_MARK.startswith(opening):
        return None if len(opening) <= _MAX_BLANKS else BodyKind.OPAQUE
    if text.startswith((b"{", b"[")):
        return BodyKind.JSON
    for field in _FIELDS:
        if text.startswith(field):
            if field == b":" or text[len(field) : len(field) + 1] in (b":", b"\r", b"\n"):
                return BodyKind.STREAM
            return BodyKind.OPAQUE if len(text) > len(field) else None
        if field.startswith(text):
            return None
    return BodyKind.OPAQUE
