"""Bodies and header fields of the router's own errors, in the shape that the client's SDK expects.

The shape is OpenAI's, or Anthropic's on the messages endpoints, in responses and stream events
alike (contract §8). This module has no access to secrets, addresses or bodies, so it cannot leak
any.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus

import msgspec

from autopilot.http.dialect import Dialect
from autopilot.http.headers import Field, field_lines
from autopilot.routing.router_error import RouterError

# The OpenAI and Anthropic SDKs read this field in preference to the status.
SHOULD_RETRY = b"x-should-retry"
TRIED = b"x-chutes-autopilot-tried"

_OPENAI_TYPES = {401: "authentication_error", 429: "rate_limit_error"}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}

# The dialects with an event that ends a stream as failed, behind which a clean end is no lie.
CLEAN_AFTER_ERROR = frozenset({Dialect.RESPONSES})

SUPPORTED_METHODS = b"GET, HEAD, OPTIONS, POST"
"""The methods that any resource of the router supports, for ``Allow``."""

# An SDK waits for the whole time.
_LONGEST_RETRY = 60

# In text within a string the inner quotation marks are escaped, so that these do not match.
_RESPONSE_ID = re.compile(rb'"response"\s*:\s*\{[^{}]{0,200}?"id"\s*:\s*"([!#-\[\]-~]{1,200})"')
_SEQUENCE_NUMBER = re.compile(rb'"sequence_number"\s*:\s*([0-9]{1,15})')

NOT_FOUND = RouterError(404, "not_found", "No resource exists at this path.")
INTERNAL = RouterError(
    500,
    "internal_error",
    "Internal router error; quote this response's x-request-id to the operator.",
)


def too_large(limit: int) -> RouterError:
    """Return the error for a body over ``limit`` bytes, sent also while it is still arriving."""
    return RouterError(
        413, "request_too_large", f"The request body is larger than the {limit} bytes allowed."
    )


def error_type(error: RouterError) -> str:
    """Return OpenAI's error type for an error."""
    return "not_ready" if error.code == "not_ready" else status_type(error.status)


def status_type(status: int, dialect: Dialect | None = None) -> str:
    """Return the error type by which the dialect's SDKs know a status (contract §8)."""
    if dialect is Dialect.MESSAGES:
        fallback = "invalid_request_error" if status < 500 else "api_error"
        return _ANTHROPIC_TYPES.get(status, fallback)
    return "server_error" if status >= 500 else _OPENAI_TYPES.get(status, "invalid_request_error")


def error_facts(error: RouterError, dialect: Dialect | None = None) -> Mapping[str, object]:
    """Return the members of the object ``error``."""
    is_messages = dialect is Dialect.MESSAGES
    kind = status_type(error.status, dialect) if is_messages else error_type(error)
    return {"type": kind, "message": error.message, "param": error.param, "code": error.code}


def error_object(error: RouterError, dialect: Dialect | None = None) -> Mapping[str, object]:
    """Return the error as an object for JSON."""
    facts = error_facts(error, dialect)
    if dialect is Dialect.MESSAGES:
        return {"type": "error", "error": facts}
    return {"error": facts}


def error_body(error: RouterError, dialect: Dialect | None = None) -> bytes:
    """Return the error as a response body."""
    return msgspec.json.encode(error_object(error, dialect))


def reason_phrase(status: int) -> bytes:
    """Return the standard phrase of a status; Twisted's table lacks 426, 429 and others."""
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b"Unknown"


def error_event(
    error: RouterError, dialect: Dialect, opening: bytes = b"", latest: bytes = b""
) -> bytes:
    """Return the error as the last event of a stream.

    ``opening`` are the first bytes of the stream, and ``latest`` its last ones before the event.
    """
    return failure_event(error_facts(error, dialect), dialect, opening, latest)


def failure_event(
    facts: Mapping[str, object], dialect: Dialect, opening: bytes = b"", latest: bytes = b""
) -> bytes:
    """Return the last event of a stream, with these members of ``error``; see `error_event`."""
    if dialect is Dialect.RESPONSES:
        event = msgspec.json.encode(_failed_response(facts, opening, latest))
        return b"event: response.failed\ndata: %b\n\n" % event
    if dialect is Dialect.MESSAGES:
        event = msgspec.json.encode({"type": "error", "error": facts})
        return b"event: error\ndata: %b\n\n" % event
    return b"data: %b\n\n" % msgspec.json.encode({"error": facts})


def _failed_response(
    facts: Mapping[str, object], opening: bytes, latest: bytes
) -> Mapping[str, object]:
    """Return the event ``response.failed``.

    Codex shows the words of a response that failed, and of nothing else (contract §7). Typed SDKs
    read its id and its number in the stream, which continue those of the upstream's own events.
    """
    identity = _RESPONSE_ID.search(opening)
    numbers = _SEQUENCE_NUMBER.findall(latest)
    response: Mapping[str, object] = {
        "id": identity[1].decode("ascii") if identity else "",
        "object": "response",
        "status": "failed",
        "error": facts,
        "output": [],
    }
    number = int(numbers[-1]) + 1 if numbers else 0
    return {"type": "response.failed", "sequence_number": number, "response": response}


def error_fields(error: RouterError) -> list[Field]:
    """Return the header fields of an error, except its Content-Length.

    SDKs retry by themselves; the fields of a 503 tell them that a retry may succeed, and when
    (contract §6). A 401 names the scheme, as it must (RFC 9110 §15.5.2), and a 415 the coding that
    is accepted (§15.5.16).
    """
    fields = [(b"Content-Type", b"application/json")]
    if error.allow is not None:
        fields.append((b"Allow", error.allow))
    if error.status == 401:
        fields.append((b"WWW-Authenticate", b"Bearer"))
    if error.status in (429, 503):
        seconds = error.retry_after or 1
        # The end of a ban is known; a router that is not ready may be so much sooner.
        if error.status == 503:
            seconds = min(seconds, _LONGEST_RETRY)
        fields.append((b"Retry-After", b"%d" % seconds))
    if error.status == 415:
        fields.append((b"Accept-Encoding", b"identity"))
    if error.status == 503:
        fields.append((SHOULD_RETRY, b"true"))
    if error.tried is not None:
        fields += tried_fields(error.tried)
    if error.fields:
        fields += error.fields
    return fields


def tried_fields(tried: bytes) -> list[Field]:
    """Return the fields of a response after which no candidate is left (contract §6).

    An SDK's own retries would multiply the router's.
    """
    fields = [(SHOULD_RETRY, b"false")]
    if tried:
        fields.append((TRIED, tried))
    return fields


def raw_response(
    error: RouterError, reason: bytes, extra_fields: Iterable[Field], dialect: Dialect | None = None
) -> bytes:
    """Return a complete response as bytes, for code without a Twisted request."""
    body = error_body(error, dialect)
    fields = [*error_fields(error), (b"Content-Length", b"%d" % len(body)), *extra_fields]
    return b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (error.status, reason, field_lines(fields), body)
