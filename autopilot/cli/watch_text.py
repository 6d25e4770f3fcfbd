"""Records of requests for a person: which of them to show, and each as one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from autopilot.cli.watch_record import FailedAttempt, SeenRecord
from autopilot.observability.records import CLIENT_LEFT, Outcome
from autopilot.routing.suggest import printable

_MODEL_COLUMNS: Final = 32
_WHY_COLUMNS: Final = 6
_TIME_COLUMNS: Final = 7
_ENDPOINTS: Final = "/v1/"
_CLOCK: Final = slice(11, 19)
"""The time of day in a time such as 2026-11-29T16:05:26.123Z."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which records to show: those for which each condition that is given holds."""

    failures: bool = False
    failovers: bool = False
    model: str = ""
    endpoint: str = ""
    why: str = ""
    outcome: str = ""
    min_ms: float = 0.0

    def admits(self, record: SeenRecord) -> bool:
        """Return whether to show a record."""
        models = (record.model or "", *(each.model for each in record.failovers))
        wanted = self.model.lower()
        return (
            not (self.failures and record.outcome == Outcome.COMPLETED)
            and not (self.failovers and not record.failovers)
            and (not wanted or any(wanted in each.lower() for each in models))
            and self.endpoint in record.endpoint
            and self.why in ("", record.why)
            and self.outcome in ("", record.outcome)
            and record.duration_ms >= self.min_ms
        )


def line_of(record: SeenRecord, painted: Callable[[str, str], str]) -> str:
    """Return a record as one line; ``painted`` colours a text in a style."""
    look = _look(record)
    status = "-" if record.status is None else str(record.status)
    kind = {True: "stream", False: "plain", None: ""}[record.stream]
    ended = (record.outcome, record.code or record.reason or "")
    told = record.outcome != Outcome.COMPLETED
    parts = (
        painted(record.time[_CLOCK], "faint"),
        painted(f"{status:>3}", look),
        f"{printable(record.model or '-'):<{_MODEL_COLUMNS}}",
        f"{printable(record.why or record.mode):<{_WHY_COLUMNS}}",
        f"{duration(record.ttfb_ms):>{_TIME_COLUMNS}}",
        f"{duration(record.duration_ms):>{_TIME_COLUMNS}}",
        f"{size(record.bytes):>{_TIME_COLUMNS}}",
        printable(record.endpoint.removeprefix(_ENDPOINTS)),
        kind,
        painted(printable(" ".join(filter(None, ended))), look) if told else "",
        painted(_after(record), "doubt") if record.failovers else "",
        "" if record.worker is None else painted(f"worker {record.worker}", "faint"),
        painted(printable(record.req_id), "faint"),
    )
    return " ".join(filter(None, parts))


def duration(ms: float | None) -> str:
    """Return a duration in the unit in which it is short; a dash if there is none."""
    if ms is None:
        return "-"
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"


def size(count: int) -> str:
    """Return a number of bytes in the unit in which it is short."""
    if count < 1000:
        return f"{count} B"
    return f"{count / 1000:.0f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"


def _look(record: SeenRecord) -> str:
    if record.outcome == Outcome.COMPLETED:
        return "doubt" if record.failovers else "good"
    return "doubt" if record.outcome in CLIENT_LEFT else "bad"


def _after(record: SeenRecord) -> str:
    return "after " + ", ".join(map(_attempt, record.failovers))


def _attempt(failed: FailedAttempt) -> str:
    status = "" if failed.status is None else str(failed.status)
    took = "" if failed.ms is None else duration(failed.ms)
    return printable(" ".join(filter(None, (failed.model, failed.reason, status, took))))
