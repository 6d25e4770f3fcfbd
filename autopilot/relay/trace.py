"""What the engine tells whoever follows single requests; it does not know who that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from autopilot.http.headers import Field, Named
    from autopilot.observability.records import RequestRecord


class Trace(Protocol):
    """Follows one request from its plan, or its refusal, to its record."""

    def attempting(self, model: str) -> None:
        """A candidate is tried."""

    def inject(self, fields: Sequence[Field]) -> Sequence[Field]:
        """The request's fields as they go up with the attempt at hand."""

    def failed(self, reason: str, status: int | None) -> None:
        """The attempt failed; ``status`` is that of its response, if it had one."""

    def committed(self, status: int) -> None:
        """The response of the attempt goes to the client."""

    def over(self, record: RequestRecord) -> None:
        """The request is over."""


class Tracer(Protocol):
    """Begins to follow a request."""

    def __call__(self, path: bytes, named: Named, asked: str | None, host: str) -> Trace:
        """``asked`` is the request's ``model`` if it could be read, ``host`` the upstream's."""
