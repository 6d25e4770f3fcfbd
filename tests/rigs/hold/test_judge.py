"""The judge of the hold suite, and its limits."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.hold.client import Played
from tests.rigs.hold.input import KIB, MB, MIB, Input, hold_limit, memory_limit
from tests.rigs.hold.judge import Run, Verdict, exceeds, judge, needs_another
from tests.rigs.hold.probe import Observation

_INPUT = Input(family="bodies", name="x", request=bytes, answers=frozenset({400}))
_PLAYED = Played(sent=100, request=100, statuses=Counter({400: 1}))
_SEEN = Observation(held=10.0, wall=12.0, requests=100, processor=0.1, stolen=0.0, growth=KIB)


def _run(played: Played = _PLAYED, slowdown: float = 1.0, **seen: float) -> Run:
    return Run(played, replace(_SEEN, **seen), slowdown)  # type: ignore[arg-type]


def _verdict(*runs: Run, given: Input = _INPUT) -> Verdict:
    return judge(given, "own", runs).verdict


class LimitTests(SynchronousTestCase):
    """The limits of the measure."""

    def test_hold(self) -> None:
        """50 ms up to 4 MB, then 12 ms for each MB of the body."""
        self.assertEqual(hold_limit(0), 50)
        self.assertEqual(hold_limit(4 * MB), 50)
        self.assertEqual(hold_limit(4 * MB + 1), 50)
        self.assertGreater(hold_limit(5 * MB), 50)
        self.assertEqual(hold_limit(32 * MB), 384)
        self.assertEqual(hold_limit(0, 75.0), 125)

    def test_memory(self) -> None:
        """1 MiB for each 10 KiB or part of it, and for each client."""
        self.assertEqual(memory_limit(0, 1), MIB)
        self.assertEqual(memory_limit(10 * KIB, 1), MIB)
        self.assertEqual(memory_limit(10 * KIB + 1, 1), 2 * MIB)
        self.assertEqual(memory_limit(10 * KIB, 10), 10 * MIB)


class VerdictTests(SynchronousTestCase):
    """What each kind of run leads to."""

    def test_within(self) -> None:
        """Hold and memory at the limit are within it."""
        self.assertEqual(_verdict(_run(held=50.0, growth=MIB)), Verdict.OK)
        self.assertFalse(exceeds(_INPUT, _run(held=50.0, growth=MIB)))

    def test_held(self) -> None:
        """A hold over the limit fails, however long the response took by the clock."""
        self.assertEqual(_verdict(_run(held=50.1)), Verdict.HELD)
        self.assertEqual(_verdict(_run(held=49.9, wall=500.0)), Verdict.OK)
        self.assertTrue(exceeds(_INPUT, _run(held=50.1)))

    def test_memory(self) -> None:
        """The growth is judged for each client, or against the limit of the input."""
        self.assertEqual(_verdict(_run(growth=MIB + 1)), Verdict.MEMORY)
        self.assertEqual(_verdict(_run(growth=MIB + 1, held=51.0)), Verdict.HELD_AND_MEMORY)
        crowd = replace(_INPUT, connections=10)
        self.assertEqual(_verdict(_run(growth=10 * MIB), given=crowd), Verdict.OK)
        self.assertEqual(_verdict(_run(growth=10 * MIB + 1), given=crowd), Verdict.MEMORY)
        small = replace(_INPUT, memory=5)
        self.assertEqual(_verdict(_run(growth=6), given=small), Verdict.MEMORY)
        large = replace(_PLAYED, request=100 * KIB)
        self.assertEqual(_verdict(_run(large, growth=10 * MIB)), Verdict.OK)

    def test_best_of_several(self) -> None:
        """The shortest hold counts, and the largest growth."""
        runs = (_run(held=90.0), _run(held=30.0), _run(held=60.0))
        self.assertEqual(_verdict(*runs), Verdict.OK)
        row = judge(_INPUT, "own", runs)
        self.assertEqual((row.held, row.runs), (30.0, 3))
        self.assertEqual(_verdict(_run(growth=2 * MIB), _run(held=5.0)), Verdict.MEMORY)

    def test_stolen(self) -> None:
        """A hold that time taken by the hypervisor can explain is noise, a longer one is not."""
        self.assertEqual(_verdict(_run(held=70.0, stolen=20.0)), Verdict.NOISY)
        self.assertEqual(_verdict(_run(held=70.0, stolen=19.0)), Verdict.HELD)
        self.assertFalse(Verdict.NOISY.failed)

    def test_least_disturbed(self) -> None:
        """A run with a slow processor does not count beside one without."""
        slow, quiet = _run(held=30.0, slowdown=1.21), _run(held=60.0, slowdown=1.2)
        row = judge(_INPUT, "own", [slow, quiet])
        self.assertEqual((row.verdict, row.held, row.slowdown), (Verdict.HELD, 60.0, 1.2))
        row = judge(_INPUT, "own", [quiet, _run(held=40.0, slowdown=1.1)])
        self.assertEqual((row.verdict, row.held), (Verdict.OK, 40.0))
        row = judge(_INPUT, "own", [_run(held=30.0, slowdown=2.0), _run(held=60.0, slowdown=1.5)])
        self.assertEqual((row.verdict, row.slowdown), (Verdict.HELD, 1.5))

    def test_another(self) -> None:
        """What exceeds a limit is played again, and what is in doubt for a slow processor."""
        self.assertTrue(needs_another(_INPUT, _run(held=50.1)))
        self.assertTrue(needs_another(_INPUT, _run(growth=MIB + 1)))
        self.assertTrue(needs_another(_INPUT, _run(held=25.1, slowdown=1.21)))
        self.assertFalse(needs_another(_INPUT, _run(held=25.0, slowdown=3.0)))
        self.assertFalse(needs_another(_INPUT, _run(held=50.0, slowdown=1.2)))
        self.assertTrue(needs_another(_INPUT, Run(_PLAYED, None)))

    def test_foreign(self) -> None:
        """A hold of Twisted's own channel is shown as such; memory is judged all the same."""
        given = replace(_INPUT, foreign=("embedded",))
        for run, setup, verdict in (
            (_run(held=51.0), "embedded", Verdict.FOREIGN),
            (_run(held=51.0), "own", Verdict.HELD),
            (_run(held=51.0, growth=2 * MIB), "embedded", Verdict.MEMORY),
            (_run(held=49.0), "embedded", Verdict.OK),
        ):
            self.assertEqual(judge(given, setup, [run]).verdict, verdict)
        self.assertFalse(Verdict.FOREIGN.failed)

    def test_hung(self) -> None:
        """A router that does not respond fails, unless another run went well."""
        self.assertEqual(_verdict(Run(_PLAYED, None)), Verdict.HUNG)
        self.assertEqual(_verdict(Run(_PLAYED, None), _run()), Verdict.OK)
        self.assertTrue(exceeds(_INPUT, Run(_PLAYED, None)))

    def test_not_played(self) -> None:
        """An input that did not reach the code it is meant for proves nothing."""
        self.assertEqual(_verdict(_run(replace(_PLAYED, finished=False))), Verdict.NOT_FINISHED)
        other = Played(sent=100, request=100, statuses=Counter({400: 3, 401: 1}))
        self.assertEqual(_verdict(_run(other)), Verdict.OTHER_ANSWER)
        self.assertEqual(judge(_INPUT, "own", [_run(other)]).statuses, "400 × 3, 401 × 1")
        none = Played(sent=100, request=100, statuses=Counter({0: 1}))
        self.assertEqual(_verdict(_run(none)), Verdict.OTHER_ANSWER)
        anything = replace(_INPUT, answers=frozenset())
        self.assertEqual(_verdict(_run(none), given=anything), Verdict.OK)
