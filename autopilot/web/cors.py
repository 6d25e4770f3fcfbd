"""Which web pages of other origins may call the API: the CORS protocol of the Fetch standard.

Without credentials in the browser's sense: a key travels in ``Authorization``, which the page sets
itself, so no response allows cookies and none is needed. Pages for operators are never shared:
they ask for no key, and a page that may call the API need not read them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autopilot.http.headers import Field
from autopilot.routing.router_error import RouterError

# Named for browsers that do not know the asterisk; it stands for every other one.
_EXPOSED = (
    b"x-request-id, x-chutes-autopilot-selected, x-chutes-autopilot-attempts, retry-after,"
    b" retry-after-ms, x-should-retry, x-ratelimit-limit-requests, x-ratelimit-limit-tokens,"
    b" x-ratelimit-remaining-requests, x-ratelimit-remaining-tokens, x-ratelimit-reset-requests,"
    b" x-ratelimit-reset-tokens, *"
)
_METHODS = b"GET, POST"
# As long as browsers keep it: two hours is Chromium's limit.
_MAX_AGE = b"7200"
_PREFLIGHT_VARIES = b"Origin, Access-Control-Request-Headers"
_HEADER_NAMES = re.compile(rb"[-!#$%&'*+.^`|~\w]+(?:[ \t]*,[ \t]*[-!#$%&'*+.^`|~\w]+)*")
_LONGEST_NAMES = 4096
_OURS = b"access-control-"

ORIGIN_NOT_ALLOWED = RouterError(
    403,
    "origin_not_allowed",
    "Pages of this origin may not call this router; its operator can name it in"
    " CORS_ALLOW_ORIGINS.",
)


@dataclass(frozen=True, slots=True)
class Cors:
    """The origins that may call, in lower case; ``any_origin`` lets in every one."""

    origins: frozenset[bytes]
    any_origin: bool = False

    @classmethod
    def of(cls, origins: Sequence[str]) -> Cors | None:
        """For a list of origins, in which ``*`` stands for all; ``None`` without any."""
        named = frozenset(origin.encode("ascii") for origin in origins)
        return cls(named - {b"*"}, b"*" in named) if named else None

    def allows(self, origin: bytes) -> bool:
        """Whether pages of this origin may call."""
        return self.any_origin or origin.lower() in self.origins

    def fields(self, origin: bytes | None) -> tuple[Field, ...]:
        """What a response to a request with this ``Origin`` field, or without one, says.

        Where the answer depends on the origin, a cache has to know that.
        """
        varies = () if self.any_origin else ((b"Vary", b"Origin"),)
        if origin is None or not self.allows(origin):
            return varies
        return (
            (b"Access-Control-Allow-Origin", b"*" if self.any_origin else origin),
            (b"Access-Control-Expose-Headers", _EXPOSED),
            *varies,
        )

    def preflight(self, origin: bytes, names: bytes | None, *, private: bool) -> tuple[Field, ...]:
        """What a browser hears that asks before it sends a request of an allowed origin.

        ``names`` are the header fields that it will send: all are allowed, since which ones an SDK
        sends is its own affair. ``private`` asks for a way from the public network into a private
        one; that is opened to origins named one by one only, not to every page there is.
        """
        fields = [
            (b"Access-Control-Allow-Origin", b"*" if self.any_origin else origin),
            (b"Access-Control-Allow-Methods", _METHODS),
            (b"Access-Control-Max-Age", _MAX_AGE),
            (b"Vary", _PREFLIGHT_VARIES),
        ]
        if names and len(names) <= _LONGEST_NAMES and _HEADER_NAMES.fullmatch(names.strip()):
            fields.append((b"Access-Control-Allow-Headers", names.strip()))
        if private and origin.lower() in self.origins:
            fields.append((b"Access-Control-Allow-Private-Network", b"true"))
        return tuple(fields)


def shared(fields: Iterable[Field], ours: Sequence[Field]) -> list[Field]:
    """A relayed response's fields with what the router says of sharing it, and nobody else."""
    return [field for field in fields if not field[0].lower().startswith(_OURS)] + list(ours)
