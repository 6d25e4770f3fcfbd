"""Prints the conduct tables: `python -m tests.conduct`."""

from __future__ import annotations

import sys

from tests.conduct.faults import FAULTS, try_fault
from tests.conduct.play import Played, new_clients, one_client, play, play_outage
from tests.conduct.table import ROWS, Row

_LINE = "{:<45} {:<9} {:<50} {:>7} {:>6}"
_FAULT_LINE = "{:>2} {:<45} {:<9} {:<8} {:>7} {:>6}"
_OUTAGES = (
    ("503 for 60 s, then healthy: one client", one_client),
    ("503 for 60 s, then healthy: new clients", new_clients),
)


def main() -> int:
    """Run every row under both commit settings, and print the results."""
    print(_LINE.format("misbehaviour", "COMMIT", "the client sees", "seconds", "calls"))
    for row in ROWS:
        for commit in ("content", "complete"):
            played = play(row, commit)
            calls = f"{len(played.first)}+{len(played.second)}"
            seconds = f"{played.seen.seconds:.2f}"
            print(_LINE.format(row.name, commit, _what(row, played), seconds, calls))
    for name, key in _OUTAGES:
        for commit in ("content", "complete"):
            outage = play_outage(commit, key)
            what = f"{outage.served} of {outage.requests} served"
            back, calls = f"{outage.back_after:.1f} *", f"{outage.calls_in_outage} *"
            print(_LINE.format(name, commit, what, back, calls))
    print("* seconds from recovery to the first choice; calls of it during the outage")
    _print_faults()
    return 0


def _print_faults() -> None:
    """Print the verdict on each of the sixteen faults, under both commit settings."""
    print()
    print(
        _FAULT_LINE.format("", "fault of the first model", "COMMIT", "verdict", "seconds", "calls")
    )
    for number, fault in enumerate(FAULTS, start=1):
        for commit in ("content", "complete"):
            judged = try_fault(fault, commit)
            calls, seconds = (
                f"{judged.primary_calls}+{judged.fallback_calls}",
                f"{judged.seconds:.2f}",
            )
            print(_FAULT_LINE.format(number, fault.name, commit, judged.verdict, seconds, calls))


def _what(row: Row, played: Played) -> str:
    seen = played.seen
    if seen.status != 200:
        same = "as" if seen.given == played.said.body else "not as"
        return f"{seen.status}, {same} the model sent it"
    who = {row.first: "first", row.second: "second"}
    by = " and ".join(who.get(model, model) for model in sorted(seen.models))
    return f"200, {seen.tokens} tokens of the {by}, {seen.end}"


if __name__ == "__main__":
    sys.exit(main())
