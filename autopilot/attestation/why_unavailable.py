"""Why there is no attested instance, from what is known of each that discovery listed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from autopilot.attestation.nonce_pool import PoolError, PoolFault
from autopilot.attestation.private_instances import Cause, UnavailableError
from autopilot.attestation.verdict import Refusal
from autopilot.attestation.verdicts import NoEvidence, Verdict

_OF_POOL: Final = {
    PoolFault.LIMITED: Cause.DISCOVERY_LIMITED,
    PoolFault.FAILED: Cause.DISCOVERY_FAILED,
    PoolFault.UNAUTHORIZED: Cause.UNAUTHORIZED,
}
_ORDER: Final = (Cause.NO_NONCE, Cause.REFUSED, Cause.UNANSWERED, Cause.NOT_ATTESTABLE)
"""What may change soonest goes first."""


def why_not(verdict: Verdict | None, sealable: bool, has_nonce: bool) -> Cause | Refusal:
    """Return why an instance is of no use.

    It may have no verdict yet, a key to which nothing can be sealed, or no nonce.
    """
    if not sealable:
        return Cause.NOT_ATTESTABLE
    if verdict is None:
        return Cause.UNANSWERED if has_nonce else Cause.NO_NONCE
    if isinstance(verdict.found, Refusal):
        return verdict.found
    if isinstance(verdict.found, NoEvidence):
        attestable = verdict.found is not NoEvidence.UNATTESTABLE
        return Cause.UNANSWERED if attestable else Cause.NOT_ATTESTABLE
    return Cause.NO_NONCE


def unavailable(found: Sequence[Cause | Refusal], retry_after: float) -> UnavailableError:
    """Return the error for instances that are of no use for these reasons."""
    causes = {Cause.REFUSED if isinstance(each, Refusal) else each for each in found}
    cause = next((each for each in _ORDER if each in causes), Cause.NO_INSTANCE)
    refusal = next((each for each in found if isinstance(each, Refusal)), None)
    return UnavailableError(
        cause, refusal if cause is Cause.REFUSED else None, retry_after, found=tuple(found)
    )


def undiscovered(error: PoolError, found: Sequence[Cause | Refusal]) -> UnavailableError:
    """Return the error for a discovery that failed, after these reasons of known instances."""
    cause = _OF_POOL[error.fault]
    return UnavailableError(
        cause, retry_after=error.retry_after, status=error.status, found=(*found, cause)
    )
