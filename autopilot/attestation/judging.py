"""Verification of an instance's evidence under the router's policy, as `Verdicts` runs it.

Import this module only for private mode: it needs the extra ``private``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey

from autopilot.attestation.quote import read_quote
from autopilot.attestation.quote_verification import MAX_QUOTE_BYTES, platform_of
from autopilot.attestation.sealing import InstanceKey
from autopilot.attestation.verdict import Refusal, RefusedError, Verified
from autopilot.attestation.verification import (
    Evidence,
    Policy,
    Question,
    decoded,
    read_evidence,
    roots_of,
    verification,
)

if TYPE_CHECKING:
    from autopilot.attestation.collateral import Platform
    from autopilot.attestation.private_config import PrivateConfig
    from autopilot.attestation.quote import Quote
    from autopilot.measurement import Measurement


def parse_key(text: str) -> InstanceKey:
    """Return the key that discovery lists. Raises ValueError."""
    return InstanceKey(text)


def check_library() -> None:
    """Raise an exception if the installed ``cryptography`` cannot seal, though it has the names."""
    MLKEM768PrivateKey.generate()


def policy_of(config: PrivateConfig) -> Policy:
    """Return the policy, whose rows come with each question. Raises ValueError for other roots."""
    policy = Policy(
        rows=(),
        tcb=config.tcb,
        gpu_checks=config.gpu_checks,
        envelope_required=config.envelope_required,
    )
    if config.test_roots is None:
        return policy
    intel, nvidia = roots_of(config.test_roots)
    return replace(policy, intel_root=intel, nvidia_root=nvidia)


class Judge:
    """Reads and verifies evidence.

    ``unknown`` receives each quote whose signature holds, and whose registers no row has.
    """

    def __init__(self, policy: Policy, unknown: Callable[[Quote], None]) -> None:
        self._policy = policy
        self._unknown = unknown

    def platform(self, body: bytes) -> Platform:
        """Return which collateral an answer needs. Raises `RefusedError`."""
        return platform_of(_quote_of(read_evidence(body)))

    def steps(
        self,
        body: bytes,
        nonce: str,
        key: str,
        collateral: str | None,
        rows: Sequence[Measurement],
        now: int,
    ) -> Generator[None, None, Verified]:
        """Verify an answer step by step. Raises `RefusedError`."""
        evidence, policy = read_evidence(body), replace(self._policy, rows=rows)
        try:
            return (
                yield from verification(evidence, Question(nonce, key), collateral, policy, now)
            )
        except RefusedError as error:
            if error.refusal is Refusal.MEASUREMENT_UNKNOWN:
                quote = read_quote(_quote_of(evidence))
                if quote is not None:
                    self._unknown(quote)
            raise


def _quote_of(evidence: Evidence) -> bytes:
    return decoded(evidence.quote, MAX_QUOTE_BYTES, Refusal.QUOTE_MALFORMED)
