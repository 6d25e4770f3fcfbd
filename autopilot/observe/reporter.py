"""Request records as log events: one line per request, successes thinned on demand.

The text line says only what there is to say; the event carries every fact under its own name, as a
number where it is one, for observers that write JSON. Neither holds anything of the client's but
the request id it may have chosen.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from autopilot.observe.records import RequestRecord

# Not an attribute of the class: there it would take the class's name for its namespace.
_log = Logger(namespace="autopilot.requests")

_QUIET = "completed"
# Constant pieces of the line, each shown only when its fact is known.
_PIECES = (
    ("req_id", "{req_id}"),
    ("mode", "{mode}"),
    ("model", "model={model}"),
    ("status", "status={status}"),
    ("attempts", "attempts={attempts}/{candidates}"),
    ("failovers", "failovers={failovers}"),
    ("ttfb_ms", "ttfb={ttfb_ms}ms"),
    ("duration_ms", "duration={duration_ms}ms"),
    ("bytes", "bytes={bytes}"),
    ("outcome", "{outcome}"),
)


class Reporter:
    """Logs records. ``sample`` is the share of undisturbed successes that are logged, 0 to 1."""

    def __init__(self, sample: float, random: Callable[[], float]) -> None:
        self._sample = sample
        self._random = random

    def report(self, record: RequestRecord) -> None:
        """Log one record."""
        if _is_quiet(record) and self._random() >= self._sample:
            return
        facts = _facts(record)
        line = " ".join(text for name, text in _PIECES if facts[name] not in (None, ""))
        _log.info(line, **facts)


def _facts(record: RequestRecord) -> dict[str, object]:
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
    return None if seconds is None else round(seconds * 1000, 1)


def _is_quiet(record: RequestRecord) -> bool:
    """Whether nothing went wrong: no failover, no error, and a stream that said it was over."""
    undisturbed = not record.failovers and record.terminated
    return undisturbed and record.outcome == _QUIET and (record.status or 0) < 400
