"""Tests of the parent's answers to its workers, message by message."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.instance_answers import (
    LOOK_SECONDS,
    REMEMBERED,
    Asker,
    InstanceAnswers,
)
from autopilot.attestation.private_instances import TEST_ROOTS, Attested, Cause, UnavailableError
from autopilot.attestation.private_report import PrivateReport
from autopilot.attestation.private_wire import (
    Acquire,
    Answer,
    Cancel,
    Event,
    Found,
    Hello,
    Missing,
    Notice,
    Question,
    Standing,
    answer,
    encode,
)
from autopilot.attestation.verdict import Refusal
from tests.unit.attestation.fake_instances import FOUND, FakeInstances, attested
from tests.unit.attestation.sealed import instance_key

CHUTE, CLIENT, BEARER = "chute", b"client", "Bearer canary"
ATTESTABLE = Standing("published", None)


class _Worker:
    """A worker, by the messages that it sends and gets."""

    def __init__(self, answers: InstanceAnswers) -> None:
        self.got: list[Answer] = []
        self.asker: Asker = answers.join(lambda sent: self.got.append(answer.decode(sent)))

    def send(self, message: Question) -> None:
        """Send a message to the parent."""
        self.asker.received(encode(message))

    def acquire(self, number: int = 1) -> None:
        """Wish for an instance."""
        self.send(Acquire(number, CHUTE, CLIENT, BEARER, ("x", "z"), "y"))

    def note(self, event: Event, nonce: str) -> None:
        """Send news of an instance."""
        self.send(Notice(event, CHUTE, CLIENT, nonce))


class AnswersTestCase(SynchronousTestCase):
    """A parent whose instances the test answers, and a worker."""

    def setUp(self) -> None:
        """Let the parent begin to answer, at a time that is not zero."""
        self.clock = Clock()
        self.clock.advance(100)
        self.own = FakeInstances()
        self.answers = InstanceAnswers(self.clock, self.own)
        self.answers.start()
        self.addCleanup(self.answers.stop)
        self.worker = _Worker(self.answers)

    def attested(self, instance_id: str = "id", nonce: str = "nonce") -> Attested:
        """Return an instance that was verified at 40 seconds."""
        return attested(instance_key(), instance_id, nonce, since=40)

    def handed(self, nonce: str, instance_id: str = "id") -> None:
        """Hand an instance out."""
        self.own.ready.append(self.attested(instance_id, nonce))
        self.worker.acquire()


class AcquireTests(AnswersTestCase):
    """The wish for an instance, and its answer."""

    def test_asked(self) -> None:
        """The wish reaches the parent's own instances whole."""
        self.worker.acquire()
        (asked,) = self.own.asked
        self.assertEqual((asked.chute, asked.client, asked.authorization), (CHUTE, CLIENT, BEARER))
        self.assertEqual((asked.avoid, asked.prefer), ({"x", "z"}, "y"))
        self.assertEqual(self.worker.got, [])

    def test_found(self) -> None:
        """An instance is sent with its key, its nonce, what was found, and its age in seconds."""
        self.worker.acquire(7)
        self.own.asked[0].answer.callback(self.attested())
        key = instance_key().text
        found = Found(7, "id", key, "nonce", FOUND, 60.0, "attested")
        self.assertEqual(self.worker.got, [found])

    def test_found_at_once(self) -> None:
        """An answer that needs no waiting is sent once, and there is nothing left to cancel."""
        self.handed("nonce")
        self.worker.send(Cancel(1))
        self.assertEqual([type(each) for each in self.worker.got], [Found])

    def test_missing(self) -> None:
        """Every cause is sent as it is, with all that belongs to it."""
        for number, cause in enumerate(Cause):
            self.worker.acquire(number)
            error = UnavailableError(cause, None, 1.5, 402, (cause, Refusal.DEBUG))
            self.own.asked[number].answer.errback(error)
            expected = Missing(number, cause, None, 1.5, 402, (cause.value, "debug"))
            self.assertEqual(self.worker.got.pop(), expected)

    def test_refused(self) -> None:
        """Every refusal is sent with its reason."""
        for number, refusal in enumerate(Refusal):
            self.worker.acquire(number)
            error = UnavailableError(Cause.REFUSED, refusal, 60.0, found=(refusal,))
            self.own.asked[number].answer.errback(error)
            expected = Missing(number, Cause.REFUSED, refusal, 60.0, None, (refusal.value,))
            self.assertEqual(self.worker.got.pop(), expected)

    def test_each_its_own(self) -> None:
        """Answers go to the worker that asked, by the number of its wish."""
        other = _Worker(self.answers)
        self.worker.acquire(1)
        other.acquire(1)
        self.worker.acquire(2)
        for place, name in ((2, "c"), (1, "b"), (0, "a")):
            self.own.asked[place].answer.callback(self.attested(name))
        for worker, expected in ((self.worker, [(2, "c"), (1, "a")]), (other, [(1, "b")])):
            found = [each for each in worker.got if isinstance(each, Found)]
            self.assertEqual([(each.number, each.instance_id) for each in found], expected)

    def test_cancelled(self) -> None:
        """A wish that is taken back ends the search of this wish alone, and logs nothing."""
        self.worker.acquire(1)
        self.worker.acquire(2)
        with capturedLogs() as logs:
            self.worker.send(Cancel(1))
        first, second = (each.answer for each in self.own.asked)
        self.assertEqual((first.called, second.called), (True, False))
        self.assertEqual(logs, [])
        self.worker.send(Cancel(3))
        self.assertFalse(second.called)

    def test_bug(self) -> None:
        """A bug is answered as not ready, and logged without what it quotes."""
        self.worker.acquire(5)
        with capturedLogs() as logs:
            self.own.asked[0].answer.errback(ZeroDivisionError("canary"))
        missing = Missing(5, Cause.NOT_READY, None, LOOK_SECONDS, None, ())
        self.assertEqual(self.worker.got, [missing])
        (entry,) = map(formatEvent, logs)
        self.assertIn("ZeroDivisionError", entry)
        self.assertNotIn("canary", repr(logs))


