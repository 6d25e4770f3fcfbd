"""The platform's answers for private mode, each fetched with the key of the request that needs it.

Its texts are not passed on: a failure has one of the reasons of the pool or of the verdicts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import quote as quoted

from twisted.internet.defer import Deferred

from autopilot.attestation.evidence_state import Reason, refusal_reason
from autopilot.attestation.instances import (
    DiscoveredInstance,
    Discovery,
    DiscoveryError,
    parse_discovery,
)
from autopilot.attestation.nonce_pool import MINUTE, PoolError, PoolFault
from autopilot.attestation.verdicts import NoEvidence, NoEvidenceError
from autopilot.http.fetch import FetchedResponse
from autopilot.http.fetch_error import FetchError

Ask = Callable[[str, str], Deferred[FetchedResponse]]
"""Fetches a URL with an authorization, bounded in time and size."""

_LIMITED: Final = 429
_BAD_REQUEST: Final = 400
_UNAUTHORIZED: Final = (401, 402, 403)


class PlatformSource:
    """Fetches instances and evidence below the base URL of the platform's API."""

    def __init__(self, ask: Ask, api: str) -> None:
        self._ask = ask
        self._api = api

    def discover(self, chute: str, authorization: str) -> Deferred[Discovery]:
        """Fetch up to five instances of a chute. Fails with `PoolError`."""
        return Deferred.fromCoroutine(self._discover(chute, authorization))

    def evidence(
        self, instance: DiscoveredInstance, nonce: str, authorization: str
    ) -> Deferred[bytes]:
        """Fetch an instance's evidence for a nonce. Fails with `NoEvidenceError`."""
        return Deferred.fromCoroutine(self._evidence(instance, nonce, authorization))

    async def _discover(self, chute: str, authorization: str) -> Discovery:
        if not authorization.isascii():
            # No key of the platform's is, and none can be sent.
            raise PoolError(PoolFault.UNAUTHORIZED, status=401)
        url = f"{self._api}/e2e/instances/{quoted(chute, safe='')}"
        try:
            answer = await self._ask(url, authorization)
        except FetchError:
            raise PoolError(PoolFault.FAILED) from None
        if answer.status == _LIMITED:
            # The platform counts by the minute, and does not say when it began.
            raise PoolError(PoolFault.LIMITED, MINUTE)
        if answer.status in _UNAUTHORIZED:
            raise PoolError(PoolFault.UNAUTHORIZED, status=answer.status)
        if answer.status != 200:
            raise PoolError(PoolFault.FAILED)
        try:
            return parse_discovery(answer.body)
        except DiscoveryError:
            raise PoolError(PoolFault.FAILED) from None

    async def _evidence(
        self, instance: DiscoveredInstance, nonce: str, authorization: str
    ) -> bytes:
        url = f"{self._api}/instances/{quoted(instance.instance_id, safe='')}/evidence"
        try:
            answer = await self._ask(f"{url}?nonce={nonce}", authorization)
        except FetchError:
            raise NoEvidenceError(NoEvidence.UNANSWERED) from None
        if answer.status != 200:
            raise NoEvidenceError(_reason(answer))
        return answer.body


def _reason(answer: FetchedResponse) -> NoEvidence:
    """Return whether an instance has no evidence, or none at present, or none for this key."""
    if answer.status in _UNAUTHORIZED:
        return NoEvidence.UNAUTHORIZED
    if answer.status != _BAD_REQUEST:
        return NoEvidence.UNANSWERED
    refused = refusal_reason(answer.status, answer.body) is Reason.NONCE_REFUSED
    return NoEvidence.UNANSWERED if refused else NoEvidence.UNATTESTABLE
