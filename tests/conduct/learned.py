"""Twelve requests in a row, of which the first of two models fails or rejects each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from tests.conduct.judge import read
from tests.conduct.play import FIRST, SECOND, new_clients, one_client
from tests.conduct.served import Served, question

REQUESTS = 12
FAILURES = 3
"""`COOLDOWN_FAILURES` by default."""


@dataclass(frozen=True, slots=True)
class Learned:
    """The answers that looked whole, and the calls of either model."""

    whole: int
    first_calls: int
    second_calls: int


@dataclass(frozen=True, slots=True)
class Row:
    """The first model plays ``scenario`` each time; ``key`` is the client of a request."""

    name: str
    scenario: str
    key: Callable[[int], str]
    content: Learned
    complete: Learned

    def expected(self, commit: str) -> Learned:
        """Return the expected result under ``commit``, "content" or "complete"."""
        return self.content if commit == "content" else self.complete


_BEHIND = Learned(REQUESTS - FAILURES, FAILURES, REQUESTS - FAILURES)
_UNSEEN = Learned(REQUESTS, FAILURES, REQUESTS)
_OWN = Learned(0, REQUESTS, 0)

ROWS: tuple[Row, ...] = (
    # After three failures, of one client or of three, the model follows the other one.
    *(
        Row(f"{what}: {whose}", scenario, key, _BEHIND, _UNSEEN)
        for what, scenario in (
            ("breaks every answer", "drop-mid-stream"),
            ("reports an error in every answer", "error-event-mid"),
            ("gives every answer up", "gave-up-abort"),
        )
        for whose, key in (("one client", one_client), ("new clients", new_clients))
    ),
    Row("503 always: one client", "503-cold", one_client, _UNSEEN, _UNSEEN),
    Row("503 always: new clients", "503-cold", new_clients, _UNSEEN, _UNSEEN),
    # An error of the request itself counts against no model and leads to no other.
    Row("refuses every request in a stream", "error-event-400", new_clients, _OWN, _OWN),
    Row("refuses every request", "400-content-policy", new_clients, _OWN, _OWN),
)


@cache  # deterministic: virtual time, no randomness
def play_learning(row: Row, commit: str) -> Learned:
    """Send the requests one after the other, without stickiness."""
    served = Served(tokens=4, commit=commit, sticky_ttl_secs=0)
    served.stub.script(FIRST, (), row.scenario)
    whole = 0
    for number in range(REQUESTS):
        seen = served.post(
            question(f"{FIRST},{SECOND}", f"Tell story {number}."), key=row.key(number)
        )
        whole += read(seen).looks_whole and seen.end == "whole"
    return Learned(whole, len(served.calls(FIRST)), len(served.calls(SECOND)))
