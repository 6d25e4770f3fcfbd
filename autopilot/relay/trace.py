"""Interface through which exchanges report to a tracer, without a dependency on OpenTelemetry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from autopilot.http.headers import Field, Named
    from autopilot.observability.records import RequestRecord


class Trace(Protocol):
    """Follows one request from its plan, or its error, to its record."""

    def attempting(self, model: str) -> None:
        """Note the start of an attempt."""

    def inject(self, fields: Sequence[Field]) -> Sequence[Field]:
        """Return the fields to send with the current attempt, with its trace context."""

    def hedging(self, model: str) -> None:
        """Note the start of a second attempt beside the current one."""

    def inject_beside(self, fields: Sequence[Field]) -> Sequence[Field]:
        """Return the fields to send with the second attempt, with its own trace context."""

    def overtaken(self) -> None:
        """Note that the second attempt takes the place of the current one, which is given up."""

    def hedge_lost(self, status: int | None) -> None:
        """Note that the second attempt is given up; ``status`` is that of its response, if any."""

    def failed(self, reason: str, status: int | None) -> None:
        """Note the failure of the attempt; ``status`` is that of its response, if any."""

    def committed(self, status: int) -> None:
        """Note the commit to the attempt's response."""

    def over(self, record: RequestRecord) -> None:
        """Note the end of the request."""


class Tracer(Protocol):
    """Starts the trace of a request."""

    def __call__(self, path: bytes, named: Named, asked: str | None, host: str) -> Trace:
        """``asked`` is the request's ``model``, None if invalid; ``host`` is the upstream's."""
