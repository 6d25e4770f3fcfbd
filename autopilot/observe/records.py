"""One record per request: what was asked, chosen and answered, without a word of what was said."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """The story of one request, written once when it is over. Times are seconds.

    ``failovers`` are the reasons of failed attempts, from a fixed vocabulary; ``sent`` counts body
    bytes relayed to the client; ``terminated`` says whether an event stream carried its own
    terminator.
    """

    request_id: str
    mode: str
    candidates: int
    model: str | None
    attempts: int
    failovers: tuple[str, ...]
    status: int | None
    snapshot_age: float | None
    catalog_age: float | None
    first_byte: float | None
    duration: float
    sent: int
    outcome: str
    terminated: bool = True
