"""Tests of verdicts: by key, aged, asked once for all, three at a time, a GPU in each turn."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.instances import DiscoveredInstance
from autopilot.attestation.judging import Judge
from autopilot.attestation.verdict import Refusal, Verified
from autopilot.attestation.verdicts import (
    AT_ONCE,
    MAX_VERDICTS,
    NoEvidence,
    NoEvidenceError,
    Sources,
    Subject,
    Verdict,
    Verdicts,
)
from autopilot.measurement import Measurement
from tests.unit.attestation import world

A, B = (DiscoveredInstance(f"id-{name}", world.key(name)) for name in ("A", "B"))
BEARER = "Bearer canary"


class VerdictTestCase(SynchronousTestCase):
    """Verdicts in the synthetic world, whose answers the test gives."""

    def setUp(self) -> None:
        """Make verdicts."""
        self.clock = Clock()
        self.now = float(world.NOW)
        self.asked: list[tuple[str, str, str]] = []
        self.answers: list[Deferred[bytes]] = []
        self.cancelled: list[int] = []
        self.collateral: str | None = world.collateral()
        judge = Judge(world.policy(rows=()), lambda _quote: None)
        self.verdicts = Verdicts(
            self.clock,
            Sources(
                evidence=self.fetch,
                platform=judge.platform,
                collateral=lambda _platform: succeed(self.collateral),
                measurements=world.rows,
                steps=judge.steps,
                wall=lambda: self.now + self.clock.seconds(),
            ),
        )

    def fetch(self, instance: DiscoveredInstance, nonce: str, bearer: str) -> Deferred[bytes]:
        """Begin a question."""
        number = len(self.answers)
        self.asked.append((instance.instance_id, nonce, bearer))
        answer: Deferred[bytes] = Deferred(lambda _: self.cancelled.append(number))
        self.answers.append(answer)
        return answer

    def judge(self, instance: DiscoveredInstance = A) -> Deferred[Verdict]:
        """Ask for the verdict on a key."""
        return self.verdicts.judge("chute", instance, BEARER)

    def genuine(self, place: int = -1, name: str = "A") -> None:
        """Answer a question with genuine evidence, and let all turns pass."""
        nonce = self.asked[place][1]
        self.answers[place].callback(json.dumps(world.make(nonce, name)).encode())
        self.turns()

    def turns(self) -> None:
        """Let turns of the reactor pass, in no time."""
        self.clock.advance(0)

    def turn(self) -> None:
        """Let one turn of the reactor pass: what is scheduled in it runs in the next one."""
        (call,), self.clock.calls = self.clock.calls, []
        self.assertEqual(call.getTime(), self.clock.seconds())
        call.func(*call.args, **call.kw)

    def found(self, waiting: Deferred[Verdict]) -> Verified | Refusal | NoEvidence:
        """Return what was found."""
        return self.successResultOf(waiting).found


class JudgeTests(VerdictTestCase):
    """One question."""

    def test_verified(self) -> None:
        """Genuine evidence for a fresh nonce verifies the key, which is then known."""
        waiting = self.judge()
        self.genuine()
        verdict = self.successResultOf(waiting)
        self.assertIsNotNone(verdict.verified)
        self.assertEqual(self.verdicts.known(Subject("chute", A.key)), verdict)
        self.assertIs(self.successResultOf(self.judge()), verdict)
        ((instance, nonce, bearer),) = self.asked
        self.assertEqual((instance, bearer), (A.instance_id, BEARER))
        self.assertRegex(nonce, "^[0-9a-f]{64}$")

    def test_fresh_nonces(self) -> None:
        """Every question has a nonce of its own."""
        self.judge(A)
        self.judge(B)
        self.assertNotEqual(self.asked[0][1], self.asked[1][1])

    def test_by_key(self) -> None:
        """A verdict is that of a key and chute, whatever instance has it."""
        waiting = self.judge()
        self.genuine()
        self.successResultOf(waiting)
        self.successResultOf(self.judge(DiscoveredInstance("other id", A.key)))
        self.assertNoResult(self.verdicts.judge("other chute", A, BEARER))
        self.assertNoResult(self.judge(DiscoveredInstance(A.instance_id, B.key)))

    def test_a_step_a_turn(self) -> None:
        """The reactor runs before each step, and no other step is scheduled for the same turn."""
        waiting = self.judge()
        nonce = self.asked[0][1]
        self.answers[0].callback(json.dumps(world.make(nonce)).encode())
        # The quote, and two GPUs.
        for _ in range(3):
            self.assertNoResult(waiting)
            self.turn()
        self.assertIsInstance(self.found(waiting), Verified)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_turns_are_shared(self) -> None:
        """Verifications take turns, so that two of them do not lengthen one turn of the reactor."""
        first, second = self.judge(A), self.judge(B)
        for place, name in enumerate("AB"):
            nonce = self.asked[place][1]
            self.answers[place].callback(json.dumps(world.make(nonce, name)).encode())
        for _ in range(5):
            self.turn()
            self.assertNoResult(second)
        self.assertIsInstance(self.found(first), Verified)
        self.turn()
        self.assertIsInstance(self.found(second), Verified)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_refused(self) -> None:
        """Evidence that fails a check refuses the key."""
        for body, refusal in (
            (json.dumps(world.make("5a" * 32)).encode(), Refusal.BINDING_KEY),
            (b"{}", Refusal.QUOTE_MALFORMED),
            (b'{"quote":"AAAA","certificate":""}', Refusal.QUOTE_MALFORMED),
        ):
            waiting = self.judge()
            self.answers[-1].callback(body)
            self.turns()
            self.assertIs(self.found(waiting), refusal)
            self.verdicts.forget(Subject("chute", A.key))

    def test_no_collateral(self) -> None:
        """Without collateral no key is verified."""
        self.collateral = None
        waiting = self.judge()
        self.genuine()
        self.assertIs(self.found(waiting), Refusal.COLLATERAL)

    def test_no_evidence(self) -> None:
        """Without an answer, or with one that there is none, no key is verified."""
        for reason in NoEvidence:
            waiting = self.judge()
            self.answers[-1].errback(NoEvidenceError(reason))
            self.assertIs(self.found(waiting), reason)
            self.verdicts.forget(Subject("chute", A.key))

    def test_bugs(self) -> None:
        """An error of the router's own verifies no key, and is logged."""
        waiting = self.judge()
        with capturedLogs() as logs:
            self.answers[0].errback(ZeroDivisionError("canary"))
        self.assertIs(self.found(waiting), NoEvidence.UNANSWERED)
        self.assertEqual([each["kind"] for each in logs], ["ZeroDivisionError"])
        self.assertNotIn("canary", repr(logs))

    def test_representation(self) -> None:
        """No representation shows a key."""
        self.assertEqual(repr(Subject("chute", A.key)), "Subject(chute='chute')")


