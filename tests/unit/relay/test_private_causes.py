"""The causes that a private request's error counts."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.private_instances import Cause, UnavailableError
from autopilot.attestation.verdict import Refusal
from autopilot.relay.private_causes import Causes, reason_of, unauthorized
from autopilot.routing.failure_reason import FailureReason


class CausesTests(SynchronousTestCase):
    """Counted causes."""

    def said(self, causes: Causes) -> str:
        """Return what the message says of the causes."""
        return causes.error().message.split(": ", 1)[1].split(". ", 1)[0]

    def test_all_of_them(self) -> None:
        """Every cause has words, and those of the router as a whole have no number."""
        uncounted = {"discovery limited", "discovery failed", "not ready", "library"}
        for cause in Cause:
            causes = Causes()
            causes.add(UnavailableError(cause))
            causes.add(UnavailableError(cause))
            words = cause.value.replace("_", " ")
            self.assertEqual(self.said(causes), words if words in uncounted else f"{words} 2")

    def test_refusals(self) -> None:
        """The reasons of refusals are named, each once."""
        causes = Causes()
        for refusal in (Refusal.TCB_STATUS, Refusal.DEBUG, Refusal.TCB_STATUS):
            causes.add(UnavailableError(Cause.REFUSED, refusal))
        self.assertEqual(self.said(causes), "refused 3 (debug, tcb_status)")

    def test_failed(self) -> None:
        """Attested instances that failed are counted in the same way."""
        causes = Causes()
        for reason in (
            FailureReason.CAPACITY,
            FailureReason.CAPACITY,
            FailureReason.INSTANCE_GONE,
            FailureReason("status_503"),
            FailureReason.CUT,
        ):
            causes.failed(reason)
        causes.add(UnavailableError(Cause.AT_CAPACITY))
        self.assertEqual(self.said(causes), "at capacity 3, gone 1, failed 2")

    def test_retry_after(self) -> None:
        """The earliest time at which another attempt may have another result, up to a minute."""
        for given, expected in (
            ((), 5),
            ((0.0,), 5),
            ((30.0, 11.2, 0.0), 12),
            ((0.01,), 1),
            ((900.0,), 60),
        ):
            causes = Causes()
            for seconds in given:
                causes.add(UnavailableError(Cause.NO_INSTANCE, retry_after=seconds))
            self.assertEqual(causes.error().retry_after, expected)

    def test_reasons(self) -> None:
        """Each cause has the reason of a failed attempt."""
        found = {cause: reason_of(UnavailableError(cause)).value for cause in Cause}
        self.assertEqual(
            {cause: reason for cause, reason in found.items() if reason != "not_attested"},
            {
                Cause.AT_CAPACITY: "capacity",
                Cause.DISCOVERY_LIMITED: "discovery",
                Cause.DISCOVERY_FAILED: "discovery",
            },
        )

    def test_unauthorized(self) -> None:
        """The status is the platform's, if it is one of a key or an account."""
        for given, status in ((401, 401), (402, 402), (403, 403), (None, 401), (418, 401)):
            self.assertEqual(unauthorized(given).status, status)
