"""Tests of the supervision of workers, on a clock of its own."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from autopilot.service.supervisor import (
    DRAIN_MARGIN,
    LONGEST_PAUSE,
    READY_WITHIN,
    SETTLED_AFTER,
    Supervisor,
)

_DRAIN = 100.0


class FakeChild:
    """A process that notes each instruction."""

    def __init__(self, number: int, pid: int) -> None:
        self.number = number
        self.pid = pid
        self.heartbeat = 1
        self.told: list[str] = []

    def drain(self, in_haste: bool) -> None:
        """See `Child`."""
        self.told.append("drain in haste" if in_haste else "drain")

    def announce_drain(self) -> None:
        """See `Child`."""
        self.told.append("announced")

    def kill(self) -> None:
        """See `Child`."""
        self.told.append("kill")


class SupervisorTestCase(SynchronousTestCase):
    """Three workers."""

    def setUp(self) -> None:
        """Start them."""
        self.observer = EventLoggingObserver()
        globalLogPublisher.addObserver(self.observer)
        self.addCleanup(globalLogPublisher.removeObserver, self.observer)
        self.clock = Clock()
        self.launched: list[FakeChild] = []
        self.failing = False
        self.became_ready = 0
        self.supervisor = Supervisor(
            self.clock, 3, self.launch, lambda: _DRAIN, self.note_that_it_is_ready
        )
        self.supervisor.start()

    def launch(self, number: int) -> FakeChild:
        """Start a process."""
        if self.failing:
            raise OSError(11, "no process left")
        child = FakeChild(number, 100 + len(self.launched))
        self.launched.append(child)
        return child

    def note_that_it_is_ready(self) -> None:
        """Count the reports of readiness."""
        self.became_ready += 1

    def all_ready(self) -> None:
        """Let every process that runs become ready."""
        for each in tuple(self.launched):
            self.supervisor.ready(each)

    def pass_seconds(self, seconds: float, *held: FakeChild) -> None:
        """Let time pass, in which the reactors of all but the ``held`` processes run."""
        for _ in range(round(seconds * 2)):
            for each in self.launched:
                if each not in held:
                    each.heartbeat += 1
            self.clock.advance(0.5)

    def states(self) -> list[str]:
        """Return each process as its number, its id and its state."""
        return [f"{each.number}:{each.pid} {each.state}" for each in self.supervisor.states()]

    def logged(self, part: str) -> int:
        """Return how many messages contain ``part``."""
        return sum(part in (formatEvent(event) or "") for event in self.observer)


class ReplacementTests(SupervisorTestCase):
    """Workers that end unexpectedly."""

    def test_start(self) -> None:
        """All start at once; the first that is ready is reported, and no other."""
        self.assertEqual(self.states(), ["0:100 starting", "1:101 starting", "2:102 starting"])
        self.supervisor.ready(self.launched[1])
        self.assertEqual(self.became_ready, 1)
        self.all_ready()
        self.assertEqual(self.became_ready, 1)
        self.assertEqual(self.supervisor.serving, 3)

    def test_back_off(self) -> None:
        """The first replacement starts at once, further ones after doubling pauses."""
        self.all_ready()
        pauses = []
        for _ in range(8):
            began = self.clock.seconds()
            self.supervisor.ended(self.launched[-1], "was killed by SIGKILL")
            count = len(self.launched)
            self.clock.advance(0)
            while len(self.launched) == count:
                self.clock.advance(0.5)
            pauses.append(self.clock.seconds() - began)
        self.assertEqual(pauses, [0, 1, 2, 4, 8, 16, LONGEST_PAUSE, LONGEST_PAUSE])
        self.assertEqual(self.supervisor.deaths, 8)
        self.assertEqual({each.number for each in self.launched[3:]}, {2})
        self.assertEqual(self.logged("was killed by SIGKILL; its connections are cut; another"), 1)
        self.assertEqual(self.logged("another starts in 30 s"), 2)

    def test_settled(self) -> None:
        """A worker that has lived for a minute is replaced at once again."""
        for _ in range(4):
            self.supervisor.ended(self.launched[-1], "ended")
            self.pass_seconds(LONGEST_PAUSE)
        self.pass_seconds(SETTLED_AFTER)
        count = len(self.launched)
        self.supervisor.ended(self.launched[-1], "ended")
        self.clock.advance(0)
        self.assertEqual(len(self.launched), count + 1)

    def test_cannot_start(self) -> None:
        """A process that the system refuses is tried again, with the same pauses."""
        self.failing = True
        self.supervisor.ended(self.launched[0], "ended")
        self.clock.advance(0)
        self.assertEqual(self.logged("could not be started: no process left"), 1)
        self.failing = False
        self.clock.advance(1)
        self.assertEqual(self.states()[0], "0:103 starting")

    def test_never_ready(self) -> None:
        """One whose reactor runs, but which does not serve, is killed once, and replaced."""
        self.supervisor.ready(self.launched[0])
        self.supervisor.ready(self.launched[1])
        self.pass_seconds(READY_WITHIN - 2)
        self.assertEqual([each.told for each in self.launched], [[], [], []])
        self.pass_seconds(10)
        self.assertEqual([each.told for each in self.launched], [[], [], ["kill"]])
        self.assertEqual(self.logged("did not begin to serve in its time"), 1)
        self.supervisor.ended(self.launched[2], "was killed by SIGKILL")
        self.clock.advance(0)
        self.assertEqual(self.states()[2], "2:103 starting")

    def test_unknown(self) -> None:
        """What is reported of a process that has ended changes nothing."""
        gone = self.launched[0]
        self.supervisor.ended(gone, "ended")
        self.supervisor.ended(gone, "ended")
        self.supervisor.ready(gone)
        self.assertEqual(self.supervisor.deaths, 1)
        self.assertEqual(self.became_ready, 0)


class RollTests(SupervisorTestCase):
    """Rolling restarts."""

    def test_one_after_the_other(self) -> None:
        """Each successor is ready before its predecessor ends; then the next is started."""
        self.all_ready()
        self.supervisor.roll()
        old = self.launched[:3]
        for number in range(3):
            self.assertEqual(len(self.launched), 4 + number)
            self.assertEqual([each.told for each in old[number:]], [[]] * (3 - number))
            self.supervisor.ready(self.launched[-1])
            self.assertEqual(old[number].told, ["drain"])
        self.assertEqual(self.supervisor.rolls, 1)
        self.assertEqual(
            self.states(),
            [
                *("0:103 ready", "0:100 draining", "1:104 ready", "1:101 draining"),
                *("2:105 ready", "2:102 draining"),
            ],
        )
        for each in old:
            self.supervisor.ended(each, "ended")
        self.assertEqual(self.states(), ["0:103 ready", "1:104 ready", "2:105 ready"])
        self.assertEqual(self.supervisor.deaths, 0)

    def test_again(self) -> None:
        """A roll during another follows it, once, as soon as nothing drains any more."""
        self.all_ready()
        for _ in range(3):
            self.supervisor.roll()
        for _ in range(3):
            self.supervisor.ready(self.launched[-1])
        self.assertEqual(len(self.launched), 6)
        for each in self.launched[:3]:
            self.supervisor.ended(each, "ended")
        self.assertEqual(len(self.launched), 7)
        self.assertEqual(self.logged("they are restarted again after that"), 1)
        for _ in range(3):
            self.supervisor.ready(self.launched[-1])
        for each in self.launched[3:6]:
            self.supervisor.ended(each, "ended")
        self.assertEqual((len(self.launched), self.supervisor.rolls), (9, 2))

    def test_successor_fails(self) -> None:
        """A successor that does not start ends the roll; the old workers go on."""
        self.all_ready()
        self.supervisor.roll()
        self.supervisor.ended(self.launched[-1], "ended with status 1")
        self.pass_seconds(2 * LONGEST_PAUSE)
        self.assertEqual(self.states(), ["0:100 ready", "1:101 ready", "2:102 ready"])
        self.assertEqual(self.logged("are not restarted, because"), 1)
        self.failing = True
        self.supervisor.roll()
        self.assertEqual(self.logged("could not be started"), 1)
        self.failing = False
        self.supervisor.roll()
        self.assertEqual(self.states()[1], "0:103 starting".replace("103", "104"))

    def test_predecessor_dies(self) -> None:
        """A worker that dies while its successor starts is replaced by that one."""
        self.all_ready()
        self.supervisor.roll()
        self.supervisor.ended(self.launched[0], "was killed by SIGKILL")
        self.pass_seconds(LONGEST_PAUSE)
        self.assertEqual(len(self.launched), 4)
        self.supervisor.ready(self.launched[3])
        self.assertEqual(self.states()[0], "0:103 ready")
        self.assertEqual(self.supervisor.deaths, 1)

    def test_both_die(self) -> None:
        """If both die, the place is filled again."""
        self.all_ready()
        self.supervisor.roll()
        self.supervisor.ended(self.launched[0], "was killed by SIGKILL")
        self.supervisor.ended(self.launched[3], "was killed by SIGKILL")
        self.pass_seconds(2)
        self.assertEqual(self.states()[0], "0:104 starting")

    def test_not_running(self) -> None:
        """A worker that waits for its next start is new anyway."""
        self.all_ready()
        for _ in range(2):
            self.supervisor.ended(self.launched[-1], "ended")
            self.clock.advance(0)
        self.supervisor.roll()
        self.supervisor.ready(self.launched[-1])
        self.supervisor.ready(self.launched[-1])
        self.assertEqual(self.supervisor.rolls, 1)


class StopTests(SupervisorTestCase):
    """The end of the router."""

    def test_stop(self) -> None:
        """Workers learn of it, then drain; it is over when the last has ended."""
        self.all_ready()
        self.supervisor.announce_drain()
        self.supervisor.roll()
        stopped = self.supervisor.stop()
        self.assertEqual([each.told for each in self.launched], [["announced", "drain"]] * 3)
        for each in self.launched:
            self.assertNoResult(stopped)
            self.supervisor.ended(each, "ended")
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual((len(self.launched), self.supervisor.deaths), (3, 0))

    def test_in_haste(self) -> None:
        """A drain in progress can be hurried."""
        self.all_ready()
        stopped = self.supervisor.stop()
        self.supervisor.stop(in_haste=True)
        self.assertEqual([each.told[-1] for each in self.launched], ["drain in haste"] * 3)
        self.pass_seconds(DRAIN_MARGIN + 1)
        self.assertEqual([each.told[-1] for each in self.launched], ["kill"] * 3)
        for each in self.launched:
            self.supervisor.ended(each, "was killed by SIGKILL")
        self.successResultOf(stopped)

    def test_too_long(self) -> None:
        """One that does not end in the drain time and a margin is killed, once."""
        self.all_ready()
        self.supervisor.stop()
        self.pass_seconds(_DRAIN + DRAIN_MARGIN - 1)
        self.assertEqual(self.launched[0].told[-1], "drain")
        self.pass_seconds(5)
        self.assertEqual(self.launched[0].told.count("kill"), 1)

    def test_nothing_runs(self) -> None:
        """Without a process it is over at once, also if one was to be started again."""
        for each in tuple(self.launched):
            self.supervisor.ended(each, "ended")
        self.successResultOf(self.supervisor.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_while_rolling(self) -> None:
        """A successor that is starting ends as well, and none follows it."""
        self.all_ready()
        self.supervisor.roll()
        self.supervisor.roll()
        stopped = self.supervisor.stop()
        for each in tuple(self.launched):
            self.supervisor.ended(each, "ended")
        self.successResultOf(stopped)
        self.assertEqual(len(self.launched), 4)
        self.assertEqual(self.logged("are not restarted"), 0)