class AgeTests(VerdictTestCase):
    """How long a verdict lasts."""

    def lasts(self, seconds: float) -> None:
        """Assert how long the present verdict lasts."""
        subject = Subject("chute", A.key)
        self.clock.advance(seconds - 0.5)
        self.assertIsNotNone(self.verdicts.known(subject))
        self.clock.advance(0.5)
        self.assertIsNone(self.verdicts.known(subject))
        count = len(self.asked)
        self.judge()
        self.assertEqual(len(self.asked), count + 1)

    def test_verified(self) -> None:
        """A verified key is asked about again after 15 minutes."""
        self.judge()
        self.genuine()
        self.lasts(900)

    def test_collateral_ends(self) -> None:
        """A verdict ends with what it rests on, if that is earlier."""
        self.now = 1782864000 - 100
        self.judge()
        self.genuine()
        self.lasts(100)

    def test_refused(self) -> None:
        """A refusal, and a missing answer, last a minute."""
        self.judge()
        self.answers[-1].callback(b"{}")
        self.lasts(60)
        self.answers[-1].errback(NoEvidenceError(NoEvidence.UNANSWERED))
        self.lasts(60)

    def test_unattestable(self) -> None:
        """An instance without evidence is not asked again for 15 minutes."""
        self.judge()
        self.answers[-1].errback(NoEvidenceError(NoEvidence.UNATTESTABLE))
        self.lasts(900)

    def test_unauthorized(self) -> None:
        """What one client's key may not ask for is no verdict for another client."""
        waiting = self.judge()
        self.answers[-1].errback(NoEvidenceError(NoEvidence.UNAUTHORIZED))
        self.assertIs(self.found(waiting), NoEvidence.UNAUTHORIZED)
        self.assertIsNone(self.verdicts.known(Subject("chute", A.key)))
        self.assertEqual(list(self.verdicts.chutes()), [])

    def test_wall(self) -> None:
        """While a machine sleeps its clock stands still, and collateral ends all the same."""
        self.judge()
        self.genuine()
        self.now = 1782864000 - self.clock.seconds()
        self.assertIsNone(self.verdicts.known(Subject("chute", A.key)))

    def test_setting(self) -> None:
        """How long a verified key counts is a setting; a refusal has its own time."""
        verdicts = Verdicts(self.clock, self.verdicts._sources, 5.0)
        waiting = verdicts.judge("chute", A, BEARER)
        self.genuine()
        verdict = self.successResultOf(waiting)
        self.assertEqual(verdict.until - verdict.since, 5.0)

    def test_aged_are_dropped(self) -> None:
        """Verdicts that have aged are dropped with the next one, though none asks for them."""
        for chute in ("chute", "other chute"):
            self.verdicts.judge(chute, A, BEARER)
            self.answers[-1].errback(NoEvidenceError(NoEvidence.UNANSWERED))
            self.assertEqual(tuple(self.verdicts.chutes()), (chute,))
            self.clock.advance(60)

    def test_bounded(self) -> None:
        """The number of verdicts is bounded: the oldest gives way."""
        for number in range(MAX_VERDICTS + 1):
            self.judge(DiscoveredInstance("id", f"key {number}"))
            self.answers[-1].errback(NoEvidenceError(NoEvidence.UNATTESTABLE))
        self.assertIsNone(self.verdicts.known(Subject("chute", "key 0")))
        self.assertIsNotNone(self.verdicts.known(Subject("chute", "key 1")))


