"""The handler of a second attempt's response, and the race that it runs."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.dialect import Dialect
from autopilot.http.resource_ledger import Charge, ClientUsage, ResourceLedger
from autopilot.http.response_parser import ResponseHead
from autopilot.http.timers import Deadline
from autopilot.observability.records import DroppedCall
from autopilot.relay.attempt import Attempt
from autopilot.relay.exchange_states import Input
from autopilot.relay.hedge import LOST, WON, Hedge, Rival
from autopilot.routing.candidate import Candidate
from autopilot.routing.failure_reason import FailureReason
from autopilot.upstream.types import DISCARD, UpstreamCall, UpstreamError
from tests.unit.relay.upstreams import DONE, JSON, ROLE, SSE, TOKEN


def head_of(status: int = 200, kind: bytes = SSE) -> ResponseHead:
    """Return a head."""
    return ResponseHead(status, b"", [(b"Content-Type", kind)], kind.decode(), None)


class RivalTests(SynchronousTestCase):
    """What wins, and what is lost."""

    def setUp(self) -> None:
        """Begin with nothing."""
        self.taken: list[Input] = []
        self.rival = Rival(self, Candidate("b"), Dialect.COMPLETIONS, 5.0)

    def take(self, given: Input, attempt: Attempt | None, *details: Any) -> None:
        """Receive the end of the race."""
        self.assertEqual((attempt, details), (None, (self.rival,)))
        self.taken.append(given)

    def test_content(self) -> None:
        """The first content wins; what has arrived is kept for the exchange, as one input."""
        head = head_of()
        self.rival.head(head, ROLE)
        self.assertEqual(self.taken, [])
        self.rival.body(TOKEN)
        self.assertEqual(self.taken, [Input.OVERTAKEN])
        self.assertEqual(self.rival.arrived(), (Input.HEAD, (head, ROLE + TOKEN)))
        self.setUp()
        self.rival.head(head, b"")
        self.rival.end(TOKEN)
        self.assertEqual(self.rival.arrived(), (Input.WHOLE, (head, TOKEN)))

    def test_lost(self) -> None:
        """Everything else is lost: errors, other types, an end without content, a break."""
        broken = UpstreamError(FailureReason.CUT)
        for name, given in (
            ("whole", (head_of(503), b"")),
            ("whole", (head_of(200, JSON), b"{}")),
            ("whole", (head_of(), DONE)),
            ("head", (head_of(200, JSON), b"")),
            ("head", (head_of(), b"\x1f\x8b\x08")),
            ("head", (head_of(), DONE)),
            ("broken", (broken,)),
        ):
            self.setUp()
            getattr(self.rival, name)(*given)
            self.assertEqual(self.taken, [Input.RIVAL_LOST], (name, given))
        self.setUp()
        self.rival.head(head_of(), ROLE)
        self.rival.end(b"")
        self.assertEqual(self.taken, [Input.RIVAL_LOST])

    def test_again(self) -> None:
        """Before its request is sent once more, what has arrived is forgotten."""
        self.rival.broken(UpstreamError(FailureReason.CONNECTION_LOST, stale=True))
        self.rival.begin_again()
        self.assertIsNone(self.rival.arrived())
        self.assertTrue(self.rival.repeated)
        head = head_of()
        self.rival.head(head, TOKEN)
        self.assertEqual(self.rival.arrived(), (Input.HEAD, (head, TOKEN)))

    def test_charged(self) -> None:
        """What is kept is charged, and released once, though all may have been before."""
        for released in (False, True):
            ledger = ResourceLedger()
            charge = Charge(ledger, ClientUsage(None))
            rival = Rival(self, Candidate("b"), Dialect.COMPLETIONS, 5.0, charge)
            rival.head(head_of(), ROLE)
            rival.body(ROLE)
            self.assertEqual(ledger.held_bytes, 2 * len(ROLE))
            if released:
                charge.release()
            for _ in range(2):
                rival.abort()
                self.assertEqual((ledger.held_bytes, charge.held_bytes), (0, 0))

    def test_arrived(self) -> None:
        """What goes on in its place learns of a break alone, and of nothing before the head."""
        self.assertIsNone(self.rival.arrived())
        broken = UpstreamError(FailureReason.CUT)
        self.rival.head(head_of(), ROLE)
        self.rival.broken(broken)
        self.assertEqual(self.rival.arrived(), (Input.BROKEN, (broken,)))

    def test_bounded(self) -> None:
        """A stream that says nothing is lost before it takes much memory."""
        self.rival.head(head_of(), b"")
        for _ in range(100):
            if not self.taken:
                self.rival.body(b": ".ljust(10_000))
        self.assertEqual(self.taken, [Input.RIVAL_LOST])


class HedgeTests(SynchronousTestCase):
    """The race of one exchange."""

    def test_race(self) -> None:
        """A second attempt has lost until it wins, and its call ends with the race."""
        clock = Clock()
        due: list[float] = []
        call_b = DroppedCall("b", None, 1.0)
        deadline = Deadline(clock, lambda: due.append(clock.seconds()))
        hedge = Hedge(deadline, 2.0, lambda rival: call_b)
        self.assertIsNone(hedge.outcome)
        clock.advance(2)
        self.assertEqual(due, [2.0])
        rival = Rival(RivalTests("take"), Candidate("b"), Dialect.COMPLETIONS, 2.0)
        rival.call = call = UpstreamCall(b"", DISCARD, transport=_Transport())
        hedge.begin(rival)
        self.assertEqual(hedge.outcome, LOST)
        self.assertIs(hedge.take_rival(), rival)
        self.assertEqual((hedge.outcome, hedge.rival, hedge.dropped), (WON, None, None))
        hedge.begin(rival)
        hedge.close()
        self.assertEqual((hedge.outcome, hedge.rival, call.transport), (LOST, None, None))
        self.assertIs(hedge.dropped, call_b)
        hedge.close()
        self.assertEqual(clock.getDelayedCalls(), [])


class _Transport:
    """A transport that may be aborted."""

    def abort(self) -> None:
        """See `Transport`."""

    drain = pause = resume = abort
