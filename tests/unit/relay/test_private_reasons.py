"""The reason for which an attempt on an instance fails, by the error that came."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.relay.private_reasons import FINAL, NOT_THE_MODELS, reason_of_error
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.private_errors import PrivateError


class ReasonTests(SynchronousTestCase):
    """Kinds of errors, and the statuses of those that have none."""

    def test_by_kind(self) -> None:
        """A kind that says something has its reason, whatever the status."""
        for kind, reason in (
            (PrivateError.CAPACITY, FailureReason.CAPACITY),
            (PrivateError.INSTANCE_GONE, FailureReason.INSTANCE_GONE),
            (PrivateError.KEY_CHANGED, FailureReason.INSTANCE_GONE),
            (PrivateError.MODEL_ABSENT, FailureReason.NOT_FOUND),
            (PrivateError.STREAM_ONLY, FailureReason.NOT_SERVED),
            (PrivateError.NOT_SERVED, FailureReason.NOT_SERVED),
            (PrivateError.NONCE, FailureReason.NONCE_REFUSED),
        ):
            for status in (400, 503):
                self.assertIs(reason_of_error(kind, status), reason)

    def test_by_status(self) -> None:
        """Else a 5xx is its own reason, and anything else is an instance that is gone."""
        known = (
            PrivateError.CAPACITY,
            PrivateError.INSTANCE_GONE,
            PrivateError.KEY_CHANGED,
            PrivateError.MODEL_ABSENT,
            PrivateError.STREAM_ONLY,
            PrivateError.NOT_SERVED,
            PrivateError.NONCE,
        )
        others = [kind for kind in PrivateError if kind not in known]
        self.assertTrue(others)
        for kind in others:
            self.assertEqual(reason_of_error(kind, 502), "status_502")
            self.assertIs(reason_of_error(kind, 418), FailureReason.INSTANCE_GONE)

    def test_what_counts_against_a_model(self) -> None:
        """A failure of an instance does; that no nonce is left, or that none is served, not."""
        self.assertNotIn(FailureReason.INSTANCE_GONE, NOT_THE_MODELS)
        self.assertNotIn(FailureReason.REPLY_INVALID, NOT_THE_MODELS)
        self.assertIn(FailureReason.NONCE_REFUSED, NOT_THE_MODELS)
        self.assertIn(FailureReason.NOT_SERVED, NOT_THE_MODELS)

    def test_last_words(self) -> None:
        """What is not served is the client's to change, what was not sealed is not."""
        self.assertEqual(FINAL[FailureReason.NOT_SERVED].status, 400)
        self.assertEqual(FINAL[FailureReason.REPLY_INVALID].status, 502)
