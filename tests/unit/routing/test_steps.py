"""Tests of computations in steps."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.steps import STEP, Steps, in_steps, result_of

MARKS = ("trial",)


class StepsTests(SynchronousTestCase):
    """Generators that pause."""

    def test_in_steps(self) -> None:
        """A pause comes after each full step, and no item is lost."""
        for size, pauses in ((0, 0), (STEP - 1, 0), (STEP, 1), (2 * STEP + 1, 2)):
            found = list(in_steps(range(size)))
            self.assertEqual([each for each in found if each is not None], list(range(size)))
            self.assertEqual(found.count(None), pauses)

    def test_result(self) -> None:
        """All steps are run for the result."""

        def steps() -> Steps[str]:
            yield
            yield
            return "done"

        self.assertEqual(result_of(steps()), "done")
