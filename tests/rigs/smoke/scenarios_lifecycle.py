"""Start and stop of the process: invalid settings, and SIGTERM during a stream."""

from __future__ import annotations

import json
import signal

from tests.rigs.smoke.client import Exchange, get, refused
from tests.rigs.smoke.processes import RouterProcess
from tests.rigs.smoke.scenario import Scenario
from tests.rigs.smoke.served import SELECTED, expect_relayed
from tests.rigs.smoke.stage import Stage, completion
from tests.rigs.smoke.waiting import until

SLOW, STALLING = "stub/slow", "stub/stall-mid-stream"
BAD_SETTINGS = {"COMMIT": "half", "MAX_ATTEMPTS": "none"}
_FIRST_TOKEN = b"Served by"


def _bad_settings(stage: Stage) -> None:
    """Check for one line per invalid value and status 1, before the router listens."""
    with stage.own_router(stage.bench.stub, BAD_SETTINGS, wait=False) as router:
        stage.expect("exit status", router.wait(), 1)
        lines = router.output().decode().splitlines()
        names = [line.removeprefix("autopilot: ").partition(":")[0] for line in lines]
        stage.expect("the lines", sorted(names), ["COMMIT", "MAX_ATTEMPTS"])
        stage.expect("the port is closed", refused(router.port), True)


def _drain(stage: Stage) -> None:
    """Check that the router becomes unready, then closes its port, and completes the stream."""
    with stage.own_router(stage.bench.stub, {"DRAIN_DELAY_MS": "700"}) as router:
        stream = _start_stream(stage, router, SLOW)
        router.signal(signal.SIGTERM)
        page = stage.end(until("/readyz says draining", lambda: _draining(router)))
        stage.expect("readyz", (page.status, page.code), (503, "draining"))
        until("the port is closed", lambda: refused(router.port))
        ended = [each["ended"] for each in stage.bench.stub.calls()]
        stage.expect("the stream's end is still to come", ended, [False])
        reply = stage.end(stream)
        stage.expect("end mark", reply.body.endswith(b"data: [DONE]\n\n"), True)
        expect_relayed(stage, reply, SLOW, stream=True)
        stage.expect("exit status", router.wait(), -signal.SIGTERM)


def _drain_cut(stage: Stage) -> None:
    """Check that a stream which outlasts the drain ends with an error event."""
    with stage.own_router(stage.bench.stub, {"DRAIN_TIMEOUT_MS": "300"}) as router:
        stream = _start_stream(stage, router, STALLING)
        router.signal(signal.SIGTERM)
        reply = stage.end(stream)
        stage.expect("status", reply.status, 200)
        stage.expect("a clean end", reply.clean, False)
        (call,) = stage.expect_calls(STALLING)
        sent = stage.bench.replay.body(call)
        stage.expect("what was sent came first", reply.body[: len(sent)] == sent, True)
        error = json.loads(reply.body[len(sent) :].removeprefix(b"data: "))["error"]
        stage.expect("error.code of the last event", error["code"], "upstream_stream_interrupted")
        stage.expect("exit status", router.wait(), -signal.SIGTERM)


def _start_stream(stage: Stage, router: RouterProcess, model: str) -> Exchange:
    """Start a stream and read its first token."""
    router.wait_ready()
    body = completion(f"{model},stub/ok", stream=True)
    stream = stage.begin(body, router=router)
    reply = stream.read_until(_FIRST_TOKEN)
    stage.expect(SELECTED, reply.header(SELECTED), model)
    return stream


def _draining(router: RouterProcess) -> Exchange | None:
    exchange = get(router.port, "/readyz")
    return exchange if exchange.finish().code == "draining" else None


def _nothing_secret(stage: Stage) -> None:
    """Check that the router's logs of the whole run contain no token and no traceback."""
    logs = sorted(stage.bench.folder.glob("router*.log"))
    stage.expect("there are logs", bool(logs), True)
    for log in logs:
        written = log.read_bytes()
        stage.expect(f"a token in {log.name}", stage.bench.vault.found_in(written), False)
        bad = [word for word in (b"Traceback", b"Unhandled") if word in written]
        stage.expect(f"mistakes in {log.name}", bad, [])


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("bad settings are refused", _bad_settings),
    Scenario("SIGTERM, a stream is finished", _drain),
    Scenario("SIGTERM, a stream is cut in time", _drain_cut),
    Scenario("logs hold no token and no traceback", _nothing_secret),
)
