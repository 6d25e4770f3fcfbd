"""The metrics of the account's governor: what it let pass, delayed and refused, and the bans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from autopilot.observability.instruments import Counter, Histogram, Readings

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


def edge_gauges(
    waiting: Callable[[], int],
    banned: Callable[[], int],
    fewest_left: Callable[[], int | None],
) -> tuple[Readings, ...]:
    """Return the gauges, which are read at each scrape; no key has a series of its own."""

    def one(read: Callable[[], int | None]) -> Callable[[], Iterator[tuple[tuple[str, ...], int]]]:
        def samples() -> Iterator[tuple[tuple[str, ...], int]]:
            value = read()
            return iter(()) if value is None else iter([((), value)])

        return samples

    return (
        Readings(
            "chutes_autopilot_edge_waiting",
            "Requests that wait for EDGE_RATE.",
            (),
            one(waiting),
        ),
        Readings(
            "chutes_autopilot_edge_banned_keys",
            "Keys that the platform's edge has banned; the router's address counts as one.",
            (),
            one(banned),
        ),
        Readings(
            "chutes_autopilot_edge_fewest_left",
            "Calls that may be made at once with the key that has fewest; none if all have all.",
            (),
            one(fewest_left),
        ),
    )
