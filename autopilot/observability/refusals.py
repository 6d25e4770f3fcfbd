"""Records of requests that are refused at their head, before anything of them is planned.

Such a refusal costs its client next to nothing, so that a flood of them must not flood the log: in
each minute the first ones leave a record, and the others are counted.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Final, TypeAlias

from twisted.logger import Logger

from autopilot.observability.log_rate_limit import LogRateLimit
from autopilot.observability.records import RequestRecord, age_ms, own_error

if TYPE_CHECKING:
    from autopilot.routing.router_error import RouterError
    from autopilot.routing.snapshot import Snapshot

MOST_A_MINUTE: Final = 60
"""Refusals in a minute that leave a record."""

_MINUTE = 60.0

Refused: TypeAlias = "Callable[[str, RouterError, str], None]"
"""Called for a request refused at its head: its path if that is relayed, the error, and its id."""


def ignore(endpoint: str, error: RouterError, req_id: str) -> None:
    """Do nothing, where no operator keeps records."""


class Refusals:
    """Writes the records of refusals, up to a number in each minute."""

    _log = Logger()

    def __init__(
        self,
        seconds: Callable[[], float],
        snapshot: Callable[[], Snapshot],
        write: Callable[[RequestRecord], None],
    ) -> None:
        """``seconds`` returns the monotonic time, ``snapshot`` the current data of the feeds."""
        self._seconds = seconds
        self._snapshot = snapshot
        self._write = write
        self._since = -inf
        self._left = 0
        self._limit = LogRateLimit()

    def add(self, endpoint: str, error: RouterError, req_id: str) -> None:
        """Write the record of a refusal, or count it and log the number periodically."""
        now = self._seconds()
        if now - self._since >= _MINUTE:
            self._since, self._left = now, MOST_A_MINUTE
        if not self._left:
            self._leave_out(error, now)
            return
        self._left -= 1
        snapshot = self._snapshot()
        self._write(
            RequestRecord(
                req_id=req_id,
                mode="none",
                candidates=0,
                model=None,
                attempts=0,
                failovers=(),
                status=error.status,
                snapshot_age_ms=age_ms(snapshot.utilization_at, now),
                catalog_age_ms=age_ms(snapshot.catalog_at, now),
                ttfb_ms=None,
                duration_ms=0.0,
                bytes=0,
                outcome=own_error(error.status),
                endpoint=endpoint,
                code=error.code,
                key=error.key,
            )
        )

    def _leave_out(self, error: RouterError, now: float) -> None:
        count = self._limit.admit(error.code, now)
        if count is not None:
            self._log.warn(
                "More than {most} requests a minute are refused at their head: {count} with"
                " {status} {code} left no record",
                most=MOST_A_MINUTE,
                count=count,
                status=error.status,
                code=error.code,
            )
