"""The verification behind ``autopilot evidence --verify``: each instance that discovery lists."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote as quoted

from twisted.internet.defer import Deferred

from autopilot.attestation.collateral import CollateralError, Platform, fetch_collateral
from autopilot.attestation.evidence_state import refusal_reason
from autopilot.attestation.instances import DiscoveredInstance, DiscoveryError, parse_discovery
from autopilot.attestation.measurements import parse_published
from autopilot.attestation.quote_verification import MAX_QUOTE_BYTES, platform_of
from autopilot.attestation.sealing import InstanceKey, UnsealableError
from autopilot.attestation.verdict import Refusal, RefusedError, Verified
from autopilot.attestation.verification import (
    Policy,
    Question,
    decoded,
    read_evidence,
    verify,
)
from autopilot.cli.console import CommandError
from autopilot.cli.evidence_saved import SavedAnswers
from autopilot.http.fetch import FetchedResponse
from autopilot.http.fetch_error import FetchError
from autopilot.measurement import MeasurementsError

KEY_REFUSED: Final = "key_malformed"
"""Discovery gave a key to which nothing can be sealed."""

Ask = Callable[[str, str | None], Deferred[FetchedResponse]]


@dataclass(frozen=True, slots=True)
class Result:
    """One instance: verified, refused for a reason, or not answered for a reason."""

    instance_id: str
    verified: Verified | None = None
    refused: str | None = None
    unanswered: str | None = None


@dataclass(slots=True)
class Source:
    """The answers that are judged: from the platform and Intel, kept if there is a directory.

    ``ask`` fetches a URL, with an authorization or without.
    """

    ask: Ask
    api: str
    intel: str
    authorization: str = field(repr=False)
    chute_id: str
    saved: SavedAnswers | None = None
    _collateral: dict[Platform, str] = field(default_factory=dict, repr=False)

    async def instances(self) -> tuple[DiscoveredInstance, ...]:
        """Discover instances. Raises `CommandError`."""
        url = f"{self.api}/e2e/instances/{quoted(self.chute_id, safe='')}"
        answer = await self._fetched(url, "the instances", self.authorization)
        if answer.status != 200:
            raise CommandError(f"the instances could not be fetched: {_why(answer)}")
        try:
            found = parse_discovery(answer.body).instances
        except DiscoveryError as error:
            raise CommandError(f"the instances could not be read: {error}") from None
        if self.saved is not None:
            self.saved.keep_instances(found)
        return found

    async def measurements(self) -> bytes:
        """Fetch the platform's list. Raises `CommandError`."""
        url = f"{self.api}/servers/tee/measurements"
        answer = await self._fetched(url, "the measurements", None)
        if answer.status != 200:
            raise CommandError(f"the measurements could not be fetched: {_why(answer)}")
        if self.saved is not None:
            self.saved.keep_measurements(answer.body)
        return answer.body

    async def evidence(self, instance: DiscoveredInstance) -> tuple[str, bytes] | str:
        """Fetch evidence with a fresh nonce; return nonce and answer, or why there is none."""
        nonce = secrets.token_hex(32)
        url = f"{self.api}/instances/{instance.instance_id}/evidence?nonce={nonce}"
        try:
            answer = await self.ask(url, self.authorization)
        except FetchError as error:
            return str(error)
        if answer.status != 200:
            return _why(answer)
        if self.saved is not None:
            self.saved.keep_evidence(instance, nonce, answer.body)
        return nonce, answer.body

    async def collateral(self, platform: Platform) -> str | None:
        """Fetch Intel's data about a platform, once. Raises `CommandError`."""
        if platform not in self._collateral:
            try:
                found = await fetch_collateral(self._ask_intel, self.intel, platform)
            except (FetchError, CollateralError) as error:
                raise CommandError(f"Intel's collateral could not be fetched: {error}") from None
            self._collateral[platform] = found
            if self.saved is not None:
                self.saved.keep_collateral(platform, found)
        return self._collateral[platform]

    def _ask_intel(self, url: str) -> Deferred[FetchedResponse]:
        return self.ask(url, None)

    async def _fetched(self, url: str, what: str, authorization: str | None) -> FetchedResponse:
        try:
            return await self.ask(url, authorization)
        except FetchError as error:
            raise CommandError(f"{what} could not be fetched: {error}") from None


@dataclass(frozen=True, slots=True)
class OfflineSource:
    """The answers of an earlier run."""

    saved: SavedAnswers

    async def instances(self) -> tuple[DiscoveredInstance, ...]:
        """Return the instances."""
        return self.saved.instances()

    async def measurements(self) -> bytes:
        """Return the platform's list."""
        return self.saved.measurements()

    async def evidence(self, instance: DiscoveredInstance) -> tuple[str, bytes] | str:
        """Return nonce and answer, or why there is none."""
        return self.saved.evidence(instance) or "no answer was saved"

    async def collateral(self, platform: Platform) -> str | None:
        """Return Intel's data, or None if it was not saved."""
        return self.saved.collateral(platform)


async def verify_all(
    source: Source | OfflineSource, policy: Policy, now: int, progress: Callable[[str], None]
) -> list[Result]:
    """Verify every instance, one after the other. Raises `CommandError`."""
    results = []
    instances = await source.instances()
    for place, instance in enumerate(instances, 1):
        progress(f"verifying instance {place} of {len(instances)} …")
        results.append(await _verify(source, instance, policy, now))
    return results


async def _verify(
    source: Source | OfflineSource, instance: DiscoveredInstance, policy: Policy, now: int
) -> Result:
    try:
        InstanceKey(instance.key)
    except UnsealableError:
        return Result(instance.instance_id, refused=KEY_REFUSED)
    answered = await source.evidence(instance)
    if isinstance(answered, str):
        return Result(instance.instance_id, unanswered=answered)
    nonce, body = answered
    try:
        evidence = read_evidence(body)
        raw = decoded(evidence.quote, MAX_QUOTE_BYTES, Refusal.QUOTE_MALFORMED)
        collateral = await source.collateral(platform_of(raw))
    except RefusedError as error:
        return Result(instance.instance_id, refused=error.refusal)
    verdict = verify(evidence, Question(nonce, instance.key), collateral, policy, now)
    if isinstance(verdict, Verified):
        return Result(instance.instance_id, verified=verdict)
    return Result(instance.instance_id, refused=verdict)


def published(body: bytes) -> Sequence[Any]:
    """Return the rows of the platform's list. Raises `CommandError`."""
    try:
        return parse_published(body)
    except MeasurementsError as error:
        raise CommandError(f"the measurements could not be read: {error}") from None


def _why(answer: FetchedResponse) -> str:
    """Return the reason for a status in the words of the evidence's states."""
    if answer.status in (401, 403):
        return f"status {answer.status}: the platform refuses the API key"
    return f"status {answer.status} ({refusal_reason(answer.status, answer.body)})"
