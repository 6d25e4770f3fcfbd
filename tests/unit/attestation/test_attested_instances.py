"""Tests of attested instances: at once if one is known, and none that was not verified."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.attested_instances import (
    CONSIDERED,
    YOUNG_SECONDS,
    AttestedInstances,
)
from autopilot.attestation.instances import DiscoveredInstance, Discovery
from autopilot.attestation.nonce_pool import PoolError, PoolFault
from autopilot.attestation.private_instances import (
    ATTESTED,
    TEST_ROOTS,
    Attested,
    Cause,
    PrivateInstances,
    UnavailableError,
)
from autopilot.attestation.verdict import Refusal
from autopilot.attestation.verdicts import NoEvidence
from tests.unit.attestation.fake_instances import FOUND
from tests.unit.attestation.judged import BEARER, CHUTE, CLIENT, NO_KEY, Bench, listed, parse


class BenchTestCase(SynchronousTestCase):
    """The service over fakes."""

    def setUp(self) -> None:
        """Make a service."""
        self.bench = Bench()
        self.service: PrivateInstances = self.bench.service

    def got(self, waiting: Deferred[Attested]) -> str:
        """Return the id of the instance that a request got."""
        return self.successResultOf(waiting).instance_id

    def error(self, waiting: Deferred[Attested]) -> UnavailableError:
        """Return why a request got none."""
        error = self.failureResultOf(waiting, UnavailableError).value
        assert isinstance(error, UnavailableError)
        return error


class AcquireTests(BenchTestCase):
    """What one request gets."""

    def test_first_verified(self) -> None:
        """The first request waits for a discovery, and for the first verdict that is good."""
        waiting = self.bench.acquire()
        self.assertNoResult(waiting)
        self.bench.discover("a", "b", "c")
        self.assertEqual(self.bench.open, ["a", "b", "c"])
        self.bench.answer("b", Refusal.TCB_STATUS)
        self.assertNoResult(waiting)
        self.bench.clock.advance(5)
        self.bench.answer("c")
        attested = self.successResultOf(waiting)
        self.assertEqual((attested.instance_id, attested.key.text), ("c", "key of c"))
        self.assertEqual((attested.nonce[:3], attested.since), ("1-c", 5))
        self.assertEqual((attested.verified, attested.word), (FOUND, ATTESTED))
        self.assertEqual(self.bench.keys, [BEARER] * 4)

    def test_at_once(self) -> None:
        """The next one gets it at once, while the others are judged behind it."""
        self.bench.acquire()
        self.bench.discover("a", "b", "c", "d", "e")
        self.bench.answer("b")
        self.assertEqual(self.got(self.bench.acquire()), "b")
        # Three questions at a time: the place of the answered one is taken.
        self.assertEqual(self.bench.open, ["a", "c", "d"])
        self.bench.answer("a")
        self.assertEqual(self.bench.open, ["c", "d", "e"])
        self.assertEqual(self.got(self.bench.acquire()), "a")
        self.assertEqual(len(self.bench.discoveries), 1)

    def test_new_client(self) -> None:
        """Another client has nonces of its own, and the verdicts of all."""
        self.bench.known("a", "b")
        waiting = self.bench.acquire(client=b"other")
        self.bench.discover("b", "f")
        self.assertEqual(self.got(waiting), "b")
        self.assertEqual(self.bench.open, ["f"])

    def test_spread(self) -> None:
        """Nonces are taken from the instances in turn."""
        self.bench.known("a", "b", "c")
        ids = [self.got(self.bench.acquire()) for _ in range(29)]
        self.assertEqual({each: ids.count(each) for each in "abc"}, {"a": 9, "b": 10, "c": 10})

    def test_preferred(self) -> None:
        """The instance that has answered the conversation is taken while it has nonces."""
        self.bench.known("a", "b", nonces=3)
        ids = [self.got(self.bench.acquire(prefer="b")) for _ in range(4)]
        self.assertEqual(ids, ["b", "b", "b", "a"])

    def test_avoided(self) -> None:
        """An instance that has failed the request is not returned to it, if another is there."""
        self.bench.known("a", "b")
        self.assertEqual(self.got(self.bench.acquire("a", prefer="a")), "b")
        error = self.error(self.bench.acquire("a", "b"))
        self.assertEqual((error.cause, error.found), (Cause.NO_INSTANCE, ()))

    def test_avoided_later(self) -> None:
        """After a while another discovery may show instances that need not be avoided."""
        self.bench.known("a")
        self.bench.clock.advance(YOUNG_SECONDS)
        waiting = self.bench.acquire("a")
        self.bench.discover("a", "g")
        self.bench.answer("g")
        self.assertEqual(self.got(waiting), "g")

    def test_other_key(self) -> None:
        """An instance with another key than before is judged anew: the key is what counts."""
        self.bench.known("a")
        self.bench.clock.advance(YOUNG_SECONDS)
        waiting = self.bench.acquire(client=b"other")
        changed = DiscoveredInstance("a", "key of an impostor", ("n-1", "n-2"))
        self.bench.discoveries[-1].callback(Discovery((changed,), 55))
        self.assertNoResult(waiting)
        self.bench.answer("a", Refusal.BINDING_KEY)
        error = self.error(waiting)
        self.assertEqual((error.cause, error.refusal), (Cause.REFUSED, Refusal.BINDING_KEY))
        self.assertEqual(self.successResultOf(self.bench.acquire()).key.text, "key of a")

    def test_same_key(self) -> None:
        """Two instances with one key wait for one verdict, which serves them both."""
        waiting = self.bench.acquire()
        twins = (DiscoveredInstance(name, "key of a", (f"n-{name}",)) for name in "ab")
        self.bench.discoveries[-1].callback(Discovery(tuple(twins), 55))
        self.assertEqual(self.bench.open, ["a"])
        self.bench.answer("a")
        self.assertEqual({self.got(waiting), self.got(self.bench.acquire())}, {"a", "b"})

    def test_word(self) -> None:
        """With other roots nothing is called attested."""
        bench = self.bench
        service = AttestedInstances(
            bench.clock, bench.pool, bench.verdicts, bench.basis, parse, TEST_ROOTS
        )
        waiting = service.acquire(CHUTE, CLIENT, BEARER, (), None)
        bench.discover("a")
        bench.answer("a")
        self.assertEqual(self.successResultOf(waiting).word, TEST_ROOTS)

    def test_no_key(self) -> None:
        """An instance to whose key nothing can be sealed is never asked for evidence."""
        waiting = self.bench.acquire()
        self.bench.discoveries[-1].callback(
            Discovery((DiscoveredInstance("a", NO_KEY, ("n-1",)),), 55)
        )
        self.assertIs(self.error(waiting).cause, Cause.NOT_ATTESTABLE)
        self.assertEqual(self.bench.questions, [])

    def test_crowd(self) -> None:
        """Of a discovery that lists too many, the first ones are judged."""
        waiting = self.bench.acquire()
        self.bench.discover(*(f"i{each}" for each in range(60)))
        for each in range(CONSIDERED):
            self.bench.answer(f"i{each}", NoEvidence.UNATTESTABLE)
        error = self.error(waiting)
        self.assertEqual(error.found, (Cause.NOT_ATTESTABLE,) * CONSIDERED)
        self.assertEqual(len(self.bench.questions), CONSIDERED)

    def test_cancelled(self) -> None:
        """A request that leaves ends nothing that serves the next one."""
        waiting = self.bench.acquire()
        self.bench.discover("a")
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.bench.open, ["a"])
        self.bench.answer("a")
        self.assertEqual(self.got(self.bench.acquire()), "a")

    def test_cancelled_discovery(self) -> None:
        """The last request that leaves ends the discovery."""
        first, second = self.bench.acquire(), self.bench.acquire()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(self.bench.cancelled, [])
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.assertEqual(self.bench.cancelled, [CHUTE])


class RenewalTests(BenchTestCase):
    """Verdicts that age under demand, and without."""

    def test_renewed(self) -> None:
        """A busy key is asked about again before its verdict ends, and no request waits."""
        self.bench.known("a")
        self.bench.clock.advance(601)
        first = self.bench.acquire()
        self.bench.discover("a")
        self.assertEqual(self.got(first), "a")
        self.assertEqual(self.bench.open, ["a"])
        self.assertEqual(self.got(self.bench.acquire()), "a")
        self.assertEqual(self.bench.open, ["a"])
        self.bench.answer("a")
        self.bench.clock.advance(300)
        last = self.bench.acquire()
        self.bench.discover("a")
        self.assertEqual(self.successResultOf(last).since, 601)
        self.assertEqual(self.bench.open, [])

    def test_no_demand(self) -> None:
        """Without a request nothing is asked."""
        self.bench.known("a")
        count = len(self.bench.keys)
        self.bench.clock.pump([60] * 60)
        self.assertEqual(len(self.bench.keys), count)
        self.assertEqual(self.bench.clock.getDelayedCalls(), [])

    def test_refused(self) -> None:
        """A key whose renewal is refused is used no more."""
        self.bench.known("a")
        self.bench.clock.advance(601)
        self.bench.acquire()
        self.bench.discover("a")
        self.bench.answer("a", Refusal.COLLATERAL)
        self.assertIs(self.error(self.bench.acquire()).refusal, Refusal.COLLATERAL)


class UnavailableTests(BenchTestCase):
    """Why a request gets none."""

    def fails(self, *answers: NoEvidence | Refusal) -> UnavailableError:
        """Return the error for instances with these answers."""
        waiting = self.bench.acquire()
        names = [f"i{each}" for each in range(len(answers))]
        self.bench.discover(*names)
        for name, answer in zip(names, answers, strict=True):
            self.bench.answer(name, answer)
        return self.error(waiting)

    def test_causes(self) -> None:
        """The cause that may change soonest stands for all, and each instance is counted."""
        for answers, cause, refusal, after in (
            ((), Cause.NO_INSTANCE, None, YOUNG_SECONDS),
            ((NoEvidence.UNATTESTABLE,), Cause.NOT_ATTESTABLE, None, 900),
            ((NoEvidence.UNATTESTABLE, NoEvidence.UNANSWERED), Cause.UNANSWERED, None, 60),
            ((NoEvidence.UNAUTHORIZED,), Cause.UNANSWERED, None, YOUNG_SECONDS),
            (
                (NoEvidence.UNANSWERED, Refusal.TCB_STATUS, Refusal.DEBUG),
                Cause.REFUSED,
                Refusal.TCB_STATUS,
                60,
            ),
        ):
            self.setUp()
            error = self.fails(*answers)
            self.assertEqual(
                (error.cause, error.refusal, error.retry_after), (cause, refusal, after)
            )
            self.assertEqual(len(error.found), len(answers))

    def test_not_asked_again(self) -> None:
        """Requests that follow soon fail at once, without a discovery or a question."""
        self.fails(Refusal.TCB_STATUS)
        self.assertIs(self.error(self.bench.acquire()).refusal, Refusal.TCB_STATUS)
        self.assertEqual((len(self.bench.discoveries), len(self.bench.questions)), (1, 1))

    def test_discovery_fails(self) -> None:
        """A discovery that fails has its own cause, and the platform's status if that is final."""
        for fault, status, cause, after in (
            (PoolFault.FAILED, None, Cause.DISCOVERY_FAILED, 10),
            (PoolFault.UNAUTHORIZED, 402, Cause.UNAUTHORIZED, 10),
            (PoolFault.LIMITED, None, Cause.DISCOVERY_LIMITED, 60),
        ):
            self.setUp()
            waiting = self.bench.acquire()
            self.bench.discoveries[-1].errback(PoolError(fault, 60, status))
            error = self.error(waiting)
            self.assertEqual((error.cause, error.status), (cause, status))
            self.assertEqual((error.retry_after, error.found), (after, (cause,)))

    def test_known_and_limited(self) -> None:
        """What is known of the instances is said beside the discovery's failure."""
        self.fails(NoEvidence.UNATTESTABLE)
        self.bench.clock.advance(YOUNG_SECONDS)
        waiting = self.bench.acquire()
        self.bench.discoveries[-1].errback(PoolError(PoolFault.FAILED))
        self.assertEqual(self.error(waiting).found, (Cause.NOT_ATTESTABLE, Cause.DISCOVERY_FAILED))

    def test_no_nonces(self) -> None:
        """A platform that gives no nonces is asked once, not until the budget is used up."""
        waiting = self.bench.acquire()
        self.bench.discover("a", nonces=0)
        self.assertIs(self.error(waiting).cause, Cause.NO_NONCE)
        self.assertEqual((len(self.bench.discoveries), self.bench.questions), (1, []))

    def test_drained(self) -> None:
        """When the nonces are used up, the next request discovers at once."""
        self.bench.known("a", nonces=2)
        self.assertEqual(self.got(self.bench.acquire()), "a")
        waiting = self.bench.acquire()
        self.bench.discover("a")
        self.assertEqual(self.got(waiting), "a")
        self.assertEqual(self.bench.open, [])

    def test_not_ready(self) -> None:
        """Without measurements nothing can be verified, so that nothing is asked."""
        self.bench.basis.there = False
        self.assertIs(self.error(self.bench.acquire()).cause, Cause.NOT_READY)
        self.assertEqual(self.bench.keys, [])

    def test_first_measurements(self) -> None:
        """A request that comes before the first measurements waits for them."""
        there: Deferred[bool] = Deferred()
        self.bench.basis.there = there
        waiting = self.bench.acquire()
        self.assertEqual(self.bench.keys, [])
        there.callback(True)
        self.bench.discover("a")
        self.bench.answer("a")
        self.assertEqual(self.got(waiting), "a")

    def test_unknown_registers(self) -> None:
        """Registers that no row has are a reason to look for newer rows."""
        self.fails(Refusal.TCB_STATUS)
        self.assertEqual(self.bench.basis.unknowns, 0)
        self.setUp()
        self.fails(Refusal.MEASUREMENT_UNKNOWN, Refusal.TCB_STATUS)
        self.assertEqual(self.bench.basis.unknowns, 1)

    def test_bugs(self) -> None:
        """A bug of ours gives no instance, and one entry of the log, which quotes nothing."""

        def broken(_text: str) -> None:
            raise ZeroDivisionError("canary")

        waiting = self.bench.acquire()
        self.patch(self.bench.service._keys, "_parse", broken)
        with capturedLogs() as logs:
            self.bench.discover("a")
        self.assertIs(self.error(waiting).cause, Cause.INTERNAL)
        self.assertEqual([each["kind"] for each in logs], ["ZeroDivisionError"])
        self.assertNotIn("canary", repr(logs))


