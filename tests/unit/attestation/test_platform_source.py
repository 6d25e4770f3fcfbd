"""Tests of the platform's answers for private mode, and of the reason of each failure."""

from __future__ import annotations

import json

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.instances import DiscoveredInstance
from autopilot.attestation.nonce_pool import PoolError, PoolFault
from autopilot.attestation.platform_source import PlatformSource
from autopilot.attestation.verdicts import NoEvidence, NoEvidenceError
from autopilot.http.fetch import FetchedResponse
from autopilot.http.fetch_error import NETWORK, FetchError
from tests.unit.attestation.platform import CHUTE, INSTANCES, Platform

INSTANCE = DiscoveredInstance(INSTANCES["A"], "key")
BEARER = "Bearer canary"


def detail(status: int, text: str) -> FetchedResponse:
    """Return an error of the platform."""
    return FetchedResponse(status, json.dumps({"detail": text}).encode())


class PlatformSourceTests(SynchronousTestCase):
    """Discovery and evidence."""

    def setUp(self) -> None:
        """Make a source."""
        self.asked: list[tuple[str, str]] = []
        self.answer: FetchedResponse | FetchError = FetchedResponse(200, b"")
        self.source = PlatformSource(self.ask, "https://api.test")

    def ask(self, url: str, authorization: str) -> Deferred[FetchedResponse]:
        """Answer."""
        self.asked.append((url, authorization))
        return fail(self.answer) if isinstance(self.answer, FetchError) else succeed(self.answer)

    def test_discovery(self) -> None:
        """Instances are fetched with the request's key, whatever the chute is called."""
        self.answer = FetchedResponse(200, json.dumps(Platform().discovery()).encode())
        found = self.successResultOf(self.source.discover(CHUTE, BEARER))
        self.assertEqual(len(found.instances), 2)
        self.successResultOf(self.source.discover("a/../b?", BEARER))
        urls = [f"https://api.test/e2e/instances/{each}" for each in (CHUTE, "a%2F..%2Fb%3F")]
        self.assertEqual(self.asked, [(each, BEARER) for each in urls])

    def test_no_discovery(self) -> None:
        """A limit differs from other failures, and no text is passed on."""
        for answer, fault, after in (
            (detail(429, "canary"), PoolFault.LIMITED, 60),
            (detail(401, "canary"), PoolFault.UNAUTHORIZED, 0),
            (detail(402, "canary"), PoolFault.UNAUTHORIZED, 0),
            (detail(403, "canary"), PoolFault.UNAUTHORIZED, 0),
            (detail(404, "canary"), PoolFault.FAILED, 0),
            (detail(500, "canary"), PoolFault.FAILED, 0),
            (FetchedResponse(200, b"[]"), PoolFault.FAILED, 0),
            (FetchError(NETWORK, "canary"), PoolFault.FAILED, 0),
        ):
            self.answer = answer
            error = self.failureResultOf(self.source.discover(CHUTE, BEARER), PoolError).value
            assert isinstance(error, PoolError)
            self.assertEqual((error.fault, error.retry_after), (fault, after))
            refused = fault is PoolFault.UNAUTHORIZED
            assert isinstance(answer, FetchedResponse) or not refused
            self.assertEqual(error.status, answer.status if refused else None)
            self.assertNotIn("canary", str(error))

    def test_evidence(self) -> None:
        """Evidence is fetched for the nonce, and returned as it is."""
        self.answer = FetchedResponse(200, b"evidence")
        got = self.source.evidence(INSTANCE, "5a" * 32, BEARER)
        self.assertEqual(self.successResultOf(got), b"evidence")
        url = f"https://api.test/instances/{INSTANCES['A']}/evidence?nonce={'5a' * 32}"
        self.assertEqual(self.asked, [(url, BEARER)])

    def test_no_evidence(self) -> None:
        """An instance that has none differs from one that does not answer now."""
        old = "Instances requires chutes_version >= 0.6.0 to retrieve evidence."
        undeployed = "Instance has no deployment_id; evidence is only available after TEE"
        for answer, reason in (
            (detail(400, old), NoEvidence.UNATTESTABLE),
            (detail(400, undeployed), NoEvidence.UNATTESTABLE),
            (detail(400, "Nonce must be 64 hex characters."), NoEvidence.UNANSWERED),
            (detail(401, "canary"), NoEvidence.UNAUTHORIZED),
            (detail(403, "canary"), NoEvidence.UNAUTHORIZED),
            (detail(404, "canary"), NoEvidence.UNANSWERED),
            (detail(429, "canary"), NoEvidence.UNANSWERED),
            (detail(502, "canary"), NoEvidence.UNANSWERED),
            (FetchError(NETWORK, "canary"), NoEvidence.UNANSWERED),
        ):
            self.answer = answer
            got = self.source.evidence(INSTANCE, "5a" * 32, BEARER)
            error = self.failureResultOf(got, NoEvidenceError).value
            assert isinstance(error, NoEvidenceError)
            self.assertEqual((error.reason, str(error)), (reason, str(reason)))

    def test_cancelled(self) -> None:
        """Cancelling ends the fetch."""
        cancelled: list[object] = []
        fetching: Deferred[FetchedResponse] = Deferred(cancelled.append)
        source = PlatformSource(lambda _url, _authorization: fetching, "https://api.test")
        waiting = source.discover(CHUTE, BEARER)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(cancelled, [fetching])
