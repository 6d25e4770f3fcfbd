"""Attested instances for private requests: the question, the answer, and why there is none.

The relay asks for one whenever it is about to seal, and never for a plain request. Whatever answers
it, in this process or in its parent, keeps to `PrivateInstances`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from autopilot.attestation.verdict import Refusal, Verified

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    # Its module needs a newer ``cryptography`` than the rest of the router.
    from autopilot.attestation.private_report import PrivateReport
    from autopilot.attestation.sealing import InstanceKey

ATTESTED: Final = "attested"
"""The word for a verified key whose evidence chains to the roots of Intel and NVIDIA."""
TEST_ROOTS: Final = "test-roots"
"""The word instead, where other roots are trusted."""


@dataclass(frozen=True, slots=True)
class Attested:
    """An instance whose key was verified, and a nonce that no other request has, or ever had.

    ``since`` is when the key was verified, in the clock's time. ``word`` says by which roots.
    """

    instance_id: str
    key: InstanceKey = field(repr=False)
    nonce: str = field(repr=False)
    verified: Verified
    since: float
    word: str = ATTESTED


class Cause(StrEnum):
    """Why there is no attested instance."""

    NOT_ATTESTABLE = "not_attestable"
    """The platform has no evidence for the instances: too old, or without a TEE."""
    REFUSED = "refused"
    """Their evidence was judged, and does not hold."""
    UNANSWERED = "unanswered"
    """Their evidence could not be fetched."""
    AT_CAPACITY = "at_capacity"
    """For the relay alone: attested instances refused the request for want of capacity."""
    DISCOVERY_LIMITED = "discovery_limited"
    DISCOVERY_FAILED = "discovery_failed"
    NO_INSTANCE = "no_instance"
    """Discovery lists none, or only those that the request avoids."""
    NO_NONCE = "no_nonce"
    """There are attested instances, whose nonces are used up."""
    NO_CHUTE = "no_chute"
    """The catalog states no chute for the model."""
    NOT_READY = "not_ready"
    """Nothing can be attested at present: the measurements are missing."""
    LIBRARY = "library"
    """The packages that verify evidence are missing."""
    INTERNAL = "internal"
    """A bug of ours, which the log has."""
    UNAUTHORIZED = "unauthorized"
    """The platform refuses the client's key: final, with its ``status``."""


class UnavailableError(Exception):
    """There is no attested instance. Its text is the cause only.

    ``refusal`` is the first reason if evidence was refused, ``retry_after`` the seconds until
    another attempt may have another result, and ``status`` the platform's where it matters.
    ``found`` has a cause or a refusal for each instance that was looked at.
    """

    def __init__(
        self,
        cause: Cause,
        refusal: Refusal | None = None,
        retry_after: float = 0.0,
        status: int | None = None,
        found: tuple[Cause | Refusal, ...] = (),
    ) -> None:
        super().__init__(cause)
        self.cause = cause
        self.refusal = refusal
        self.retry_after = retry_after
        self.status = status
        self.found = found


@dataclass(frozen=True, slots=True)
class ChuteStanding:
    """Which chutes can serve a client at once, and which are known not to be attestable."""

    ready: frozenset[str] = frozenset()
    unattestable: frozenset[str] = frozenset()


class PrivateInstances(Protocol):
    """Where the relay gets attested instances. ``client`` is a keyed hash of the client's key."""

    def acquire(
        self,
        chute: str,
        client: bytes,
        authorization: str,
        avoid: Collection[str],
        prefer: str | None,
    ) -> Deferred[Attested]:
        """Return an attested instance of a chute, none of those whose ids are in ``avoid``.

        ``authorization`` is the value of the client's header. ``prefer`` is the id of the instance
        that has answered this conversation before. Fails with `UnavailableError`, or by cancelling.
        """

    def standing(self, client: bytes) -> ChuteStanding:
        """Return what is known about the chutes, without asking anyone."""

    def nonce_refused(self, chute: str, client: bytes, attested: Attested) -> None:
        """Learn that the platform does not accept the nonce: it has others than are known here."""

    def key_changed(self, chute: str, attested: Attested) -> None:
        """Learn that the instance cannot open what is sealed to its key."""

    def vanished(self, chute: str, client: bytes, attested: Attested) -> None:
        """Learn that the platform does not know the instance any more."""

    def report(self) -> PrivateReport:
        """Return what the pages show."""

    def start(self) -> None:
        """Begin to fetch what does not depend on a request."""

    def stop(self) -> None:
        """End everything under way, which fails those that wait."""