class NoticeTests(BenchTestCase):
    """What the relay learns from answers."""

    def test_nonce_refused(self) -> None:
        """Requests whose nonces are refused together make one discovery."""
        self.bench.known("a")
        taken = [self.successResultOf(self.bench.acquire()) for _ in range(3)]
        waiting = []
        for each in taken:
            self.service.nonce_refused(CHUTE, CLIENT, each)
            waiting.append(self.bench.acquire())
        self.bench.discover("a")
        self.assertEqual([self.got(each) for each in waiting], ["a"] * 3)
        self.service.nonce_refused(CHUTE, CLIENT, taken[0])
        self.assertEqual(self.got(self.bench.acquire()), "a")
        self.assertEqual(len(self.bench.discoveries), 2)

    def test_key_changed(self) -> None:
        """A key that its instance does not have is judged anew before it is used again."""
        self.bench.known("a")
        self.service.key_changed(CHUTE, self.successResultOf(self.bench.acquire()))
        waiting = self.bench.acquire()
        self.assertEqual(self.bench.open, ["a"])
        self.bench.answer("a", Refusal.BINDING_KEY)
        self.assertIs(self.error(waiting).refusal, Refusal.BINDING_KEY)

    def test_vanished(self) -> None:
        """An instance that is gone is used no more."""
        self.bench.known("a", "b")
        gone = self.successResultOf(self.bench.acquire(prefer="a"))
        self.service.vanished(CHUTE, CLIENT, gone)
        self.assertEqual(self.got(self.bench.acquire(prefer="a")), "b")


