"""Tests of private mode without its packages."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.no_library import NoLibrary
from autopilot.attestation.private_instances import Cause, PrivateInstances, UnavailableError


class NoLibraryTests(SynchronousTestCase):
    """`NoLibrary`."""

    def test_nothing(self) -> None:
        """No request gets an instance, and the report says what to install."""
        service: PrivateInstances = NoLibrary()
        service.start()
        error = self.failureResultOf(
            service.acquire("chute", b"client", "Bearer a", (), None), UnavailableError
        ).value
        assert isinstance(error, UnavailableError)
        self.assertIs(error.cause, Cause.LIBRARY)
        self.assertEqual(service.standing(b"client").ready, frozenset())
        report = service.report()
        self.assertFalse(report.attestable)
        assert report.why_not is not None
        self.assertIn("pip install 'chutes-autopilot[private]'", report.why_not)
        service.stop()
