"""A router with two workers: it serves through both, and replaces one that is killed."""

from __future__ import annotations

import os
import signal

from benchmarks.accounting import session_members
from tests.rigs.smoke.processes import RouterProcess
from tests.rigs.smoke.scenario import Scenario
from tests.rigs.smoke.served import expect_relayed
from tests.rigs.smoke.stage import Stage
from tests.rigs.smoke.waiting import until

WORKERS = 2


def _replaced(stage: Stage) -> None:
    """Check requests before and after the death of a worker, and the end of all processes."""
    with stage.own_router(stage.bench.stub, {"WORKERS": str(WORKERS)}) as router:
        first = _serving(router, WORKERS)
        router.wait_ready()
        stage.expect("workers", len(set(first)), WORKERS)
        _asked(stage, router)
        os.kill(first[0], signal.SIGKILL)
        again = _serving(router, WORKERS + 1)
        stage.expect("another process", again[-1] in first, False)
        for _ in range(WORKERS):
            _asked(stage, router)
        router.signal(signal.SIGTERM)
        stage.expect("exit status", router.wait(), -signal.SIGTERM)
        stage.expect("processes left", session_members(router.pid), [])


def _serving(router: RouterProcess, count: int) -> list[int]:
    """Return the processes that have begun to serve, once there are as many."""

    def look() -> list[int] | None:
        lines = (each.partition(" (process ") for each in router.output().decode().splitlines())
        found = [int(rest.partition(")")[0]) for _, _, rest in lines if ") serves" in rest]
        return found if len(found) >= count else None

    return until(f"{count} workers have served", look)


def _asked(stage: Stage, router: RouterProcess) -> None:
    """Check that a stream is relayed whole."""
    stage.bench.stub.reset()
    reply = stage.ask("stub/ok", stream=True, router=router)
    expect_relayed(stage, reply, "stub/ok", stream=True, direct=True)


SCENARIOS: tuple[Scenario, ...] = (Scenario("a killed worker is replaced", _replaced),)