class NoticeTests(AnswersTestCase):
    """News of instances."""

    def test_events(self) -> None:
        """News of an instance that was handed out reaches the parent's own instances."""
        self.handed("nonce")
        for each in Event:
            self.worker.note(each, "nonce")
        self.assertEqual(self.own.told, [(each.value, "id") for each in Event])

    def test_unknown(self) -> None:
        """News of a nonce that was never handed out is no news."""
        self.handed("nonce")
        for each in Event:
            self.worker.note(each, "other")
        self.assertEqual(self.own.told, [])

    def test_of_another_worker(self) -> None:
        """A worker may have news of what its sibling got: both ask one parent."""
        self.handed("nonce")
        _Worker(self.answers).note(Event.VANISHED, "nonce")
        self.assertEqual(self.own.told, [("vanished", "id")])

    def test_remembered(self) -> None:
        """A bounded number of the last ones is remembered."""
        for number in range(REMEMBERED + 1):
            self.handed(f"n{number}", f"i{number}")
        for nonce in ("n0", "n1", f"n{REMEMBERED}"):
            self.worker.note(Event.VANISHED, nonce)
        self.assertEqual(self.own.told, [("vanished", "i1"), ("vanished", f"i{REMEMBERED}")])


class StandingTests(AnswersTestCase):
    """Whether anything is attestable."""

    def test_hello(self) -> None:
        """A worker that says hello gets the answer at once, and no other worker does."""
        other = _Worker(self.answers)
        self.own.shown = PrivateReport(TEST_ROOTS, why_not="no measurements")
        self.worker.send(Hello())
        self.assertEqual(self.worker.got, [Standing("test-roots", "no measurements")])
        self.assertEqual(other.got, [])

    def test_changes(self) -> None:
        """All workers get each change soon, and nothing while it stays the same."""
        other = _Worker(self.answers)
        self.clock.advance(LOOK_SECONDS)
        for worker in (self.worker, other):
            self.assertEqual(worker.got, [ATTESTABLE])
        self.clock.pump([LOOK_SECONDS] * 3)
        self.own.shown = PrivateReport(why_not="no measurements")
        self.clock.advance(LOOK_SECONDS / 2)
        self.assertEqual(self.worker.got, [ATTESTABLE])
        self.clock.advance(LOOK_SECONDS / 2)
        self.own.shown = PrivateReport()
        self.clock.advance(LOOK_SECONDS)
        for worker in (self.worker, other):
            not_attestable = Standing("published", "no measurements")
            self.assertEqual(worker.got, [ATTESTABLE, not_attestable, ATTESTABLE])


class EndTests(AnswersTestCase):
    """Workers and parents that end."""

    def test_worker(self) -> None:
        """The searches of a worker that ends are given up; those of another go on."""
        other = _Worker(self.answers)
        self.worker.acquire(1)
        self.worker.acquire(2)
        other.acquire(1)
        with capturedLogs() as logs:
            self.worker.asker.close()
        self.assertEqual([each.answer.called for each in self.own.asked], [True, True, False])
        self.assertEqual(logs, [])
        self.worker.got.clear()
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual((self.worker.got, other.got), ([], [ATTESTABLE]))

    def test_parent(self) -> None:
        """A parent that ends gives up all searches, and tells nothing more."""
        other = _Worker(self.answers)
        self.worker.acquire(3)
        other.acquire(4)
        self.answers.stop()
        for worker, number in ((self.worker, 3), (other, 4)):
            missing = Missing(number, Cause.NOT_READY, None, LOOK_SECONDS, None, ())
            self.assertEqual(worker.got, [missing])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_parent_never_began(self) -> None:
        """A parent that never began to tell can end."""
        answers = InstanceAnswers(self.clock, self.own)
        worker = _Worker(answers)
        worker.acquire()
        answers.stop()
        self.assertTrue(self.own.asked[0].answer.called)