class FlightTests(VerdictTestCase):
    """Questions under way."""

    def test_shared(self) -> None:
        """All that wait for a key share one question."""
        waiting = [self.judge() for _ in range(200)]
        self.assertEqual(len(self.asked), 1)
        self.genuine()
        self.assertEqual(len({id(self.successResultOf(each)) for each in waiting}), 1)

    def test_three_at_a_time(self) -> None:
        """A fourth question waits until one of three is answered."""
        for number in range(AT_ONCE + 2):
            self.judge(DiscoveredInstance("id", f"key {number}"))
        self.assertEqual(len(self.asked), AT_ONCE)
        self.answers[1].errback(NoEvidenceError(NoEvidence.UNANSWERED))
        self.assertEqual(len(self.asked), AT_ONCE + 1)

    def test_cancelled(self) -> None:
        """One that gives up does not disturb the others; the last one ends the question."""
        first, second = self.judge(), self.judge()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(self.cancelled, [])
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.assertEqual(self.cancelled, [0])
        self.assertIsNone(self.verdicts.known(Subject("chute", A.key)))
        waiting = self.judge()
        self.genuine()
        self.assertIsInstance(self.found(waiting), Verified)

    def test_cancelled_in_line(self) -> None:
        """A question that waits for its turn can be given up, and takes none."""
        for number in range(AT_ONCE):
            self.judge(DiscoveredInstance("id", f"key {number}"))
        waiting = self.judge()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        for each in range(AT_ONCE):
            self.answers[each].errback(NoEvidenceError(NoEvidence.UNANSWERED))
        self.assertEqual(len(self.asked), AT_ONCE)
        for number in range(AT_ONCE):
            self.judge(DiscoveredInstance("id", f"other key {number}"))
        self.assertEqual(len(self.asked), 2 * AT_ONCE)

    def test_cancelled_between_gpus(self) -> None:
        """A verification that is given up between two steps leaves nothing to run."""
        for passed in range(3):
            waiting = self.judge()
            nonce = self.asked[-1][1]
            self.answers[-1].callback(json.dumps(world.make(nonce)).encode())
            for _ in range(passed):
                self.turn()
            waiting.cancel()
            self.failureResultOf(waiting, CancelledError)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelled_beside_another(self) -> None:
        """A verification that is given up leaves its turns to the others."""
        first, second = self.judge(A), self.judge(B)
        for place, name in enumerate("AB"):
            nonce = self.asked[place][1]
            self.answers[place].callback(json.dumps(world.make(nonce, name)).encode())
        first.cancel()
        self.failureResultOf(first, CancelledError)
        for _ in range(3):
            self.assertNoResult(second)
            self.turn()
        self.assertIsInstance(self.found(second), Verified)

    def test_close(self) -> None:
        """Closing ends the questions, and all that wait fail."""
        self.judge(B)
        self.genuine(name="B")
        waiting = [self.judge() for _ in range(2)]
        self.verdicts.close()
        for each in waiting:
            self.failureResultOf(each, CancelledError)
        self.assertEqual(self.cancelled, [1])
        self.assertIsNone(self.verdicts.known(Subject("chute", B.key)))


