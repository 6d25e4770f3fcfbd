"""Tests of the order of measurements."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.pace import Pace
from benchmarks.processes import ProcessError
from benchmarks.results import Measurement, Results
from benchmarks.rounds import Step, TimeLeft, run, steps
from benchmarks.scenarios import plan, table
from tests.benchmarks.runs import ONE

_EVEN = Pace(lambda: 1.0)
_ALL = ["direct", "autopilot", "nginx", "caddy", "litellm"]


class RoundsTests(SynchronousTestCase):
    """Interleaved rounds."""

    def test_order(self) -> None:
        """Every proxy is measured once before any is measured twice; some only once.

        What decides about a target is measured twice as often.
        """
        items = plan(table(), "^(unary-closed|unary-new|silent)/plain", _ALL, quick=False)
        todo = steps(items, 2)
        self.assertEqual(len({step.item.name for step in todo}), 11)
        self.assertEqual([step.round for step in todo], [1] * 11 + [2] * 8 + [3] * 4 + [4] * 4)
        self.assertEqual(todo[0].item.subject.label, "no proxy")

    def test_given_up(self) -> None:
        """A proxy that fails is left out from then on, with the reason in the report."""
        todo = steps(plan(table(), "^unary-new/plain", ["caddy", "nginx"], quick=False), 2)
        results, said = Results({}, {}), list[str]()

        def measure(step: Step) -> Measurement:
            if step.item.subject.proxy == "caddy":
                raise ProcessError("caddy ended")
            return ONE

        run(todo, measure, _EVEN, results, TimeLeft([1.0] * len(todo)), said.append)
        self.assertEqual(len(results.measurements), 1)  # what it made up has one round only
        self.assertEqual(len(results.problems), 1)
        self.assertIn("caddy ended", results.problems[0])
        self.assertEqual(len(said), 3)

    def test_disturbed(self) -> None:
        """A disturbed measurement is repeated, and the better one is kept."""
        todo = steps(plan(table(), "^unary-new/plain", ["caddy", "nginx"], quick=False), 1)
        paces = [1.0] * 30 + [1.0, 1.5, 1.0, 1.0, 1.0, 1.1]
        results, measured = Results({}, {}), list[str]()

        def measure(step: Step) -> Measurement:
            measured.append(step.item.subject.proxy)
            return replace(ONE, subject=measured[-1], units=len(measured))

        pace = Pace(lambda: paces.pop(0))
        run(todo, measure, pace, results, TimeLeft([1.0, 1.0]), lambda line: None)
        self.assertEqual(measured, ["nginx", "caddy", "nginx"])
        self.assertEqual(
            [(each.subject, each.units, each.slowdown) for each in results.measurements],
            [("nginx", 3, 1.1), ("caddy", 2, 1.0)],
        )

    def test_no_end_of_disturbance(self) -> None:
        """On a core that is always disturbed, half of the measurements are repeated."""
        todo = steps(plan(table(), "^unary-new/plain", _ALL[:4], quick=False), 1)
        now, slept = [1.0], list[float]()
        pace = Pace(lambda: now[0], slept.append)
        now[0], results = 2.0, Results({}, {})
        times = 0

        def measure(step: Step) -> Measurement:
            nonlocal times
            times += 1
            return replace(ONE, subject=step.item.subject.label)

        run(todo, measure, pace, results, TimeLeft([1.0] * 4), lambda line: None)
        self.assertEqual((times, len(results.measurements)), (6, 4))
        self.assertLess(sum(slept), 20.0)

    def test_time_left(self) -> None:
        """The estimate is corrected by the duration of the finished parts."""
        now = [0.0]
        left = TimeLeft([1.0, 1.0, 2.0], clock=lambda: now[0])
        self.assertEqual(left.after(0), 4.0)
        now[0] = 3.0
        self.assertEqual(left.after(1), 9.0)
