"""Attested instances as values, and the fake that other tests use."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.private_instances import (
    Attested,
    Cause,
    PrivateInstances,
    UnavailableError,
)
from autopilot.attestation.verdict import Refusal
from tests.unit.attestation.fake_instances import FakeInstances, attested
from tests.unit.attestation.sealed import instance_key


class AttestedTests(SynchronousTestCase):
    """`Attested`."""

    def test_repr(self) -> None:
        """Its text has neither the key nor the nonce."""
        key = instance_key()
        text = repr(attested(key, "id", nonce="canary"))
        self.assertNotIn("canary", text)
        self.assertNotIn(key.text[:16], text)


class UnavailableErrorTests(SynchronousTestCase):
    """`UnavailableError`."""

    def test_text(self) -> None:
        """Its text is the cause."""
        error = UnavailableError(Cause.REFUSED, Refusal.TCB_STATUS, 60.0)
        self.assertEqual(str(error), "refused")


class FakeInstancesTests(SynchronousTestCase):
    """`FakeInstances` does what the protocol says."""

    def test_answers(self) -> None:
        """It gives its answers in order, and then waits."""
        ready: Attested = attested(instance_key(), "id")
        fake: PrivateInstances = FakeInstances(ready, UnavailableError(Cause.NO_INSTANCE))
        self.assertIs(self.successResultOf(fake.acquire("c", b"", "a", (), None)), ready)
        self.failureResultOf(fake.acquire("c", b"", "a", (), None), UnavailableError)
        self.assertNoResult(fake.acquire("c", b"", "a", ("id",), None))
