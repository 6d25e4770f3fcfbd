"""Tests of plans with the models of other services, and of what is made of such a plan."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.candidate import Candidate, candidates_of
from autopilot.routing.candidate_queue import CandidateQueue
from autopilot.routing.eligible import NO_CANDIDATES_ERROR
from autopilot.routing.fallbacks import Fallbacks
from autopilot.routing.plan import Plan, at_platform, elsewhere
from autopilot.routing.router_error import RouterError
from autopilot.routing.selector import Mode
from autopilot.routing.why import Why

_OTHERS = Fallbacks.of((("x", ("m", "n"), "n"), ("y", ("m",), "m")))
_M = _OTHERS.candidates["@x/m"]
_RESORT = _OTHERS.resort
_A, _B = candidates_of(("a", "b"))
_NONE: frozenset[str] = frozenset()


class SideTests(SynchronousTestCase):
    """A plan without one of its sides."""

    def test_elsewhere(self) -> None:
        """What the list names comes first, then the last resort; without both there is nothing."""
        planned = Plan(Mode.LIST, (_A, _M, _B), True, resort=_RESORT)
        self.assertEqual(elsewhere(planned), Plan(Mode.LIST, (_M,), resort=_RESORT))
        only = elsewhere(Plan(Mode.LIST, (_A, _B), True, resort=_RESORT))
        self.assertEqual(only, Plan(Mode.LIST, _RESORT, resorted=True))
        assert only is not None
        self.assertEqual(only.why(_RESORT[0]), Why.LAST_RESORT)
        self.assertIsNone(elsewhere(Plan(Mode.LIST, (_A, _B))))

    def test_elsewhere_already(self) -> None:
        """A plan that has no other candidates stays as it is."""
        planned = Plan(Mode.DIRECT, (_M,))
        self.assertIs(elsewhere(planned), planned)
        sticky = Plan(Mode.LIST, (_M, _A), True)
        self.assertEqual(elsewhere(sticky), Plan(Mode.LIST, (_M,), True))

    def test_at_platform(self) -> None:
        """The others are left out, with the last resort; an error stays."""
        planned = Plan(Mode.LIST, (_A, _M, _B), True, resort=_RESORT)
        self.assertEqual(at_platform(planned), Plan(Mode.LIST, (_A, _B), True))
        moved = Plan(Mode.LIST, (_M, _A), True)
        self.assertEqual(at_platform(moved), Plan(Mode.LIST, (_A,)))
        self.assertIs(at_platform(NO_CANDIDATES_ERROR), NO_CANDIDATES_ERROR)
        resorted = Plan(Mode.ALIAS, _RESORT, resorted=True)
        self.assertIs(at_platform(resorted), NO_CANDIDATES_ERROR)
        error = at_platform(Plan(Mode.DIRECT, (_M,)))
        assert isinstance(error, RouterError)
        self.assertEqual((error.status, error.code), (400, "unknown_model"))
        self.assertIn("@x/m", error.message)


class QueueTests(SynchronousTestCase):
    """The last resort in the queue of candidates."""

    def taken(self, queue: CandidateQueue) -> list[Candidate]:
        """Take all."""
        found = []
        while not queue.exhausted:
            found.append(queue.take(_NONE))
        return found

    def test_order(self) -> None:
        """Behind all others, and behind those that are cooling."""
        self.assertEqual(self.taken(CandidateQueue((_A, _B), 8, _RESORT)), [_A, _B, *_RESORT])
        queue = CandidateQueue((_A, _B), 8, _RESORT)
        cooling = frozenset({"a", "b"})
        self.assertEqual([queue.take(cooling).model for _ in range(3)], ["a", "b", "@x/n"])

    def test_attempts(self) -> None:
        """The last attempts are kept for it, but not the first."""
        for most, expected in (
            (1, [_A]),
            (2, [_A, _RESORT[0]]),
            (3, [_A, *_RESORT]),
            (4, [_A, _B, *_RESORT]),
        ):
            self.assertEqual(self.taken(CandidateQueue((_A, _B), most, _RESORT)), expected)

    def test_leaves_the_platform(self) -> None:
        """Only if there is somewhere else to go; if not, nothing is lost."""
        queue = CandidateQueue((_A, _M, _B), 8, _RESORT)
        self.assertFalse(queue.next_elsewhere)
        self.assertTrue(queue.leave_platform())
        self.assertTrue(queue.next_elsewhere)
        self.assertEqual(self.taken(queue), [_M, *_RESORT])
        self.assertFalse(queue.leave_platform())
        queue = CandidateQueue((_A, _B), 8)
        self.assertFalse(queue.leave_platform())
        self.assertEqual(self.taken(queue), [_A, _B])
        self.assertFalse(queue.next_elsewhere)

    def test_pause(self) -> None:
        """A pause takes no attempt that is kept."""
        queue = CandidateQueue((_A, _B), 3, _RESORT[:1])
        queue.take(_NONE)
        self.assertTrue(queue.pause_on("a"))
        self.assertEqual(self.taken(queue), [_RESORT[0]])
        queue = CandidateQueue((_A, _B), 2, _RESORT[:1])
        queue.take(_NONE)
        self.assertFalse(queue.pause_on("a"))
