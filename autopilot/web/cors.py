"""The CORS protocol of the Fetch standard, for web pages of other origins that call the API.

Responses never allow credentials: those are cookies, while the page sets ``Authorization`` itself.
Operators' pages are never shared: they require no key, so any shared origin could read them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autopilot.http.headers import Field

# "*" exposes every field; the names are for browsers that do not support it.
_EXPOSED = (
    b"x-request-id, x-chutes-autopilot-selected, x-chutes-autopilot-attempts,"
    b" x-chutes-autopilot-affinity, x-chutes-autopilot-cost, x-chutes-autopilot-backend,"
    b" x-chutes-autopilot-private, x-chutes-autopilot-instance,"
    b" x-chutes-autopilot-tried, retry-after, retry-after-ms, x-should-retry,"
    b" x-ratelimit-limit-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-requests,"
    b" x-ratelimit-remaining-tokens, x-ratelimit-reset-requests, x-ratelimit-reset-tokens, *"
)
_METHODS = b"GET, POST"
# Seconds; two hours is Chromium's upper limit.
_MAX_AGE = b"7200"
_PREFLIGHT_VARIES = b"Origin, Access-Control-Request-Headers"
_HEADER_NAMES = re.compile(rb"[-!#$%&'*+.^`|~\w]+(?:[ \t]*,[ \t]*[-!#$%&'*+.^`|~\w]+)*")
_MAX_NAMES_BYTES = 4096
_CORS_PREFIX = b"access-control-"


@dataclass(frozen=True, slots=True)
class Cors:
    """The origins that may call the API, in lower case; ``any_origin`` allows all."""

    origins: frozenset[bytes]
    any_origin: bool = False

    @classmethod
    def of(cls, origins: Sequence[str]) -> Cors | None:
        """Return the policy for these origins, of which ``*`` allows all; None if there is none."""
        named = frozenset(origin.encode("ascii") for origin in origins)
        return cls(named - {b"*"}, b"*" in named) if named else None

    def allows(self, origin: bytes) -> bool:
        """Return whether pages of this origin may call the API."""
        return self.any_origin or origin.lower() in self.origins

    def fields(self, origin: bytes | None) -> tuple[Field, ...]:
        """Return the fields of a response to a request with this ``Origin`` (None: without one).

        ``Vary`` is there even without an ``Origin``, unless all are allowed: else a cache would
        serve a response without CORS fields to a page that needs them (Fetch, "CORS protocol and
        HTTP caches").
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
        """Return the fields of the response to an allowed origin's preflight request.

        ``names`` are the fields that the browser will send; all are allowed, because SDKs add
        fields of their own. ``private`` asks for access from the public network to a private one;
        only origins that the operator named get it, not those that ``*`` allows.
        """
        fields = [
            (b"Access-Control-Allow-Origin", b"*" if self.any_origin else origin),
            (b"Access-Control-Allow-Methods", _METHODS),
            (b"Access-Control-Max-Age", _MAX_AGE),
            (b"Vary", _PREFLIGHT_VARIES),
        ]
        if names and len(names) <= _MAX_NAMES_BYTES and _HEADER_NAMES.fullmatch(names.strip()):
            fields.append((b"Access-Control-Allow-Headers", names.strip()))
        if private and origin.lower() in self.origins:
            fields.append((b"Access-Control-Allow-Private-Network", b"true"))
        return tuple(fields)


def shared(fields: Iterable[Field], ours: Sequence[Field]) -> list[Field]:
    """Replace the upstream's CORS fields in a relayed response by the router's own."""
    return [field for field in fields if not field[0].lower().startswith(_CORS_PREFIX)] + list(ours)
