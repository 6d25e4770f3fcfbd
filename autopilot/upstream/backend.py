"""One other service than the platform: where its requests go, and with which fields and key.

Its key takes the place of the client's, which never goes there. Of the client's fields only those
of a fixed list do, since any other might hold a key, or say who the client is at the platform.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from autopilot.http.headers import Field, sent_up
from autopilot.upstream.pool import Origin
from autopilot.upstream.target import RequestTarget

SENT: Final = frozenset(
    {b"accept", b"content-type", b"traceparent", b"tracestate", b"user-agent", b"via"}
)
"""The fields of a client that another service gets."""

PATHS: Final = (b"/v1/chat/completions", b"/v1/completions")
"""The paths whose requests other services may serve."""

NAME: Final = b"x-chutes-autopilot-backend"
"""The field of a response that names the service that it came from."""

_VERSION: Final = "/v1"
# What another service says of the limits and the name of the operator's account with it.
_ACCOUNTS: Final = (
    b"x-ratelimit-",
    b"x-chutes-quota-",
    b"x-chutes-rl-",
    b"x-chutes-invoice-",
    b"openai-organization",
    b"openai-project",
)


class Backend(Struct, frozen=True):
    """A service by the name that the operator gave it, with its targets by the client's path."""

    name: str
    origin: Origin
    targets: dict[str, RequestTarget]
    secret: bytes

    def __repr__(self) -> str:
        return f"Backend({self.name!r})"

    @classmethod
    def of(cls, name: str, origin: Origin, key: str, pseudonym: bytes) -> Backend:
        """Return the service at ``origin``, whose base path is as SDKs for OpenAI want it.

        An address without a path has the usual one, ``/v1``.
        """
        base = origin._replace(base_path=origin.base_path or _VERSION)
        targets = {
            path.decode("ascii"): RequestTarget.of(
                base, path.removeprefix(_VERSION.encode()), pseudonym
            )
            for path in PATHS
        }
        return cls(name, base, targets, key.encode("ascii"))

    def fields(self, given: Iterable[Field]) -> list[Field]:
        """Return the fields of a request, of which ``given`` are the client's."""
        kept = [field for field in sent_up(given) if field[0].lower() in SENT]
        return [*kept, (b"Authorization", b"Bearer " + self.secret)]

    def answered(self, fields: Sequence[Field]) -> list[Field]:
        """Return the fields of a response with this service's name, and without its key."""
        kept = [
            each
            for each in fields
            if self.secret not in each[1] and not each[0].lower().startswith(_ACCOUNTS)
        ]
        return [*kept, (NAME, self.name.encode("ascii"))]

    def masked(self, body: bytes) -> bytes:
        """Return the body of an error without the key, should it repeat it; the length stays."""
        return body.replace(self.secret, b"*" * len(self.secret)) if self.secret in body else body
