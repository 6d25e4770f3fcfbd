"""Failures before the first token, which are retried, and after it, which never are."""

from __future__ import annotations

import json
import time
from functools import partial

from tests.rigs.smoke.client import Reply
from tests.rigs.smoke.scenario import Scenario
from tests.rigs.smoke.served import expect_headers, expect_reasons, expect_relayed
from tests.rigs.smoke.stage import Stage

GOOD = "stub/ok"
# A retry that must not happen would appear in the stub's log within this time.
_A_MOMENT = 0.2


def _before(stage: Stage, failing: str, reason: str, *, stream: bool = True) -> None:
    """Check that another model answers: a stream fails before its first token, or JSON is cut."""
    before = stage.bench.router.failovers()
    reply = stage.ask(f"{failing},{GOOD}", stream=stream)
    expect_relayed(stage, reply, failing, GOOD, stream=stream)
    expect_reasons(stage, before, reason)


def _after(stage: Stage, failing: str, *, stream: bool, direct: bool) -> None:
    """Check that a truncated response ends uncleanly for the client, and is not retried."""
    selector = failing if direct else f"{failing},{GOOD}"
    reply = stage.ask(selector, stream=stream)
    stage.expect("status", reply.status, 200)
    stage.expect("a clean end", reply.clean, False)
    time.sleep(_A_MOMENT)
    calls = stage.expect_calls(failing)
    expect_headers(stage, reply, failing, direct=direct)
    sent = stage.bench.replay.body(calls[0])
    stage.expect("what was sent came first", reply.body[: len(sent)] == sent, True)
    if stream:
        _expect_error_event(stage, reply, sent)
    else:
        stage.expect("nothing was added", len(reply.body), len(sent))


def _expect_error_event(stage: Stage, reply: Reply, sent: bytes) -> None:
    event = reply.body[len(sent) :]
    stage.expect("the last event is whole", (event[:6], event[-2:]), (b"data: ", b"\n\n"))
    error = json.loads(event[6:])["error"]
    stage.expect("error.code of the last event", error["code"], "upstream_stream_interrupted")
    stage.expect("an end mark", b"[DONE]" in reply.body, False)


def _bare_tail(stage: Stage) -> None:
    """Check that an error the platform did not frame becomes an event that an SDK can parse."""
    model = "stub/bare-json-tail"
    reply = stage.ask(model, stream=True)
    stage.expect("status", reply.status, 200)
    calls = stage.expect_calls(model)
    sent = stage.bench.replay.body(calls[0])
    good = sent[: sent.rindex(b"\n\n") + 2]
    stage.expect("the events before it", reply.body[: len(good)] == good, True)
    events = reply.body[len(good) :].split(b"\n\n")
    stage.expect("the tail is an event", events[0].startswith(b"data: "), True)
    stage.expect("it is an error", "error" in json.loads(events[0][6:]), True)


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "list, cut before the first token",
        partial(_before, failing="stub/role-only-then-drop", reason="cut"),
    ),
    Scenario(
        "list, error before the first token",
        partial(_before, failing="stub/error-event-first", reason="error_event"),
    ),
    Scenario(
        "list, cut mid-stream: no retry",
        partial(_after, failing="stub/drop-mid-stream", stream=True, direct=False),
    ),
    Scenario(
        "list, reset mid-stream: no retry",
        partial(_after, failing="stub/reset-mid-stream", stream=True, direct=False),
    ),
    Scenario(
        "list, plain answer cut",
        partial(_before, failing="stub/drop-mid-stream", reason="cut", stream=False),
    ),
    Scenario(
        "direct, plain answer cut: no retry",
        partial(_after, failing="stub/drop-mid-stream", stream=False, direct=True),
    ),
    Scenario(
        "direct, cut mid-stream: no retry",
        partial(_after, failing="stub/drop-mid-stream", stream=True, direct=True),
    ),
    Scenario("direct, bare JSON error at the end", _bare_tail),
)
