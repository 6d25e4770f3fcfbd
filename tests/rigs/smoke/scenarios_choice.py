"""The three ways to name a model, plain and streamed, and failover to the next model."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from tests.rigs.smoke.scenario import Scenario
from tests.rigs.smoke.served import (
    SELECTED,
    expect_headers,
    expect_reasons,
    expect_refusal,
    expect_relayed,
)
from tests.rigs.smoke.stage import ALIAS, Stage
from tests.rigs.smoke.waiting import until

FIRST, SECOND = "stub/ok", "stub/ok-vllm"


def _alias(stage: Stage, *, stream: bool) -> None:
    best = stage.bench.router.ranking()[0]
    expect_relayed(stage, stage.ask(ALIAS, stream=stream), best, stream=stream)


def _alias_failover(stage: Stage, *, stream: bool) -> None:
    best, second = stage.bench.router.ranking()[:2]
    stage.bench.stub.script(best, ["503-cold"])
    before = stage.bench.router.failovers()
    expect_relayed(stage, stage.ask(ALIAS, stream=stream), best, second, stream=stream)
    expect_reasons(stage, before, "status_503")


def _list(stage: Stage, *, stream: bool) -> None:
    reply = stage.ask(f" {FIRST} ,, {SECOND},{FIRST}", stream=stream)
    expect_relayed(stage, reply, FIRST, stream=stream)


def _direct(stage: Stage, *, stream: bool) -> None:
    expect_relayed(stage, stage.ask(SECOND, stream=stream), SECOND, stream=stream, direct=True)


def _failover(stage: Stage, *, failing: str, reason: str, stream: bool) -> None:
    """Check a list whose first model fails: the client receives the second model's response."""
    before = stage.bench.router.failovers()
    reply = stage.ask(f"{failing},{FIRST}", stream=stream)
    expect_relayed(stage, reply, failing, FIRST, stream=stream)
    expect_reasons(stage, before, reason)


def _abandoned(stage: Stage, *, failing: str, reason: str, stream: bool) -> None:
    """Check failover after a timeout, and that the router closed the first call."""
    _failover(stage, failing=failing, reason=reason, stream=stream)

    def aborted() -> bool:
        return bool(stage.bench.stub.calls()[0]["aborted"])

    stage.expect("the first call was closed", until("the call is closed", aborted), True)


def _lost(stage: Stage, *, stream: bool) -> None:
    """Check that a call lost on a reused connection is made once more on a new one.

    The upstream may have closed an idle connection just before the call. The client sees two
    attempts, the stub three calls.
    """
    stage.ask(FIRST, stream=False)
    stage.bench.stub.reset()
    before = stage.bench.router.failovers()
    failing = "stub/close"
    reply = stage.ask(f"{failing},{FIRST}", stream=stream)
    stage.expect("status", reply.status, 200)
    expect_headers(stage, reply, failing, FIRST)
    calls = stage.expect_calls(failing, failing, FIRST)
    stage.expect("the bytes sent", reply.body == stage.bench.replay.body(calls[-1]), True)
    expect_reasons(stage, before, "connection_lost")


def _all_fail(stage: Stage, *, stream: bool) -> None:
    """Check that the client receives the last response, unchanged, if every model fails."""
    models = ("stub/503-html", "stub/503-disabled")
    reply = stage.ask(",".join(models), stream=stream)
    expect_relayed(stage, reply, *models, stream=stream, status=503)


def _direct_failure(stage: Stage) -> None:
    model = "stub/503-cold"
    reply = stage.ask(model, stream=True)
    expect_relayed(stage, reply, model, stream=True, status=503, direct=True)


def _direct_timeout(stage: Stage) -> None:
    reply = stage.ask("stub/hang-head", stream=True)
    expect_refusal(stage, reply, 504, "upstream_header_timeout")
    stage.expect_calls("stub/hang-head")


def _returns(stage: Stage) -> None:
    """Check that the fallback serves during LIST_RETRY_MS, and the first choice afterwards.

    The client measures the time. It starts the clock before the router sees the failure, and reads
    it after the router responds, so the measured time is never too short.
    """
    retry_after = 0.8
    first, second = stage.bench.router.ranking()[2:4]
    with stage.own_router(stage.bench.stub, {"LIST_RETRY_MS": "800"}) as router:
        router.wait_ready()
        stage.bench.stub.script(first, ["503-cold"])
        began = time.monotonic()
        chosen: list[str | None] = []

        def back() -> bool:
            reply = stage.ask(f"{first},{second}", stream=False, router=router)
            stage.expect("status", reply.status, 200)
            chosen.append(reply.header(SELECTED))
            time.sleep(0.1)
            return chosen[-1] == first

        until("back on the first choice", back)
    stage.expect("the first answer is the fallback's", chosen[0], second)
    stage.expect("not before LIST_RETRY_MS", time.monotonic() - began >= retry_after, True)
    called = [each["model"] for each in stage.bench.stub.calls()]
    stage.attempts = len(called)
    stage.expect("upstream calls", called, [first, *chosen])


def _both(name: str, play: Callable[..., None], **fixed: str) -> tuple[Scenario, ...]:
    """Return a scenario for a plain call and one for a streamed call."""
    return tuple(
        Scenario(f"{name}, {kind}", partial(play, stream=kind == "streamed", **fixed))
        for kind in ("plain", "streamed")
    )


def _row(name: str, failing: str, reason: str) -> tuple[Scenario, ...]:
    return _both(f"list, {name}", _failover, failing=f"stub/{failing}", reason=reason)


def _timeout_row(name: str, failing: str, reason: str) -> tuple[Scenario, ...]:
    return _both(f"list, {name}", _abandoned, failing=f"stub/{failing}", reason=reason)


SCENARIOS: tuple[Scenario, ...] = (
    *_both("alias", _alias),
    *_both("list", _list),
    *_both("direct", _direct),
    *_both("alias, first model cold", _alias_failover),
    *_row("first model cold", "503-cold", "status_503"),
    *_both("list, connection lost before the head", _lost),
    *_row("response that is not HTTP", "malformed-head", "protocol_error"),
    *_row("capacity 429", "429-capacity", "capacity"),
    *_row("no target left 500", "500-exhausted", "status_500"),
    *_timeout_row("header timeout", "hang-head", "header_timeout"),
    *_timeout_row("first-byte timeout", "hang-first-byte", "first_body_byte_timeout"),
    *_both("list, all fail", _all_fail),
    Scenario("direct, 503 is the answer", _direct_failure),
    Scenario("direct, header timeout", _direct_timeout),
    Scenario("list, back to the first choice", _returns),
)
