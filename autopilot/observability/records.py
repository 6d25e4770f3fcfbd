"""One record per request: what was asked, chosen and answered, without a word of what was said."""

from __future__ import annotations

from msgspec import Struct


class RequestRecord(Struct, frozen=True, gc=False):
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


def facts(record: RequestRecord) -> dict[str, object]:
    """The record as a log event's fields; times in milliseconds, ``None`` where there is none."""
    return {
        "req_id": record.request_id,
        "mode": record.mode,
        "candidates": record.candidates,
        "model": record.model,
        "attempts": record.attempts,
        "failovers": ",".join(record.failovers),
        "status": record.status,
        "snapshot_age_ms": _ms(record.snapshot_age),
        "catalog_age_ms": _ms(record.catalog_age),
        "ttfb_ms": _ms(record.first_byte),
        "duration_ms": _ms(record.duration),
        "bytes": record.sent,
        "outcome": str(record.outcome),
        "terminated": record.terminated,
    }


def _ms(seconds: float | None) -> float | None:
    """Milliseconds to a tenth: what a person reads, and all that a reactor's clock means."""
    return None if seconds is None else round(seconds * 1000.0, 1)
