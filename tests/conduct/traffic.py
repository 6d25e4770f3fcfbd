"""Random calls in all APIs, with breaks, failovers and clients that leave, for sums of tokens."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from autopilot.observability.records import Failover, RequestRecord
from stub_backend.ledger import Told, told
from tests.conduct.asking import ALIAS
from tests.conduct.served import CHAT, TOKEN_DELAY, Served

TOKENS = 8
_PREFIXES = 8
_PATHS = (CHAT, CHAT, "/v1/messages", "/v1/responses", "/v1/completions")
_COMMITS = ("content", "headers", "complete", "complete")
# Whole answers, in the forms that differ in what they report.
_WHOLE = (
    "ok",
    "ok-vllm",
    "reasoning",
    "reasoning-vllm",
    "tool-call",
    "tool-call-vllm",
    "usage-last",
    "usage-asked",
    "usage-asked-vllm",
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
    """What one client read, what platform and router counted for it by model, and the attempts.

    `client` is None if the client left.
    """

    client: Told | None
    platform: dict[str, Told]
    router: dict[str, Told]
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


def router(usage: str) -> Served:
    """Return a router whose feeds are not fetched again, which would cost most of the time."""
    return Served(
        tokens=TOKENS,
        prefixes=_PREFIXES,
        usage=usage,
        admin_listen_addr="-",
        utilization_refresh_ms=3_600_000,
        models_refresh_ms=3_600_000,
    )


def make(served: Served, call: Call) -> Read:
    """Make one call and return its counts."""
    before, made, recorded = counted(served), len(served.stub.log), len(served.records)
    if call.leaves is not None:
        served.leave(call.leaves, call.body, *call.fields, path=call.path)
        client, status = None, 0
    else:
        answer = served.post(call.body, *call.fields, path=call.path)
        client, status = told(answer.body), answer.status
    platform = {
        model: now - before.get(model, Told())
        for model, now in counted(served).items()
        if now != before.get(model, Told())
    }
    router = _recorded(served.records[recorded:])
    return Read(client, platform, router, len(served.stub.log) - made, status)


def counted(served: Served) -> dict[str, Told]:
    """Return the platform's counts by model."""
    accounts = served.stub.ledger.accounts
    return {model: each.told for model, each in accounts.items() if each.told != Told()}


def _recorded(records: Iterable[RequestRecord]) -> dict[str, Told]:
    """Return the counts by model in the router's records, failed attempts included."""
    sums: dict[str, Told] = {}
    for record in records:
        attempts: tuple[RequestRecord | Failover, ...] = (record, *record.failovers)
        for each in attempts:
            usage, model = each.usage, each.model
            if usage is not None and model is not None:
                tokens = [count or 0 for count in msgspec.structs.astuple(usage)]
                sums[model] = sums.get(model, Told()) + Told(*tokens)
    return sums


def metered(served: Served) -> dict[str, tuple[Told, float]]:
    """Return the tokens and the dollars by model on the router's page of metrics."""
    page = served.get("/metrics").body.decode()
    tokens: dict[str, dict[str, int]] = {}
    dollars: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for name, labels, value, *_ in family.samples:
            if name == "chutes_autopilot_tokens_total":
                tokens.setdefault(labels["model"], {})[labels["kind"]] = int(value)
            elif name == "chutes_autopilot_cost_dollars_total":
                dollars[labels["model"]] = value
    return {model: (Told(**each), dollars[model]) for model, each in tokens.items()}
