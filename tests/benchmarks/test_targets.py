"""Tests of the targets."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.scenarios import (
    PRIVATE_STREAM,
    PRIVATE_UNARY,
    WORKERS_STREAM,
    WORKERS_UNARY,
)
from benchmarks.targets import Verdict, verdicts
from benchmarks.worker_probes import CONFINED, FURTHER_WORKER
from tests.benchmarks.runs import ONE, run


def first(**cpu: tuple[float, ...]) -> Verdict:
    """Return the verdict on unary requests over a plain upstream."""
    return verdicts(run(**cpu))[0]


class TargetTests(SynchronousTestCase):
    """Targets and medians."""

    def test_medians_decide(self) -> None:
        """The median decides; a value at the limit is reached, one above is missed."""
        peers = {"caddy": (0.1, 0.1, 0.1), "nginx": (0.025,) * 3}
        self.assertTrue(first(autopilot=(0.07, 0.085, 9.0), **peers).reached)
        verdict = first(autopilot=(0.07, 0.086, 0.2), **peers)
        self.assertFalse(verdict.reached)
        self.assertIn("0.86 × (86.0 against 100.0 µs); 3.44 × nginx", verdict.value)

    def test_not_measured(self) -> None:
        """Without both values the target is not measured."""
        self.assertIsNone(first(autopilot=(0.1,)).reached)
        self.assertIsNone(first(caddy=(0.1,)).reached)
        empty = verdicts(run())
        self.assertEqual({each.reached for each in empty}, {None})
        self.assertEqual({each.value for each in empty}, {"not measured"})

    def test_earlier_checkout(self) -> None:
        """No scenario may cost over 3 % more than in the earlier checkout, if one was measured."""
        name = "CPU against the earlier checkout: closed loop, plain upstream"
        for cost, reached in ((0.103, True), (0.104, False)):
            found = {each.measure: each for each in verdicts(run(autopilot=(cost,), before=(0.1,)))}
            self.assertIs(found[name].reached, reached)
        self.assertNotIn(name, {each.measure for each in verdicts(run(autopilot=(0.1,)))})

    def test_probes(self) -> None:
        """Single figures have an upper limit, the ratio to LiteLLM a lower one."""
        results = run()
        results.probes["stall"] = [40.0, 51.0, 60.0]
        results.probes["feed refresh"] = [5.0]
        found = {each.measure: each for each in verdicts(results)}
        self.assertFalse(found["stall when 500 clients leave"].reached)
        self.assertEqual(found["stall when 500 clients leave"].value, "51 ms")
        self.assertTrue(found["feed refresh, 540 records"].reached)

    def test_first_byte(self) -> None:
        """Added latency is the difference to the direct connection."""
        results = run()
        for name, value in (("direct", 100.0), ("autopilot", 300.0), ("caddy", 190.0)):
            results.probes[f"first byte, unary, {name}"] = [value]
        found = {each.measure: each for each in verdicts(results)}
        self.assertFalse(found["first byte added, idle, unary"].reached)
        self.assertFalse(found["p50 added, idle, unary"].reached)
        results.probes["first byte, unary, autopilot"] = [250.0]
        found = {each.measure: each for each in verdicts(results)}
        self.assertTrue(found["first byte added, idle, unary"].reached)
        self.assertTrue(found["p50 added, idle, unary"].reached)

    def test_workers(self) -> None:
        """A request or an event costs workers a tenth more than one process at most."""
        results = run()
        results.measurements += [
            replace(ONE, scenario=scenario, subject=subject, cpu=cpu)
            for scenario, costs in (
                (WORKERS_UNARY, {"autopilot": 0.1, "2-workers": 0.11, "4-workers": 0.12}),
                (WORKERS_STREAM, {"autopilot": 0.1, "2-workers": 0.09}),
            )
            for subject, cpu in ((f"{name}, alias", cost) for name, cost in costs.items())
        ]
        found = {each.measure: each for each in verdicts(results)}
        reached = {
            f"{unit}, {count} workers": found[
                f"CPU per {unit}, {count} workers on one core"
            ].reached
            for unit in ("unary request", "event")
            for count in (2, 4)
        }
        self.assertEqual(
            reached,
            {
                "unary request, 2 workers": True,
                "unary request, 4 workers": False,
                "event, 2 workers": True,
                "event, 4 workers": None,
            },
        )

    def test_private(self) -> None:
        """An event costs 25 µs more in private mode at most, and a request half a millisecond."""
        for scenario, unit, costs in (
            (PRIVATE_STREAM, "event", (0.0649, 0.0651)),
            (PRIVATE_UNARY, "request", (0.5399, 0.5401)),
        ):
            name = f"CPU per sealed {unit}, over a plain one"
            self.assertIsNone({v.measure: v.reached for v in verdicts(run())}[name])
            for cost, reached in zip(costs, (True, False), strict=True):
                results = run()
                results.measurements += [
                    replace(ONE, scenario=scenario, subject="autopilot, one model", cpu=0.04),
                    replace(ONE, scenario=scenario, subject="private, one model", cpu=cost),
                ]
                found = {each.measure: each for each in verdicts(results)}
                self.assertIs(found[name].reached, reached, cost)

    def test_figures_of_workers(self) -> None:
        """Two confined workers do 1.7 times the work of one; a further one has 45 MB at most."""
        name = "throughput of two workers, each confined to a fifth of a core"
        for two, reached in ((1700.0, True), (1690.0, False)):
            results = run()
            self.assertIsNone({v.measure: v.reached for v in verdicts(results)}[name])
            results.probes |= {CONFINED[1]: [1000.0], CONFINED[2]: [two], FURTHER_WORKER: [46.0]}
            found = {each.measure: each for each in verdicts(results)}
            self.assertIs(found[name].reached, reached)
            self.assertFalse(found["proportional memory of each further worker"].reached)
