"""Prints the conduct table: `python -m tests.conduct`."""

from __future__ import annotations

import sys

from tests.conduct.play import play, play_outage
from tests.conduct.table import ROWS

_LINE = "{:<46} {:<9} {:<33} {:>7} {:>6}"


def main() -> int:
    """Play every row under both dials, and print what came of it."""
    print(_LINE.format("misbehaviour", "COMMIT", "the client sees", "seconds", "calls"))
    for row in ROWS:
        for commit in ("content", "complete"):
            played = play(row, commit)
            seen = played.seen
            by = {row.first: ", first", row.second: ", second"}.get(seen.model or "", "")
            calls = f"{played.first_calls}+{played.second_calls}"
            what = f"{seen.status} {seen.end}{by}"
            print(_LINE.format(row.name, commit, what, f"{seen.seconds:.2f}", calls))
    for commit in ("content", "complete"):
        outage = play_outage(commit)
        what = f"{outage.served} of {outage.requests} served"
        back, calls = f"{outage.back_after:.1f} *", f"{outage.calls_in_outage} *"
        print(_LINE.format("503 for 60 s, then healthy", commit, what, back, calls))
    print("* seconds from recovery to the first choice; calls of it during the outage")
    return 0


if __name__ == "__main__":
    sys.exit(main())
