"""Every error the router makes itself, in the shape the client's SDK expects.

OpenAI's shape everywhere, Anthropic's on the messages endpoint; bodies and stream events alike.
Nothing here knows a secret, an address or a body, so nothing here can leak one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from autopilot.http.dialect import Dialect
from autopilot.routing.router_error import RouterError

Field = tuple[bytes, bytes]

_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}

NOT_FOUND = RouterError(404, "not_found", "There is nothing at this path.")
INTERNAL = RouterError(500, "internal_error", "The router made a mistake; it was logged.")


def too_large(limit: int) -> RouterError:
    """Return the error for a body over ``limit`` bytes, sent also while it is still arriving."""
    return RouterError(
        413, "request_too_large", f"The request body is larger than the {limit} bytes allowed."
    )


def error_type(refusal: RouterError) -> str:
    """OpenAI's error type for a refusal."""
    if refusal.code == "not_ready":
        return "not_ready"
    return "invalid_request_error" if refusal.status < 500 else "server_error"


def error_object(refusal: RouterError, dialect: Dialect | None = None) -> Mapping[str, object]:
    """The error as a JSON-able object."""
    facts = {"message": refusal.message, "param": refusal.param, "code": refusal.code}
    if dialect is Dialect.MESSAGES:
        fallback = "invalid_request_error" if refusal.status < 500 else "api_error"
        kind = _ANTHROPIC_TYPES.get(refusal.status, fallback)
        return {"type": "error", "error": {"type": kind, **facts}}
    return {"error": {"type": error_type(refusal), **facts}}


def error_body(refusal: RouterError, dialect: Dialect | None = None) -> bytes:
    """The error as a response body."""
    return msgspec.json.encode(error_object(refusal, dialect))


def error_event(refusal: RouterError, dialect: Dialect) -> bytes:
    """The error as the last event of a stream."""
    name = b"event: error\n" if dialect is Dialect.MESSAGES else b""
    return b"%bdata: %b\n\n" % (name, error_body(refusal, dialect))


def error_fields(refusal: RouterError) -> list[Field]:
    """The header fields of an error, without its length.

    SDKs retry by themselves; the router's own 503s tell them that it is worth it, and when.
    """
    fields = [(b"Content-Type", b"application/json")]
    if refusal.status == 503:
        fields.append((b"Retry-After", b"%d" % (refusal.retry_after or 1)))
        fields.append((b"x-should-retry", b"true"))
    return fields


def raw_response(
    refusal: RouterError, reason: bytes, also: Iterable[Field], dialect: Dialect | None = None
) -> bytes:
    """A complete response, for where no Twisted request writes it; ``also`` are further fields."""
    body = error_body(refusal, dialect)
    fields = [*error_fields(refusal), (b"Content-Length", b"%d" % len(body)), *also]
    head = b"".join(b"%b: %b\r\n" % field for field in fields)
    return b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (refusal.status, reason, head, body)
