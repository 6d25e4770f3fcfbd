"""Runs scenarios one after the other on one stub and one router, and stops both at the end."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tests.rigs.smoke import (
    report,
    scenarios_choice,
    scenarios_commit,
    scenarios_lifecycle,
    scenarios_readiness,
    scenarios_refusals,
    scenarios_workers,
)
from tests.rigs.smoke.processes import DiedError, RouterProcess, StubProcess
from tests.rigs.smoke.replay import Replay
from tests.rigs.smoke.scenario import Result, Scenario, not_played, play
from tests.rigs.smoke.stage import Bench, Stage
from tests.rigs.smoke.transcripts import Transcripts, Vault, slug
from tests.rigs.smoke.waiting import NeverHappenedError

# The last scenarios read the logs that the others made the router write.
SCENARIOS: tuple[Scenario, ...] = (
    *scenarios_choice.SCENARIOS,
    *scenarios_commit.SCENARIOS,
    *scenarios_refusals.SCENARIOS,
    *scenarios_readiness.SCENARIOS,
    *scenarios_workers.SCENARIOS,
    *scenarios_lifecycle.SCENARIOS,
)

STUB = ("--require-auth", "--token-delay-ms", "2")
# Deadlines are short where a scenario waits for one, and long elsewhere. Failures must not cool a
# model, because the next scenario uses it again.
ROUTER = {
    "MAX_REQUEST_BYTES": str(scenarios_refusals.LIMIT),
    "UPSTREAM_HEADER_TIMEOUT_MS": "800",
    "UPSTREAM_UNARY_TIMEOUT_MS": "800",
    "UPSTREAM_FIRST_BODY_BYTE_TIMEOUT_MS": "800",
    "COOLDOWN_FAILURES": "100",
    "UPSTREAM_POOL_IDLE_MS": "20000",
}


def run(scenarios: Sequence[Scenario], logs: Path, say: Callable[[str], None]) -> int:
    """Run the scenarios, print a table, write the report to `logs`; return the exit status."""
    started, clock = datetime.now(UTC), time.monotonic()
    folder = logs / started.strftime("%Y%m%dT%H%M%S.%fZ")
    width = max((len(each.name) for each in scenarios), default=0)
    say(report.heading(width))
    results: list[Result] = []
    try:
        with bench(folder) as shared:
            for number, scenario in enumerate(scenarios, start=1):
                results.append(_play_on(shared, folder, number, scenario))
                say(report.row(results[-1], width))
    except (DiedError, NeverHappenedError, OSError) as problem:
        say(f"the run was aborted: {problem}")
        results += [not_played(each, str(problem)) for each in scenarios[len(results) :]]
    seconds = time.monotonic() - clock
    latest = report.write(report.as_json(results, started, seconds), folder)
    say(f"\n{seconds:.1f} s; report in {latest}, transcripts in {folder}")
    say(report.closing(results))
    return report.exit_status(results)


def _play_on(shared: Bench, folder: Path, number: int, scenario: Scenario) -> Result:
    """Run one scenario with a reset stub and a client address that the router does not know."""
    where = folder / f"{number:02d}-{slug(scenario.name)}"
    shared.stub.reset()
    return play(scenario, Stage(shared, Transcripts(where, shared.vault)))


@contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    """Yield a stub and a ready router, which run in a temporary directory and log to `folder`."""
    vault = Vault()
    with tempfile.TemporaryDirectory(prefix="autopilot-smoke-") as name:
        work = Path(name)
        stub = StubProcess("stub", work, STUB)
        router = RouterProcess("router", work, stub.port, ROUTER)
        try:
            stub.start()
            router.start()
            router.wait_ready()
            yield Bench(work, stub, router, Replay(stub.arguments), vault)
        finally:
            router.kill()
            stub.kill()
            _keep_output(work, folder / "processes", vault)


def _keep_output(work: Path, folder: Path, vault: Vault) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for log in sorted(work.glob("*.log")):
        (folder / log.name).write_bytes(vault.redact(log.read_bytes()))
