"""Random calls in all APIs, with breaks, failovers and clients that leave, for sums of tokens."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stub_backend.ledger import Told, told
from tests.conduct.asking import ALIAS
from tests.conduct.served import CHAT, TOKEN_DELAY, Served

TOKENS = 8
_PREFIXES = 8
_PATHS = (CHAT, CHAT, "/v1/messages", "/v1/responses", "/v1/completions")
_COMMITS = ("content", "content", "headers", "complete")
# Whole answers, in the forms that differ in what they report.
_WHOLE = (
    "ok",
    "ok-vllm",
    "reasoning",
    "reasoning-vllm",
    "tool-call",
    "tool-call-vllm",
    "usage-last",
    "extra-keys",
    "no-done",
    "spliced",
)
# Answers that break after they reported something, or only their beginning.
_BREAKING = (
    "drop-mid-stream",
    "reset-mid-stream",
    "cut-mid-event",
    "error-event-mid",
    "bare-json-tail",
    "broken-json-event",
    "gave-up",
    "role-only-then-drop",
    "stall-mid-stream",
)
# Answers that report nothing.
_FAILING = ("503-cold", "429-capacity", "close", "reset", "error-json-200", "error-event-first")


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `leaves`: the client disconnects after as many seconds."""

    path: str
    body: bytes
    fields: tuple[bytes, ...]
    leaves: float | None


@dataclass(frozen=True, slots=True)
class Read:
    """What one client read, what the platform counted for the call, and how many attempts it took.

    `client` is None if the client left.
    """

    client: Told | None
    platform: Told
    attempts: int
    status: int


def traffic(seed: int, count: int) -> Iterator[Call]:
    """Yield random calls: whole, breaking and failing ones, by name, by list and by alias."""
    chance = random.Random(seed)
    for _ in range(count):
        path = chance.choice(_PATHS)
        body = {
            "model": _selector(chance),
            "stream": chance.random() < 0.7,
            **_prompt(chance, path),
        }
        fields = (b"X-Autopilot-Commit: " + chance.choice(_COMMITS).encode(),)
        # Between two tokens, so that the order of events at one time does not matter.
        leaves = TOKEN_DELAY * (chance.randrange(TOKENS) + 0.5) if chance.random() < 0.15 else None
        yield Call(path, json.dumps(body).encode(), fields, leaves)


def _selector(chance: random.Random) -> str:
    form = chance.random()
    if form < 0.2:
        return ALIAS
    if form < 0.5:
        return f"stub/{chance.choice((*_WHOLE, *_BREAKING, *_FAILING))}"
    first = chance.sample((*_FAILING, *_BREAKING), chance.randint(1, 2))
    return ",".join(f"stub/{each}" for each in (*first, chance.choice(_WHOLE)))


def _prompt(chance: random.Random, path: str) -> dict[str, Any]:
    """Return a prompt that often begins like an earlier one."""
    count = chance.randint(1, 3)
    topic = chance.randrange(12)
    said = [" ".join(f"{topic}-{part}-{word}" for word in range(20)) for part in range(count)]
    if path == "/v1/completions":
        return {"prompt": " ".join(said)}
    messages = [{"role": "user", "content": each} for each in said]
    return {"input" if path == "/v1/responses" else "messages": messages}


def router() -> Served:
    """Return a router whose feeds are not fetched again, which would cost most of the time."""
    return Served(
        tokens=TOKENS,
        prefixes=_PREFIXES,
        utilization_refresh_ms=3_600_000,
        models_refresh_ms=3_600_000,
    )


def make(served: Served, call: Call) -> Read:
    """Make one call and return its counts."""
    before, made = counted(served), len(served.stub.log)
    if call.leaves is not None:
        served.leave(call.leaves, call.body, *call.fields, path=call.path)
        client, status = None, 0
    else:
        answer = served.post(call.body, *call.fields, path=call.path)
        client, status = told(answer.body), answer.status
    return Read(client, counted(served) - before, len(served.stub.log) - made, status)


def counted(served: Served) -> Told:
    """Return the sum of the platform's counts for all models."""
    return sum((each.told for each in served.stub.ledger.accounts.values()), Told())
