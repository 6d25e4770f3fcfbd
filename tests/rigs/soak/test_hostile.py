"""The soak with hostile clients: its mix, its judge, and a short run that judges no time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.hold.families import INPUTS
from tests.rigs.smoke.processes import ROOT
from tests.rigs.soak.hostile import MIX, Phase, judge, mix_of, percentile


def _phase(name: str, *latencies: float, hostile: int = 1) -> Phase:
    return Phase(name, list(latencies) * 100, requests=10, hostile=hostile)


class JudgeTests(SynchronousTestCase):
    """Two phases."""

    def test_within(self) -> None:
        """The p99 may be twice the one without hostile clients, plus 50 ms."""
        self.assertEqual(judge(_phase("alone", 10.0), _phase("beside", 70.0)), [])

    def test_slower(self) -> None:
        """A larger p99 is reported with its limit."""
        self.assertEqual(
            judge(_phase("alone", 10.0), _phase("beside", 70.1)),
            ["the p99 of the added latency is 70.1 ms, more than 70.0 ms"],
        )

    def test_one_of_many(self) -> None:
        """Less than one sample in a hundred does not matter."""
        beside = _phase("beside", 1.0)
        beside.latencies += [500.0]
        self.assertEqual(judge(_phase("alone", 1.0), beside), [])

    def test_failures(self) -> None:
        """A failed honest request is reported, in either phase."""
        alone, beside = _phase("alone", 1.0), _phase("beside", 1.0)
        alone.failures.append("a")
        beside.failures.append("b")
        self.assertEqual(judge(alone, beside), ["alone: a", "beside: b"])

    def test_nothing_measured(self) -> None:
        """Phases without samples, or without hostile clients, prove nothing."""
        found = judge(Phase("alone"), Phase("beside"))
        self.assertEqual(
            found,
            [
                "alone: only 0 samples",
                "beside: only 0 samples",
                "beside: no hostile input was played",
            ],
        )

    def test_percentile(self) -> None:
        """The percentile is one of the values."""
        self.assertEqual(percentile([], 0.99), 0.0)
        self.assertEqual(percentile([3.0, 1.0, 2.0], 0.5), 2.0)
        self.assertEqual(percentile(list(map(float, range(100))), 0.99), 99.0)

    def test_text(self) -> None:
        """A phase is described by its figures."""
        self.assertEqual(
            str(_phase("alone", 1.0, 2.0)),
            "alone: 10 honest requests, 1 hostile inputs; added latency p50 2.0 ms, p99 2.0 ms,"
            " longest 2.0 ms; 0 failures",
        )


class MixTests(SynchronousTestCase):
    """The inputs of the hostile clients."""

    def test_exists(self) -> None:
        """Every input of the mix exists and is played on the router's own channel."""
        numbers, shares = mix_of(INPUTS)
        self.assertEqual([INPUTS[number].title for number in numbers], list(MIX))
        self.assertTrue(all("own" in INPUTS[number].setups for number in numbers))
        self.assertTrue(all(share > 0 for share in shares))


class RunTests(SynchronousTestCase):
    """The command."""

    def test_short_run(self) -> None:
        """Both phases have samples, and hostile inputs were played."""
        if not Path("/proc/self/schedstat").exists():
            raise SkipTest("the processes of the hold suite need /proc")
        folder = Path(self.mktemp()).absolute()
        command = [sys.executable, "-m", "tests.rigs.soak", "--hostile", "--seconds", "2"]
        done = subprocess.run(
            [*command, "--seed", "7", "--logs", str(folder)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        self.assertIn(done.returncode, (0, 1), done.stdout + done.stderr)
        found = re.findall(r": (\d+) honest requests, (\d+) hostile inputs", done.stdout)
        (alone, none), (beside, some) = found
        self.assertEqual(none, "0", done.stdout)
        self.assertGreater(min(int(alone), int(beside), int(some)), 0, done.stdout)
