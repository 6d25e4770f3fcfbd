"""Prints the conduct tables: `python -m tests.conduct`."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from tests.conduct import endings, learned
from tests.conduct.faults import FAULTS, try_fault
from tests.conduct.play import Played, new_clients, one_client, play, play_outage
from tests.conduct.play_endings import play_endings
from tests.conduct.table import ROWS, Row

_COMMITS = ("content", "complete")
_LINE = "{:<45} {:<9} {:<50} {:>7} {:>6}"
_FAULT_LINE = "{:>2} {:<45} {:<9} {:<8} {:>7} {:>6}"
_ENDING_LINE = "{:<25} {:<8} {:<9} {}"
_OUTAGES = (
    ("503 for 60 s, then healthy: one client", one_client),
    ("503 for 60 s, then healthy: new clients", new_clients),
)


def main() -> int:
    """Run every row of every table under both commit settings, and print the results."""
    for table in (_print_misbehaviour, _print_learned, _print_faults, _print_endings):
        table()
        print()
    return 0


def _print_misbehaviour() -> None:
    print(_LINE.format("misbehaviour", "COMMIT", "the client sees", "seconds", "calls"))
    for row in ROWS:
        for commit in _COMMITS:
            played = play(row, commit)
            calls = f"{len(played.first)}+{len(played.second)}"
            seconds = f"{played.seen.seconds:.2f}"
            print(_LINE.format(row.name, commit, _what(row, played), seconds, calls))
    for name, key in _OUTAGES:
        for commit in _COMMITS:
            outage = play_outage(commit, key)
            what = f"{outage.served} of {outage.requests} served"
            back, calls = f"{outage.back_after:.1f} *", f"{outage.calls_in_outage} *"
            print(_LINE.format(name, commit, what, back, calls))
    print("* seconds from recovery to the first choice; calls of it during the outage")


def _print_learned() -> None:
    print(_LINE.format("twelve requests; the first model", "COMMIT", "", "", "calls"))
    for row in learned.ROWS:
        for commit in _COMMITS:
            got = learned.play_learning(row, commit)
            what = f"{got.whole} whole answers"
            calls = f"{got.first_calls}+{got.second_calls}"
            print(_LINE.format(row.name, commit, what, "", calls))


def _print_faults() -> None:
    """Print the verdict on each of the sixteen faults."""
    fault_of, commit_is = "fault of the first model", "COMMIT"
    print(_FAULT_LINE.format("", fault_of, commit_is, "verdict", "seconds", "calls"))
    for number, fault in enumerate(FAULTS, start=1):
        for commit in _COMMITS:
            judged = try_fault(fault, commit)
            calls = f"{judged.primary_calls}+{judged.fallback_calls}"
            seconds = f"{judged.seconds:.2f}"
            print(_FAULT_LINE.format(number, fault.name, commit, judged.verdict, seconds, calls))


def _print_endings() -> None:
    """Print the result of each unusual answer; an API is named where it differs."""
    print(_ENDING_LINE.format("unusual answer", "", "COMMIT", "the client gets"))
    for row in endings.ROWS:
        for stream, form in ((True, "streamed"), (False, "plain")):
            for commit in _COMMITS:
                played = play_endings(commit, stream=stream)
                cell = _cell({api: str(played[row, api]) for api in endings.PATHS})
                print(_ENDING_LINE.format(row.scenario, form, commit, cell))


def _cell(by_api: Mapping[str, str]) -> str:
    distinct = dict.fromkeys(by_api.values())
    if len(distinct) == 1:
        return next(iter(distinct))
    apis = {what: [api for api, each in by_api.items() if each == what] for what in distinct}
    return "; ".join(f"{', '.join(names)}: {what}" for what, names in apis.items())


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
