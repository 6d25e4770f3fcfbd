"""The metrics of the account's governor: what it let pass, delayed and refused, and the bans."""

from __future__ import annotations

from typing import Final

from autopilot.observability.instruments import Counter, Histogram

PASSED: Final = "passed"
WAITED: Final = "waited"
REFUSED: Final = "refused"
BANNED: Final = "banned"
WITHHELD: Final = "withheld"

OUTCOMES: Final = (PASSED, WAITED, REFUSED, BANNED, WITHHELD)
"""Of calls: sent at once, sent after a wait, refused after it, refused during a ban, and further
calls of a request (or the router's own) that were not made for want of a token."""

_WAITS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)


class EdgeCounts:
    """The counters. A router without a governor has them, too: they stay at zero."""

    def __init__(self) -> None:
        self.calls = Counter(
            "chutes_autopilot_edge_calls_total",
            "Upstream calls that the governor of EDGE_RATE decided about, by outcome.",
            "outcome",
        )
        for outcome in OUTCOMES:
            self.calls.values[outcome,] = 0
        self.pages = Counter(
            "chutes_autopilot_edge_pages_total",
            "Responses by which the platform's edge banned a key or the router's address.",
        )
        self.waits = Histogram(
            "chutes_autopilot_edge_wait_seconds",
            "Time that requests waited for EDGE_RATE before they were sent.",
            _WAITS,
        )

    def instruments(self) -> tuple[Counter | Histogram, ...]:
        """Return the instruments."""
        return self.calls, self.pages, self.waits

    def count(self, outcome: str) -> None:
        """Count a call."""
        self.calls.values[outcome,] += 1
