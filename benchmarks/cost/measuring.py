"""Measurement of scenarios: one router per kind of counting and setup, a few rounds of windows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.certificates import issue
from benchmarks.cost.backend import Backend
from benchmarks.cost.client import Client
from benchmarks.cost.counting import Counting
from benchmarks.cost.router import Router
from benchmarks.cost.scenarios import JSON, Peers, Scenario, Setup
from benchmarks.cost.windows import Window, difference, per_unit, typical
from benchmarks.servers import Upstream


@dataclass(frozen=True, slots=True)
class _Round:
    """Numbers of the two windows of one round."""

    scenario: Scenario
    few: int
    many: int


def measure(counting: Counting, scenarios: Sequence[Scenario], python: str) -> dict[str, Window]:
    """Return the cost of one unit of each scenario. Raises `ProcessError` or `ResponseError`."""
    wanted = [each for each in scenarios if counting.records or each.setup is not JSON]
    performed = dict.fromkeys(each for one in wanted for each in (one, one.less) if each)
    costs: dict[Scenario, Window] = {}
    for setup in dict.fromkeys(each.setup for each in performed):
        there = [each for each in performed if each.setup == setup]
        costs |= _measure_setup(counting, setup, there, python)
    return {
        each.name: difference(costs[each], costs[each.less]) if each.less else costs[each]
        for each in wanted
    }


def _measure_setup(
    counting: Counting, setup: Setup, scenarios: Iterable[Scenario], python: str
) -> dict[Scenario, Window]:
    rounds: list[_Round] = []
    with TemporaryDirectory(prefix="autopilot-cost-") as name:
        folder = Path(name)
        certificates = issue(folder) if setup.tls else None
        tool = counting.tool(folder)
        with Backend(certificates, sealed=setup.private) as backend:
            upstream = Upstream(backend.port, certificates.authority if certificates else None)
            with Router(python, tool, setup, upstream, folder) as router:
                with Client(router.port) as client:
                    peers = Peers(client, backend)
                    for scenario in scenarios:
                        rounds += _run(counting, scenario, peers, router)
                router.stop()
                windows = counting.read(folder, router.reports)
    return _costs(rounds, windows, counting.more)


def _run(counting: Counting, scenario: Scenario, peers: Peers, router: Router) -> list[_Round]:
    scenario.perform(peers, counting.warmup)
    rounds = []
    for _ in range(counting.rounds):
        router.mark()
        scenario.perform(peers, counting.few)
        few = router.mark()
        scenario.perform(peers, counting.few + counting.more)
        rounds.append(_Round(scenario, few, router.mark()))
    return rounds


def _costs(
    rounds: Sequence[_Round], windows: Sequence[Window], units: int
) -> dict[Scenario, Window]:
    by_scenario: dict[Scenario, list[Window]] = {}
    for each in rounds:
        cost = per_unit(windows[each.few], windows[each.many], units)
        by_scenario.setdefault(each.scenario, []).append(cost)
    return {scenario: typical(costs) for scenario, costs in by_scenario.items()}