class StandingTests(BenchTestCase):
    """What is known without a question."""

    def test_ready(self) -> None:
        """A chute is ready for the client that has a nonce of a verified instance."""
        self.bench.acquire()
        self.bench.discover("a", nonces=2)
        self.assertEqual(self.service.standing(CLIENT).ready, frozenset())
        self.bench.answer("a")
        self.assertEqual(self.service.standing(CLIENT).ready, {CHUTE})
        self.assertEqual(self.service.standing(b"other").ready, frozenset())
        self.bench.acquire()
        self.assertEqual(self.service.standing(CLIENT).ready, frozenset())

    def test_unattestable(self) -> None:
        """A chute none of whose instances has evidence is known as such, to all clients."""
        self.bench.acquire().addErrback(lambda _: None)
        self.bench.discover("a", "b")
        self.bench.answer("a", NoEvidence.UNATTESTABLE)
        self.bench.answer("b", Refusal.TCB_STATUS)
        self.assertEqual(self.service.standing(b"other").unattestable, frozenset())
        self.bench.clock.advance(61)
        self.assertEqual(self.service.standing(b"other").unattestable, {CHUTE})
        self.bench.clock.advance(900)
        self.assertEqual(self.service.standing(b"other").unattestable, frozenset())


class LifeTests(BenchTestCase):
    """Start and stop."""

    def test_stop(self) -> None:
        """All that is under way ends, with those that wait, and nothing begins any more."""
        self.service.start()
        self.assertTrue(self.bench.basis.running)
        judged = self.bench.acquire()
        self.bench.discover("a", "b", "c", "d")
        discovering = self.bench.acquire(chute="other")
        self.service.stop()
        for each in (judged, discovering):
            self.failureResultOf(each, CancelledError)
        self.assertEqual(self.bench.open, [])
        self.assertFalse(self.bench.basis.running)
        self.assertEqual(self.bench.clock.getDelayedCalls(), [])
        self.assertIs(self.error(self.bench.acquire()).cause, Cause.NOT_READY)

    def test_report(self) -> None:
        """The report is of this moment, about pools and verdicts, and the basis completes it."""
        self.bench.acquire()
        self.bench.discover("a", "b")
        self.bench.clock.advance(3)
        self.bench.answer("a")
        self.bench.clock.advance(2)
        report = self.service.report()
        found = report.chutes[CHUTE]
        self.assertEqual((found.known, found.verified, found.nonces), (2, 1, 19))
        self.assertEqual((found.age, found.discovered), (2, 5))
        self.assertTrue(report.attestable)