def _last(rows: list[tuple[Measurement, ...]]) -> tuple[Measurement, ...]:
    return rows[-1]


class RenewTests(VerdictTestCase):
    """A verdict that still counts while the key is asked about again."""

    def setUp(self) -> None:
        """Verify a key."""
        super().setUp()
        self.judge()
        self.genuine()
        self.subject = Subject("chute", A.key)

    def known(self) -> Verdict:
        """Return the verdict."""
        verdict = self.verdicts.known(self.subject)
        assert verdict is not None
        return verdict

    def renew(self) -> Deferred[Verdict]:
        """Ask again."""
        return self.verdicts.renew("chute", A, BEARER)

    def test_due(self) -> None:
        """It is due after two thirds of its time."""
        verdict = self.known()
        self.assertEqual(verdict.renewable - verdict.since, 600)

    def test_verified(self) -> None:
        """The former verdict counts until the new one."""
        before = self.known()
        self.clock.advance(700)
        waiting = self.renew()
        self.assertIs(self.known(), before)
        self.genuine()
        self.assertIs(self.known(), self.successResultOf(waiting))
        self.assertEqual(self.known().until, 1600)

    def test_rows_change(self) -> None:
        """Evidence whose row is withdrawn while it is verified is refused, if the row is gone."""
        for later, found in (
            (world.rows(), Verified),
            (world.rows()[1:], Refusal),
        ):
            rows = [world.rows()]
            sources = replace(self.verdicts._sources, measurements=partial(_last, rows))
            waiting = Verdicts(self.clock, sources).judge("chute", A, BEARER)
            evidence = world.make(self.asked[-1][1], "A")
            self.answers[-1].callback(json.dumps(evidence).encode())
            self.turn()
            self.assertNoResult(waiting)
            rows.append(later)
            self.turns()
            self.assertIsInstance(self.found(waiting), found)

    def test_refused(self) -> None:
        """A refusal takes the place of the former verdict at once."""
        waiting = self.renew()
        self.answers[-1].callback(b"{}")
        self.successResultOf(waiting)
        self.assertIs(self.known().found, Refusal.QUOTE_MALFORMED)

    def test_unanswered(self) -> None:
        """Without an answer the former verdict counts until its end, and is renewed later."""
        self.clock.advance(700)
        for reason in (NoEvidence.UNANSWERED, NoEvidence.UNAUTHORIZED):
            waiting = self.renew()
            self.answers[-1].errback(NoEvidenceError(reason))
            self.assertIsNotNone(self.successResultOf(waiting).verified)
        self.assertEqual((self.known().until, self.known().renewable), (900, 760))

    def test_unanswered_late(self) -> None:
        """An answer that fails after the former verdict's end is a verdict of its own."""
        self.renew()
        self.clock.advance(900)
        self.answers[-1].errback(NoEvidenceError(NoEvidence.UNANSWERED))
        self.assertIs(self.known().found, NoEvidence.UNANSWERED)

    def test_counted(self) -> None:
        """Each question is counted with its result and its seconds, none that was cancelled."""
        counted: list[tuple[str, float]] = []
        verdicts = Verdicts(
            self.clock,
            self.verdicts._sources,
            judged=lambda reason, seconds: counted.append((reason, seconds)),
        )
        for name in ("genuine", "refused", "unanswered", "cancelled"):
            waiting = verdicts.judge(name, A, BEARER)
            self.clock.advance(2)
            if name == "genuine":
                self.genuine()
            elif name == "refused":
                self.answers[-1].callback(b"{}")
            elif name == "unanswered":
                self.answers[-1].errback(NoEvidenceError(NoEvidence.UNANSWERED))
            else:
                waiting.cancel()
                self.failureResultOf(waiting, CancelledError)
        self.assertEqual(counted, [("verified", 2), ("quote_malformed", 2), ("unanswered", 2)])

    def test_of_chute(self) -> None:
        """The verdicts of a chute are listed until they age."""
        self.assertEqual(list(self.verdicts.of_chute("chute")), [A.key])
        self.assertEqual(self.verdicts.of_chute("other"), {})
        self.clock.advance(900)
        self.assertEqual(self.verdicts.of_chute("chute"), {})
        self.assertEqual(list(self.verdicts.chutes()), [])
