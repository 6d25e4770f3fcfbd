"""Tests of attested instances that a worker asks its parent for, over messages in memory."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.asked_instances import MAX_LEARNED, READY_SECONDS, AskedInstances
from autopilot.attestation.instance_answers import LOOK_SECONDS, Asker, InstanceAnswers
from autopilot.attestation.private_instances import (
    Attested,
    Cause,
    PrivateInstances,
    UnavailableError,
)
from autopilot.attestation.private_report import PrivateReport
from autopilot.attestation.private_wire import Found, encode
from autopilot.attestation.sealing import InstanceKey, UnsealableError
from autopilot.attestation.verdict import Refusal
from tests.unit.attestation.fake_instances import FOUND, FakeInstances, attested
from tests.unit.attestation.sealed import instance_key

CHUTE, CLIENT, BEARER = "chute", b"client", "Bearer canary"


class AskedInstancesTests(SynchronousTestCase):
    """Two workers and their parent, whose own instances the test answers."""

    def setUp(self) -> None:
        """Connect the workers."""
        self.clock = Clock()
        self.own = FakeInstances()
        self.answers = InstanceAnswers(self.clock, self.own)
        self.answers.start()
        self.addCleanup(self.answers.stop)
        self.sent: list[bytes] = []
        self.worker, self.asker = self.joined()
        self.service: PrivateInstances = self.worker

    def joined(self) -> tuple[AskedInstances, Asker]:
        """Return a worker that asks the parent."""
        worker = AskedInstances(self.clock, InstanceKey)
        asker = self.answers.join(worker.received)

        def send(message: bytes) -> None:
            self.sent.append(message)
            asker.received(message)

        worker.connect(send)
        return worker, asker

    def acquire(self, worker: AskedInstances | None = None, **more: object) -> Deferred[Attested]:
        """Ask for an instance."""
        given = {"chute": CHUTE, "client": CLIENT, "avoid": ("x",), "prefer": "y"} | more
        return (worker or self.worker).acquire(authorization=BEARER, **given)  # type: ignore[arg-type]

    def error(self, waiting: Deferred[Attested]) -> UnavailableError:
        """Return why there is none."""
        error = self.failureResultOf(waiting, UnavailableError).value
        assert isinstance(error, UnavailableError)
        return error

    def test_found(self) -> None:
        """The worker has what the parent found, and its age in its own clock."""
        self.clock.advance(100)
        waiting = self.acquire()
        asked = self.own.asked[0]
        self.assertEqual(
            (asked.chute, asked.client, asked.authorization, asked.avoid, asked.prefer),
            (CHUTE, CLIENT, BEARER, {"x"}, "y"),
        )
        asked.answer.callback(attested(instance_key(), "id", "nonce", since=40))
        found = self.successResultOf(waiting)
        self.assertEqual((found.instance_id, found.nonce, found.since), ("id", "nonce", 40))
        self.assertEqual((found.key.text, found.verified), (instance_key().text, FOUND))

    def test_missing(self) -> None:
        """All that the error says reaches the worker."""
        waiting = self.acquire()
        found = (Refusal.TCB_STATUS, Cause.DISCOVERY_LIMITED)
        given = UnavailableError(Cause.REFUSED, Refusal.TCB_STATUS, 60.0, 402, found)
        self.own.asked[0].answer.errback(given)
        self.assertEqual(vars(self.error(waiting)), vars(given))

    def test_each_its_own(self) -> None:
        """Answers reach the worker and the request that they are for."""
        other, _asker = self.joined()
        waiting = [self.acquire(), self.acquire(other), self.acquire()]
        for place in (2, 0, 1):
            self.own.asked[place].answer.callback(attested(instance_key(), "id", f"n{place}"))
        self.assertEqual([self.successResultOf(each).nonce for each in waiting], ["n0", "n1", "n2"])

    def test_cancelled(self) -> None:
        """A request that leaves ends the parent's search; a late answer is for no other."""
        waiting = self.acquire()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertTrue(self.own.asked[0].answer.called)

    def test_late(self) -> None:
        """An instance that arrives for a request that has left is dropped."""
        late = Found(77, "id", instance_key().text, "nonce", FOUND, 0.0, "attested")
        self.worker.received(encode(late))
        self.assertEqual(self.worker.standing(CLIENT).ready, frozenset())

    def test_unparsable(self) -> None:
        """A key to which nothing can be sealed is no instance."""
        waiting = self.acquire()
        number = 1
        message = Found(number, "id", "no key", "nonce", FOUND, 0.0, "attested")
        self.worker.received(encode(message))
        self.assertIs(self.error(waiting).cause, Cause.INTERNAL)
        with self.assertRaises(UnsealableError):
            InstanceKey("no key")

    def test_notices(self) -> None:
        """What a worker learns of an instance reaches the parent, of what it has handed out."""
        waiting = self.acquire()
        self.own.asked[0].answer.callback(attested(instance_key(), "id", "nonce"))
        found = self.successResultOf(waiting)
        self.service.nonce_refused(CHUTE, CLIENT, found)
        self.service.key_changed(CHUTE, found)
        self.service.vanished(CHUTE, CLIENT, found)
        self.service.vanished(CHUTE, CLIENT, attested(instance_key(), "other", "unknown"))
        self.assertEqual(
            self.own.told, [("nonce_refused", "id"), ("key_changed", "id"), ("vanished", "id")]
        )

    def test_standing(self) -> None:
        """What is known of chutes is what the answers taught, for a while."""
        self.own.ready = [
            attested(instance_key(), "id"),
            UnavailableError(Cause.NOT_ATTESTABLE, retry_after=900.0),
        ]
        self.acquire()
        self.error(self.acquire(chute="old"))
        known = self.service.standing(CLIENT)
        self.assertEqual((known.ready, known.unattestable), ({CHUTE}, {"old"}))
        self.assertEqual(self.service.standing(b"other").ready, frozenset())
        self.clock.advance(READY_SECONDS)
        self.assertEqual(self.service.standing(CLIENT).ready, frozenset())
        self.clock.advance(900)
        self.assertEqual(self.service.standing(CLIENT).unattestable, frozenset())

    def test_standing_changes(self) -> None:
        """A later answer takes back what an earlier one taught."""
        self.own.ready = [
            attested(instance_key(), "id"),
            UnavailableError(Cause.NOT_ATTESTABLE, retry_after=900.0),
            attested(instance_key(), "id"),
        ]
        self.acquire()
        self.error(self.acquire())
        self.assertEqual(self.service.standing(CLIENT).ready, frozenset())
        self.acquire()
        self.assertEqual(self.service.standing(CLIENT).unattestable, frozenset())

    def test_bounded(self) -> None:
        """No more is learned than a number."""
        for number in range(MAX_LEARNED + 1):
            self.own.ready = [UnavailableError(Cause.NOT_ATTESTABLE, retry_after=900.0)]
            self.error(self.acquire(chute=f"c{number}"))
        known = self.service.standing(CLIENT).unattestable
        self.assertEqual(len(known), MAX_LEARNED)
        self.assertNotIn("c0", known)

    def test_report(self) -> None:
        """A worker knows whether anything is attestable, from its start and after a change."""
        self.assertTrue(self.service.report().attestable)
        other = AskedInstances(self.clock, InstanceKey)
        self.assertFalse(other.report().attestable)
        self.clock.advance(LOOK_SECONDS)
        self.own.shown = PrivateReport("test-roots", why_not="no measurements")
        self.clock.advance(LOOK_SECONDS)
        report = self.service.report()
        self.assertEqual(
            (report.attestable, report.why_not, report.roots),
            (False, "no measurements", "test-roots"),
        )
        self.own.shown = PrivateReport(attestable=True)
        self.clock.advance(LOOK_SECONDS)
        self.assertTrue(self.service.report().attestable)

    def test_worker_ends(self) -> None:
        """The searches of a worker that ends are given up, and it gets no news any more."""
        waiting = self.acquire()
        self.asker.close()
        self.assertIs(self.error(waiting).cause, Cause.NOT_READY)
        self.assertTrue(self.own.asked[0].answer.called)
        self.own.shown = PrivateReport(why_not="no measurements")
        self.clock.advance(LOOK_SECONDS)
        self.assertTrue(self.service.report().attestable)

    def test_parent_ends(self) -> None:
        """Without a parent a worker gets no instance, and none waits for one."""
        waiting = self.acquire()
        self.service.start()
        self.service.stop()
        self.assertIs(self.error(waiting).cause, Cause.NOT_READY)
        self.assertIs(self.error(self.acquire()).cause, Cause.NOT_READY)
        self.service.vanished(CHUTE, CLIENT, attested(instance_key(), "id"))
        self.assertEqual(len(self.sent), 2)

    def test_bugs(self) -> None:
        """A bug in the parent is an error of its kind in the worker, and one entry of the log."""
        waiting = self.acquire()
        with capturedLogs() as logs:
            self.own.asked[0].answer.errback(ZeroDivisionError("canary"))
        self.assertIs(self.error(waiting).cause, Cause.NOT_READY)
        self.assertEqual(len(logs), 1)
        self.assertNotIn("canary", repr(logs))