class ConcurrencyTests(SynchronousTestCase):
    """Two hundred requests at a time."""

    @settings(max_examples=20, deadline=None)
    @given(data=st.data())
    def test_no_nonce_twice(self, data: st.DataObject) -> None:
        """No nonce is returned twice, however answers, departures and time are mixed."""
        bench = Bench()
        got: list[Attested] = []
        for number in range(200):
            each = bench.acquire(chute="xy"[number % 2])
            each.addCallbacks(got.append, lambda failure: failure.trap(UnavailableError))
        steps = st.sampled_from(["discover", "verify", "refuse", "time", "notice"])
        for step in data.draw(st.lists(steps, min_size=10, max_size=40)):
            if step == "discover":
                unanswered = [each for each in bench.discoveries if not each.called]
                # A platform that repeats itself, and one that does not.
                run = data.draw(st.integers(0, 2))
                for discovering in unanswered[:1]:
                    discovering.callback(listed(*"abcde", run=run))
            elif step in ("verify", "refuse") and bench.open:
                said = None if step == "verify" else Refusal.TCB_STATUS
                bench.answer(data.draw(st.sampled_from(bench.open)), said)
            elif step == "time":
                bench.clock.advance(data.draw(st.floats(0, 70)))
            elif step == "notice" and got:
                bench.service.nonce_refused("x", CLIENT, got[-1])
        nonces = [each.nonce for each in got]
        self.assertEqual(len(nonces), len(set(nonces)))

    def test_all_served(self) -> None:
        """As many discoveries are made as the requests need nonces, and all get one."""
        bench = Bench()
        waiting = [bench.acquire() for _ in range(200)]
        for _ in range(4):
            bench.discover("a", "b", "c", "d", "e")
            for name in tuple("abcde") if bench.open else ():
                bench.answer(name)
        nonces = {self.successResultOf(each).nonce for each in waiting}
        self.assertEqual((len(nonces), len(bench.discoveries)), (200, 4))
        self.assertEqual(len(bench.questions), 5)
