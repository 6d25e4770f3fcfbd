"""The 404 of a path that nothing serves, with the path that a client probably meant.

Most such requests come from a wrong base URL: SDKs append their paths to it.
"""

from __future__ import annotations

from autopilot.http.dialect import COUNT_TOKENS, MESSAGES_PATH
from autopilot.http.error_bodies import NOT_FOUND
from autopilot.routing.router_error import RouterError

ON_ADMIN_PORT = RouterError(
    404,
    "not_found",
    "No resource exists at this path on this port; ADMIN_LISTEN_ADDR decides where /metrics and"
    " /status are.",
)
ON_API_PORT = RouterError(
    404,
    "not_found",
    "No resource exists at this path on this port; the API is at LISTEN_ADDR.",
)

# What a base URL may end in by mistake, or what another router has in front of the path.
_PREFIXES = frozenset({b"v1", b"api", b"openai", b"anthropic"})
_OPENAI = frozenset({b"/v1/chat/completions", b"/v1/completions", b"/v1/responses", b"/v1/models"})
_ANTHROPIC = frozenset({MESSAGES_PATH, COUNT_TOKENS})
_PAGES = frozenset({b"/healthz", b"/readyz", b"/metrics", b"/status", b"/status.json"})
_LONGEST = 256
"""Bytes of a path that is compared; no path that is meant is nearly as long."""


def not_found(path: bytes, *, clients: bool = True) -> RouterError:
    """Return the error for a path; ``clients``: the API is on the port that was asked.

    The path itself is not repeated: it is the client's own text.
    """
    meant = _meant(path)
    if meant is None:
        return NOT_FOUND
    if meant in _PAGES:
        base = ""
    elif not clients:
        return ON_API_PORT
    elif meant in _ANTHROPIC:
        base = " The base URL of Anthropic's SDKs ends before /v1."
    else:
        base = " The base URL of OpenAI's SDKs ends in /v1."
    name = meant.decode("ascii")
    return RouterError(
        404, "not_found", f"No resource exists at this path; {name} may be meant.{base}"
    )


def _meant(path: bytes) -> bytes | None:
    """Return the path of the router that a similar one stands for, if it is one of them."""
    if len(path) > _LONGEST:
        return None
    segments = [segment for segment in path.lower().split(b"/") if segment]
    start = 0
    while start < len(segments) and segments[start] in _PREFIXES:
        start += 1
    rest = segments[start:]
    if rest[:1] == [b"deployments"]:  # of Azure, with a name behind it
        rest = rest[2:]
    tail = b"/" + b"/".join(rest[:1] if rest[:1] == [b"models"] else rest)
    if tail in _PAGES:
        return tail
    path = b"/v1" + tail
    return path if path in _OPENAI or path in _ANTHROPIC else None
