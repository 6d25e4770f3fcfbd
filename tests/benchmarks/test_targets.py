"""Tests of the targets."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.targets import Verdict, verdicts
from tests.benchmarks.runs import run


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
