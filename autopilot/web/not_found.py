"""The 404 of a path that nothing serves, with the path that a client probably meant.

Most such requests come from a wrong base URL: SDKs append their paths to it.
"""

from __future__ import annotations

from difflib import get_close_matches

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
BASE_URL = RouterError(
    404,
    "not_found",
    "No resource exists at this path. The base URL of OpenAI's SDKs ends in /v1, and they append"
    " /chat/completions and the like; that of Anthropic's SDKs ends before /v1.",
)
NO_EMBEDDINGS = RouterError(
    404,
    "not_found",
    "This router does not relay embeddings; set the base URL of the client that needs them to a"
    " server that has them.",
)

# What a base URL may end in by mistake, or what another router has in front of the path.
_PREFIXES = frozenset({b"v1", b"api", b"openai", b"anthropic"})
_OPENAI = frozenset({b"/v1/chat/completions", b"/v1/completions", b"/v1/responses", b"/v1/models"})
_ANTHROPIC = frozenset({MESSAGES_PATH, COUNT_TOKENS})
_PAGES = frozenset({b"/healthz", b"/readyz", b"/metrics", b"/status", b"/status.json"})
_LONGEST = 256
"""Bytes of a path that is compared; no path that is meant is nearly as long."""
_LONGEST_SLIP = 32
"""Bytes of a path that is compared letter by letter, which costs more."""
_ALIKE = 0.85
"""How much of two paths has to agree, so that a letter too few or too many is a slip."""


def not_found(path: bytes, *, clients: bool = True) -> RouterError:
    """Return the error for a path; ``clients``: the API is on the port that was asked.

    The path itself is not repeated: it is the client's own text.
    """
    if len(path) > _LONGEST:
        return NOT_FOUND
    prefixes, rest = _split(path)
    if rest == [b"embeddings"]:
        return NO_EMBEDDINGS
    is_base = not rest and b"v1" in prefixes
    meant = _meant(rest)
    if meant is None and not is_base:
        return NOT_FOUND
    if meant in _PAGES:
        base = ""
    elif not clients:
        return ON_API_PORT
    elif meant is None:
        return BASE_URL
    elif meant in _ANTHROPIC:
        base = " The base URL of Anthropic's SDKs ends before /v1."
    else:
        base = " The base URL of OpenAI's SDKs ends in /v1."
    name = meant.decode("ascii")
    return RouterError(
        404, "not_found", f"No resource exists at this path; {name} may be meant.{base}"
    )


def _split(path: bytes) -> tuple[list[bytes], list[bytes]]:
    """Return the segments that belong to a base URL, and those behind them."""
    segments = [segment for segment in path.lower().split(b"/") if segment]
    start = 0
    while start < len(segments) and segments[start] in _PREFIXES:
        start += 1
    rest = segments[start:]
    if rest[:1] == [b"deployments"]:  # of Azure, with a name behind it
        rest = rest[2:]
    return segments[:start], rest


def _meant(rest: list[bytes]) -> bytes | None:
    """Return the path of the router that a similar one stands for, if it is one of them."""
    tail = b"/" + b"/".join(rest[:1] if rest[:1] == [b"models"] else rest)
    if tail in _PAGES:
        return tail
    if rest == [b"chat"]:
        tail = b"/chat/completions"
    path = b"/v1" + tail
    return path if path in _OPENAI or path in _ANTHROPIC else _alike(path)


def _alike(path: bytes) -> bytes | None:
    """Return the path of the API that differs from ``path`` by a slip of the pen, if one does."""
    if len(path) > _LONGEST_SLIP:
        return None
    depth = path.count(b"/")
    known = [each for each in sorted(_OPENAI | _ANTHROPIC) if each.count(b"/") == depth]
    names = [each.decode("ascii") for each in known]
    near = get_close_matches(path.decode("latin-1"), names, 1, _ALIKE)
    return near[0].encode("ascii") if near else None
