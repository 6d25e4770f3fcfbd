"""Every state of `/readyz` that the feeds can cause."""

from __future__ import annotations

from tests.rigs.smoke.client import Exchange, get
from tests.rigs.smoke.processes import RouterProcess, StubProcess
from tests.rigs.smoke.scenario import Scenario
from tests.rigs.smoke.served import SELECTED, expect_refusal
from tests.rigs.smoke.stage import ALIAS, Stage
from tests.rigs.smoke.waiting import until

SETTINGS = {
    "MODELS_REFRESH_MS": "200",
    "UTILIZATION_REFRESH_MS": "200",
    "CONTROL_PLANE_TIMEOUT_MS": "400",
    "READYZ_MAX_SNAPSHOT_AGE_MS": "1500",
    "READYZ_MAX_ALLOWLIST_AGE_MS": "3000",
}


def _becomes(stage: Stage, router: RouterProcess, code: str | None) -> None:
    """Wait until `/readyz` responds with the code, and check its response."""

    def there() -> Exchange | None:
        exchange = get(router.port, "/readyz")
        return exchange if exchange.finish().code == code else None

    reply = stage.end(until(f"/readyz says {code or 'ready'}", there))
    stage.expect("readyz", (reply.status, reply.code), (200 if code is None else 503, code))
    stage.expect("both feeds are shown", sorted(reply.json()["feeds"]), ["catalog", "utilization"])
    if code is not None:
        stage.expect("error.type", reply.json()["error"]["type"], "not_ready")
        stage.expect("retry-after is given", reply.header("retry-after") is not None, True)


def _serves(stage: Stage, router: RouterProcess, stub: StubProcess) -> None:
    """Check that an alias is served in the current state of the feeds."""
    before = len(stub.calls())
    reply = stage.ask(ALIAS, stream=True, router=router)
    stage.expect("status", reply.status, 200)
    stage.expect("a clean end", reply.clean, True)
    called = [each["model"] for each in stub.calls()[before:]]
    stage.attempts = len(called)
    stage.expect("upstream calls", called, [reply.header(SELECTED)])


def _from_nothing(stage: Stage) -> None:
    """Check the code of each step while the feeds hang, fail, are empty, and finally work."""
    steps: tuple[tuple[dict[str, str], str | None], ...] = (
        ({"models": "empty"}, "allowlist_empty"),
        ({"models": "ok", "utilization": "500"}, "missing_snapshot"),
        # A feed without records counts as a failed refresh.
        ({"utilization": "empty"}, "missing_snapshot"),
        ({"utilization": "renamed"}, "snapshot_empty"),
        ({"utilization": "ok"}, None),
    )
    with stage.own_stub() as stub:
        stub.feeds(models="hang", utilization="hang")
        with stage.own_router(stub, SETTINGS) as router:
            _becomes(stage, router, "missing_allowlist")
            stage.expect("healthz", stage.page("/healthz", router).status, 200)
            early = stage.ask(ALIAS, stream=True, router=router)
            expect_refusal(stage, early, 503, "no_candidates")
            for modes, code in steps:
                stub.feeds(**modes)
                _becomes(stage, router, code)
            _serves(stage, router, stub)


def _stale_and_back(stage: Stage) -> None:
    """Check that a feed which fails too long makes the router unready, yet able to serve."""
    rounds = (
        ({"utilization": "500"}, "stale_snapshot"),
        ({"models": "garbage"}, "stale_allowlist"),
    )
    with stage.own_stub() as stub, stage.own_router(stub, SETTINGS) as router:
        _becomes(stage, router, None)
        for modes, code in rounds:
            stub.feeds(**modes)
            _becomes(stage, router, code)
            _serves(stage, router, stub)
            stub.reset()
            _becomes(stage, router, None)


def _platform_gone(stage: Stage) -> None:
    """Kill the stub and restart it on the same port: the router recovers on its own."""
    with stage.own_stub() as stub, stage.own_router(stub, SETTINGS) as router:
        _becomes(stage, router, None)
        stub.kill()
        _becomes(stage, router, "stale_snapshot")
        _becomes(stage, router, "stale_allowlist")
        gone = stage.ask("stub/ok", stream=True, router=router)
        expect_refusal(stage, gone, 502, "upstream_connect_error")
        stub.start()
        _becomes(stage, router, None)
        _serves(stage, router, stub)


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("readyz, from nothing to ready", _from_nothing),
    Scenario("readyz, stale and ready again", _stale_and_back),
    Scenario("readyz, platform killed and restarted", _platform_gone),
)
