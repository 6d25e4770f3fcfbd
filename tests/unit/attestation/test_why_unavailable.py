"""Tests of the causes: why an instance is of no use, and which reason stands for all instances."""

from __future__ import annotations

from itertools import permutations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.nonce_pool import PoolError, PoolFault
from autopilot.attestation.private_instances import Cause
from autopilot.attestation.verdict import Refusal, Verified
from autopilot.attestation.verdicts import NoEvidence, Verdict
from autopilot.attestation.why_unavailable import unavailable, undiscovered, why_not
from tests.unit.attestation.fake_instances import FOUND


def verdict(found: Verified | Refusal | NoEvidence) -> Verdict:
    """Return a verdict."""
    return Verdict(found, 0.0, 60.0, 40.0)


class InstanceTests(SynchronousTestCase):
    """One instance."""

    def test_unsealable(self) -> None:
        """Without a key to seal to it is not attestable, whatever else is known."""
        for known in (None, verdict(FOUND), verdict(Refusal.DEBUG)):
            for has_nonce in (True, False):
                self.assertIs(why_not(known, False, has_nonce), Cause.NOT_ATTESTABLE)

    def test_no_verdict(self) -> None:
        """It was not asked about for want of a nonce, or it has not answered."""
        self.assertIs(why_not(None, True, False), Cause.NO_NONCE)
        self.assertIs(why_not(None, True, True), Cause.UNANSWERED)

    def test_refused(self) -> None:
        """Every refusal is its own reason."""
        for each in Refusal:
            self.assertIs(why_not(verdict(each), True, True), each)

    def test_no_evidence(self) -> None:
        """Evidence that does not exist and evidence that did not arrive are two causes."""
        for found, cause in (
            (NoEvidence.UNATTESTABLE, Cause.NOT_ATTESTABLE),
            (NoEvidence.UNANSWERED, Cause.UNANSWERED),
            (NoEvidence.UNAUTHORIZED, Cause.UNANSWERED),
        ):
            self.assertIs(why_not(verdict(found), True, True), cause)

    def test_verified(self) -> None:
        """A verified key can only lack a nonce."""
        self.assertIs(why_not(verdict(FOUND), True, False), Cause.NO_NONCE)


class UnavailableTests(SynchronousTestCase):
    """All instances together."""

    def test_none(self) -> None:
        """Without instances there is no other reason."""
        error = unavailable((), 15.0)
        self.assertEqual(
            (error.cause, error.refusal, error.retry_after, error.status, error.found),
            (Cause.NO_INSTANCE, None, 15.0, None, ()),
        )

    def test_soonest(self) -> None:
        """The reason that may change soonest stands for all, in whatever order they are."""
        order = (Cause.NO_NONCE, Refusal.DEBUG, Cause.UNANSWERED, Cause.NOT_ATTESTABLE)
        for first in range(len(order)):
            best = order[first]
            for found in permutations(order[first:]):
                error = unavailable(found, 1.0)
                refused = best is Refusal.DEBUG
                self.assertIs(error.cause, Cause.REFUSED if refused else best)
                self.assertIs(error.refusal, Refusal.DEBUG if refused else None)
                self.assertEqual(error.found, found)

    def test_first_refusal(self) -> None:
        """Of several refusals the first is named."""
        error = unavailable((Cause.UNANSWERED, Refusal.TCB_STATUS, Refusal.DEBUG), 60.0)
        self.assertEqual((error.cause, error.refusal), (Cause.REFUSED, Refusal.TCB_STATUS))

    def test_undiscovered(self) -> None:
        """A discovery that failed is the cause, with its status, after what was known before."""
        for fault, cause, status in (
            (PoolFault.LIMITED, Cause.DISCOVERY_LIMITED, None),
            (PoolFault.FAILED, Cause.DISCOVERY_FAILED, None),
            (PoolFault.UNAUTHORIZED, Cause.UNAUTHORIZED, 402),
        ):
            error = undiscovered(PoolError(fault, 7.5, status), (Refusal.DEBUG,))
            self.assertEqual((error.cause, error.refusal), (cause, None))
            self.assertEqual((error.retry_after, error.status), (7.5, status))
            self.assertEqual(error.found, (Refusal.DEBUG, cause))
        self.assertEqual(len(PoolFault), 3)
