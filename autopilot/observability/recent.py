"""The last requests, for people who look at the status page."""

from __future__ import annotations

from collections import deque
from typing import Any

from autopilot.observability.records import RequestRecord

_KEPT = 50


class Recent:
    """A short memory of records; request ids stay out, they may be the clients' own words."""

    def __init__(self) -> None:
        self._records: deque[RequestRecord] = deque(maxlen=_KEPT)

    def add(self, record: RequestRecord) -> None:
        """Keep one record, and forget the oldest if need be."""
        self._records.append(record)

    def summary(self) -> list[dict[str, Any]]:
        """What was chosen lately, newest first."""
        return [
            {
                "mode": record.mode,
                "model": record.model,
                "status": record.status,
                "attempts": record.attempts,
                "failovers": record.failovers,
                "first_byte": record.first_byte,
                "duration": record.duration,
                "outcome": record.outcome,
            }
            for record in reversed(self._records)
        ]
