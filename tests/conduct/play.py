"""Runs rows of the conduct table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stub_backend.log import Received
from tests.conduct.seen import WHOLE, Seen
from tests.conduct.served import Served, direct, question
from tests.conduct.table import Row

OUTAGE = 60
WATCHED = 120
FIRST, SECOND = "stub/ok-vllm", "stub/ok"


@dataclass(frozen=True, slots=True)
class Played:
    """The result of one row.

    ``said`` is what the upstream sent in the call whose response the client received; ``sent`` are
    the bodies of all calls, without the model's name; ``left`` is what remained after the router
    stopped.
    """

    seen: Seen
    first: list[Received]
    second: list[Received]
    said: Seen
    sent: set[bytes]
    left: list[str]


@dataclass(frozen=True, slots=True)
class Outage:
    """The result of a model's outage (503 for 60 s); times in virtual seconds."""

    requests: int
    served: int
    calls_in_outage: int
    most_attempts_on_first: int
    back_after: float


def play(row: Row, commit: str) -> Played:
    """Make one request for "first,second"."""
    served = Served(commit=commit)
    if row.first != f"stub/{row.then}":
        served.stub.script(row.first, list(row.script), then=row.then)
    answer = served.ask(f"{row.first},{row.second}")
    first, second = served.calls(row.first), served.calls(row.second)
    calls = first + second
    asked_for = _json(f"{row.first},{row.second}")
    sent = {call.body.replace(_json(call.model), asked_for) for call in calls}
    said = direct(next(c for c in calls if c.model == answer.headers["x-stub-model"]))
    return Played(answer, first, second, said, sent, served.left_behind())


def asked(row: Row) -> bytes:
    """Return the request of a row."""
    return question(f"{row.first},{row.second}")


def play_outage(commit: str, key: Callable[[int], str]) -> Outage:
    """Send a request every second, from the start of the outage until a minute after its end.

    ``key`` returns the client's key for the number of a request.
    """
    served = Served(tokens=2, commit=commit)
    served.stub.script(FIRST, [], then="503-cold")
    began, whole, most, calls_in_outage = served.network.seconds(), 0, 0, 0
    back = float("inf")
    for second in range(WATCHED):
        served.network.pass_time(began + second - served.network.seconds())
        if second == OUTAGE:
            calls_in_outage = len(served.calls(FIRST))
            served.stub.script(FIRST, [], then="ok")
        before = len(served.calls(FIRST))
        answer = served.ask(f"{FIRST},{SECOND}", key(second))
        whole += (answer.status, answer.end, answer.tokens) == (200, WHOLE, 2)
        most = max(most, len(served.calls(FIRST)) - before)
        if answer.models != {FIRST}:
            back = float("inf")
        elif second >= OUTAGE:
            back = min(back, second - OUTAGE)
    return Outage(WATCHED, whole, calls_in_outage, most, back)


def one_client(_number: int) -> str:
    """Return the same client for every request."""
    return "fixture"


def new_clients(number: int) -> str:
    """Return another, unknown client for every request."""
    return f"fixture-{number}"


def _json(name: str | None) -> bytes:
    return f'"{name}"'.encode()
