"""Checks that apply to every relayed response."""

from __future__ import annotations

import hashlib

from tests.rigs.smoke.client import Reply
from tests.rigs.smoke.stage import Stage, completion

SELECTED = "x-chutes-autopilot-selected"
ATTEMPTS = "x-chutes-autopilot-attempts"


def expect_relayed(
    stage: Stage, reply: Reply, *models: str, stream: bool, status: int = 200, direct: bool = False
) -> None:
    """Expect the last model's response, byte for byte, after an attempt on each earlier model."""
    calls = stage.expect_calls(*models)
    stage.expect("status", reply.status, status)
    stage.expect("a clean end", reply.clean, True)
    expect_headers(stage, reply, *models, direct=direct)
    for call in calls:
        sent = completion(call["model"], stream=stream)
        stage.expect("sha256 of the request upstream", call["body_sha256"], _sha256(sent))
    if calls and status == 200:
        kind = "text/event-stream" if stream else "application/json"
        stage.expect("content-type", reply.header("content-type"), kind)
    if calls:
        expected = stage.bench.replay.body(calls[-1])
        given = reply.body if status < 400 else _without_error(reply.body)
        stage.expect("sha256 of the response", _sha256(given), _sha256(expected))


def _without_error(body: bytes) -> bytes:
    """Return an error of the platform without the `error` that the router adds for SDKs."""
    before, found, _ = body.partition(b',"error":{"type":')
    return before + b"}" if found and before.startswith(b'{"detail":') else body


def expect_headers(stage: Stage, reply: Reply, *models: str, direct: bool = False) -> None:
    """Expect the headers with model and attempts, except for a direct request."""
    selected, attempts = (None, None) if direct else (models[-1], str(len(models)))
    stage.expect(SELECTED, reply.header(SELECTED), selected)
    stage.expect(ATTEMPTS, reply.header(ATTEMPTS), attempts)


def expect_refusal(stage: Stage, reply: Reply, status: int, code: str) -> None:
    """Expect an error of the router in OpenAI's format."""
    stage.expect("status", reply.status, status)
    stage.expect("error.code", reply.code, code)
    stage.expect("a clean end", reply.clean, True)
    stage.expect("content-type", reply.header("content-type"), "application/json")
    error = reply.json()["error"]
    stage.expect("members", sorted(error), ["code", "message", "param", "type"])
    kind = "invalid_request_error" if status < 500 else "server_error"
    stage.expect("error.type", error["type"], kind)


def expect_reasons(stage: Stage, before: dict[str, int], *reasons: str) -> None:
    """Expect exactly these failovers to have been counted since `before`."""
    after = stage.bench.router.failovers()
    counted = {name: count - before.get(name, 0) for name, count in after.items()}
    expected = {name: reasons.count(name) for name in reasons}
    stage.expect("failover reasons", {k: v for k, v in counted.items() if v}, expected)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
