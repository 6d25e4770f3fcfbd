"""What a worker and its parent send each other: read as sent, and without secrets when shown."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.private_instances import Cause
from autopilot.attestation.private_wire import (
    Acquire,
    Cancel,
    Event,
    Hello,
    Missing,
    Notice,
    Standing,
    answer,
    encode,
    question,
    reason,
)
from autopilot.attestation.verdict import Refusal

ACQUIRE = Acquire(7, "chute", b"canary", "Bearer canary", ("id-1",), "id-2")
NOTICE = Notice(Event.KEY_CHANGED, "chute", b"canary", "canary")
MISSING = Missing(7, Cause.REFUSED, Refusal.DEBUG, 1.5, 401, ("debug",))


class WireTests(SynchronousTestCase):
    """The messages of both directions."""

    def test_questions(self) -> None:
        """The parent reads what a worker sent, with its kind."""
        for message in (Hello(), ACQUIRE, Cancel(7), NOTICE):
            read = question.decode(encode(message))
            self.assertIs(type(read), type(message))
            self.assertEqual(read, message)

    def test_answers(self) -> None:
        """A worker reads what the parent sent, with its kind."""
        for message in (MISSING, Standing("roots", None), Standing("roots", "why")):
            read = answer.decode(encode(message))
            self.assertIs(type(read), type(message))
            self.assertEqual(read, message)

    def test_directions(self) -> None:
        """Neither side takes a message of the other direction."""
        self.assertRaises(msgspec.ValidationError, answer.decode, encode(ACQUIRE))
        self.assertRaises(msgspec.ValidationError, question.decode, encode(MISSING))

    def test_shown(self) -> None:
        """No nonce, client or authorization is in the text of a message."""
        for message in (ACQUIRE, NOTICE):
            self.assertEqual(repr(message), f"{type(message).__name__}()")

    def test_reasons(self) -> None:
        """Each text stands for what wrote it; an unknown one for nothing."""
        for each in (*Refusal, *Cause):
            self.assertIs(reason(str(each)), each)
        self.assertRaises(ValueError, reason, "unheard of")
