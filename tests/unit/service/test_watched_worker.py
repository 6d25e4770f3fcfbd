"""Tests of what the heartbeat of a worker says, as its supervisor looks at it."""

from __future__ import annotations

from autopilot.service.watched_worker import HELD_AFTER, KILLED_AFTER
from tests.unit.service.test_supervisor import SupervisorTestCase


class HoldTests(SupervisorTestCase):
    """Workers whose reactor does not run."""

    def test_reported_and_killed(self) -> None:
        """After ten seconds the log and the state say so; after sixty it is killed, once."""
        self.all_ready()
        held = self.launched[1]
        self.pass_seconds(HELD_AFTER - 1, held)
        self.assertEqual(self.logged("has been held"), 0)
        self.pass_seconds(3, held)
        self.assertEqual(self.logged("has been held"), 1)
        self.assertEqual(self.states()[1], "1:101 held")
        self.assertEqual((self.supervisor.holds, self.supervisor.serving), (1, 2))
        self.pass_seconds(KILLED_AFTER, held)
        self.assertEqual(held.told, ["kill"])
        self.supervisor.ended(held, "was killed by SIGKILL")
        self.clock.advance(0)
        self.assertEqual(self.states()[1], "1:103 starting")

    def test_runs_again(self) -> None:
        """One that runs again is not killed, and held again it is reported again."""
        self.all_ready()
        held = self.launched[1]
        for times in (1, 2):
            self.pass_seconds(KILLED_AFTER - 2, held)
            self.pass_seconds(2)
            self.assertEqual(self.logged("runs again, after 5"), times)
            self.assertEqual(self.supervisor.holds, times)
        self.assertEqual(held.told, [])

    def test_parent_was_held(self) -> None:
        """A pause of the parent is no pause of its workers."""
        self.all_ready()
        self.pass_seconds(2)
        for _ in range(3):
            self.clock.advance(10 * KILLED_AFTER)
        self.assertEqual([each.told for each in self.launched], [[], [], []])
        self.assertEqual(self.supervisor.holds, 0)

    def test_never_starts(self) -> None:
        """A process whose reactor never begins to run is killed, without being called held."""
        silent = self.launched[0]
        silent.heartbeat = 0
        self.pass_seconds(KILLED_AFTER - 2, silent)
        self.assertEqual(self.states()[0], "0:100 starting")
        self.pass_seconds(4, silent)
        self.assertEqual(silent.told, ["kill"])
        self.assertEqual(self.supervisor.holds, 0)
