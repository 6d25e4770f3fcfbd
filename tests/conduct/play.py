"""Plays rows of the conduct table."""

from __future__ import annotations

from dataclasses import dataclass

from tests.conduct.served import Seen, Served
from tests.conduct.table import Row

OUTAGE = 60
_WATCHED = 120


@dataclass(frozen=True, slots=True)
class Played:
    """What came of one row."""

    seen: Seen
    first_calls: int
    second_calls: int


@dataclass(frozen=True, slots=True)
class Outage:
    """What came of a model that answered 503 for 60 s; times in virtual seconds."""

    requests: int
    served: int
    calls_in_outage: int
    most_attempts_on_first: int
    back_after: float


def play(row: Row, commit: str) -> Played:
    """One request for "first,second"."""
    served = Served(commit=commit)
    if row.first != f"stub/{row.then}":
        served.stub.script(row.first, list(row.script), then=row.then)
    seen = served.ask(f"{row.first},{row.second}")
    return Played(seen, served.calls(row.first), served.calls(row.second))


def play_outage(commit: str) -> Outage:
    """A request each second, from the beginning of the outage until a minute after its end."""
    first, second = "stub/ok-vllm", "stub/ok"
    served = Served(tokens=2, commit=commit)
    served.stub.script(first, [], then="503-cold")
    began, calls_in_outage, most, answered, requests = served.network.seconds(), 0, 0, 0, 0
    back = float("inf")
    healthy = False
    while (now := served.network.seconds() - began) < _WATCHED:
        if now >= OUTAGE and not healthy:
            healthy, calls_in_outage = True, served.calls(first)
            served.stub.script(first, [], then="ok")
        before = served.calls(first)
        seen = served.ask(f"{first},{second}")
        requests += 1
        answered += seen.status == 200 and seen.end == "whole"
        most = max(most, served.calls(first) - before)
        if healthy and seen.model == first:
            back = min(back, now - OUTAGE)
        elif healthy:
            back = float("inf")
        served.network.pass_time(1)
    return Outage(requests, answered, calls_in_outage, most, back)
