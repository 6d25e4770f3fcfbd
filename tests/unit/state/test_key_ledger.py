"""Tests of what processes tell each other of the keys' use: a parent and its workers in memory."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.key_policy import KeyRules, Spent
from autopilot.state.budgets import KeyBudgets, KeyNow, Used
from autopilot.state.key_ledger import DELAY, KeyLedger, read_report, write_reports

_RULES = KeyRules("k", requests_per_minute=4, concurrent_requests=3, tokens_per_day=10)


class Process:
    """A process with its accounts."""

    def __init__(self, clock: Clock) -> None:
        self.budgets = KeyBudgets(clock.seconds, clock.seconds)
        self.ledger = KeyLedger(clock, self.budgets)

    @property
    def now(self) -> KeyNow:
        """What it knows of the key."""
        (now,) = self.budgets.now(["k"])
        return now

    @property
    def refuses(self) -> str | None:
        """The code by which it would refuse a request."""
        error = self.budgets.refusal(_RULES)
        return None if error is None else error.code


class Way:
    """One direction between two processes, which takes a turn."""

    def __init__(self, clock: Clock, other: Process) -> None:
        self._clock = clock
        self._other = other
        self.back: Way | None = None
        self.sent: list[bytes] = []

    def send(self, report: bytes) -> None:
        """See `Peer`."""
        self.sent.append(report)
        self._clock.callLater(0, self._deliver, report)

    def _deliver(self, report: bytes) -> None:
        assert self.back is not None
        self._other.ledger.received(report, self.back)


class Kept:
    """A keeper that remembers."""

    def __init__(self) -> None:
        self.used: list[Used] = []

    def add(self, used: Sequence[Used]) -> None:
        """See `Keeper`."""
        self.used += used


class LedgerTests(SynchronousTestCase):
    """A parent with two workers."""

    def setUp(self) -> None:
        """Start them."""
        self.clock = Clock()
        self.parent = Process(self.clock)
        self.one, self.way_to_one = self.worker()
        self.two, self.way_to_two = self.worker()

    def worker(self) -> tuple[Process, Way]:
        """Start a worker, and return it with its parent's way to it."""
        worker = Process(self.clock)
        down, up = Way(self.clock, worker), Way(self.clock, self.parent)
        down.back, up.back = up, down
        worker.ledger.join(up)
        self.parent.ledger.join(down, new=True)
        self.settle()
        return worker, down

    def settle(self) -> None:
        """Let every report arrive."""
        self.clock.advance(DELAY)
        self.clock.advance(0)
        self.clock.advance(0)

    def test_counted_everywhere(self) -> None:
        """What one worker does counts at the other within moments, once."""
        self.one.budgets.begin(_RULES)
        self.one.budgets.begin(_RULES)
        self.two.budgets.begin(_RULES)
        self.assertIsNone(self.two.refuses)
        self.settle()
        for process in (self.one, self.two, self.parent):
            self.assertEqual((process.now.in_progress, process.now.requests_last_minute), (3, 3))
            self.assertEqual(process.refuses, "key_rate_limited")
        self.one.budgets.spend("k", 10, 3)
        self.one.budgets.end("k")
        self.settle()
        for process in (self.one, self.two, self.parent):
            self.assertEqual((process.now.in_progress, process.now.tokens_today), (2, 10))
            self.assertEqual(process.refuses, "key_budget_exhausted")

    def test_one_report_for_many_uses(self) -> None:
        """Uses are collected for a moment, so that a request does not cost a message each."""
        before = len(self.way_to_two.sent)
        for _ in range(50):
            self.one.budgets.spend("k", 1, 0)
        self.settle()
        self.assertEqual(len(self.way_to_two.sent), before + 1)
        self.assertEqual(self.two.now.tokens_today, 50)

    def test_end_of_a_worker(self) -> None:
        """Requests in progress at a worker that has died do not count any more."""
        self.one.budgets.begin(_RULES)
        self.two.budgets.begin(_RULES)
        self.one.budgets.spend("k", 4, 0)
        self.settle()
        self.parent.ledger.leave(self.way_to_one)
        self.parent.ledger.leave(self.way_to_one)
        self.settle()
        self.assertEqual((self.two.now.in_progress, self.two.now.tokens_today), (1, 4))
        self.assertEqual(self.parent.now.in_progress, 1)

    def test_new_worker(self) -> None:
        """A worker that starts later knows all that the others do."""
        self.one.budgets.begin(_RULES)
        self.one.budgets.spend("k", 9, 0)
        self.settle()
        third, _ = self.worker()
        self.assertEqual((third.now.in_progress, third.now.requests_last_minute), (1, 1))
        self.assertEqual(third.now.tokens_today, 9)
        third.budgets.spend("k", 1, 0)
        self.settle()
        self.assertEqual(self.one.refuses, "key_budget_exhausted")

    def test_keepers(self) -> None:
        """A keeper of the parent keeps what each process has used, but not what is in progress."""
        kept = Kept()
        self.parent.ledger.keep_in(kept)
        self.parent.budgets.spend("k", 1, 0)
        self.one.budgets.spend("k", 2, 0)
        self.settle()
        self.one.budgets.end("k")
        self.settle()
        self.assertEqual(sum(each.tokens for each in kept.used), 3)
        self.assertEqual(len(kept.used), 2)

    def test_other_routers(self) -> None:
        """What other routers use, and the sums of all, reach the workers."""
        self.parent.ledger.heard([Used("k", requests=2, tokens=3)])
        self.settle()
        self.assertEqual((self.one.now.requests_last_minute, self.one.now.tokens_today), (2, 3))
        self.parent.ledger.summed({"k": Spent(0, 7, 0, 8, 0)})
        self.settle()
        self.assertEqual((self.two.now.tokens_today, self.two.now.tokens_this_month), (7, 8))

    def test_flush(self) -> None:
        """At the end the rest is reported at once."""
        self.one.budgets.spend("k", 1, 0)
        self.one.ledger.flush()
        self.one.ledger.flush()
        self.clock.advance(0)
        self.assertEqual(self.parent.now.tokens_today, 1)

    def test_no_report(self) -> None:
        """Bytes that are no report are refused; long reports are split."""
        self.assertRaises(ValueError, self.parent.ledger.received, b"\xc1", self.way_to_one)
        many = [Used(f"key-{number}", requests=1) for number in range(450)]
        reports = list(write_reports(many))
        self.assertEqual(len(reports), 3)
        self.assertEqual([used for each in reports for used in read_report(each).used], many)
