"""The table of surviving mutants, and the judgement of a run."""

from __future__ import annotations

import ast
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.mutation.survivors import Mutant, by_module, judge, listed, results, shown, survived

_LIST = Path(__file__).with_name("survivors.md")
_CODE = Path(__file__).parents[3] / "autopilot"
_DIFF = """--- autopilot/routing/plan.py
+++ autopilot/routing/plan.py
@@ -1,3 +1,3 @@
 def pick(remaining):
-    return remaining[0]
+    return  remaining[1]
"""
_RESULTS = """\
    autopilot.routing.plan.x_pick__mutmut_1: killed
    autopilot.routing.plan.x_pick__mutmut_2: survived
    autopilot.routing.plan.x_pick__mutmut_3: no tests
    autopilot.routing.plan.xǁPlanǁwhy__mutmut_1: not checked
    autopilot.routing.suggest.x_close__mutmut_1: timeout
"""


class SurvivorTests(SynchronousTestCase):
    """Parsing of mutants and of the table, and the judgement of a run."""

    def test_names(self) -> None:
        """A mutant is identified by function and line, not by a number that shifts."""
        self.assertEqual(
            shown("autopilot.routing.plan.x_pick__mutmut_3", _DIFF),
            Mutant("plan.pick", "return remaining[1]"),
        )
        self.assertEqual(Mutant("plan.Plan.why", "").module, "plan")
        self.assertEqual(
            shown("autopilot.routing.eligible.xǁEligibleModelsǁserving__mutmut_13", _DIFF).function,
            "eligible.EligibleModels.serving",
        )
        self.assertEqual(
            shown("autopilot.routing.plan.x__exists__mutmut_1", _DIFF).function, "plan._exists"
        )

    def test_judgement(self) -> None:
        """A run fails if too few mutants are killed, or if a survivor is not listed."""
        one, two = Mutant("plan.pick", "a"), Mutant("plan.pick", "b")
        self.assertTrue(judge(100, [one], [one]).good)
        self.assertFalse(judge(60, [one, two], [one, two]).good)
        self.assertFalse(judge(100, [one, two], [one]).good)
        self.assertFalse(judge(0, [], []).good)
        self.assertEqual(judge(100, [one], [one, two]).gone, [two])

    def test_results(self) -> None:
        """What was not run is no survivor; anything but killed is one."""
        statuses = results(_RESULTS)
        self.assertEqual(len(statuses), 5)
        names = [each.rpartition(".")[2] for each in survived(statuses)]
        self.assertEqual(names, ["x_pick__mutmut_2", "x_pick__mutmut_3", "x_close__mutmut_1"])
        self.assertEqual(list(by_module(statuses)), [("plan", 1, 3, 1), ("suggest", 0, 1, 0)])

    def test_list(self) -> None:
        """Every listed mutant has a reason, and its function exists."""
        known = listed(_LIST.read_text())
        self.assertGreater(len(known), 5)
        for mutant, reason in known.items():
            self.assertGreater(len(reason), 10, mutant)
            module, _, name = mutant.function.partition(".")
            (path,) = (
                each
                for folder in ("attestation", "routing")
                if (each := _CODE / folder / f"{module}.py").exists()
            )
            tree = ast.parse(path.read_text())
            kinds = ast.FunctionDef | ast.AsyncFunctionDef
            functions = {each.name for each in ast.walk(tree) if isinstance(each, kinds)}
            self.assertIn(name.rpartition(".")[2], functions, mutant)
