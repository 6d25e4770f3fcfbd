"""Private mode without the packages that it needs: no request gets an instance."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from twisted.internet.defer import Deferred, fail

from autopilot.attestation.private_instances import (
    Attested,
    Cause,
    ChuteStanding,
    UnavailableError,
)
from autopilot.attestation.private_report import PrivateReport

INSTALL: Final = "pip install 'chutes-autopilot[private]'"
_RETRY_SECONDS: Final = 300.0


class NoLibrary:
    """See `PrivateInstances`."""

    def acquire(
        self,
        chute: str,
        client: bytes,
        authorization: str,
        avoid: Collection[str],
        prefer: str | None,
    ) -> Deferred[Attested]:
        """Fail."""
        return fail(UnavailableError(Cause.LIBRARY, retry_after=_RETRY_SECONDS))

    def standing(self, client: bytes) -> ChuteStanding:
        """Return that nothing is known."""
        return ChuteStanding()

    def nonce_refused(self, chute: str, client: bytes, attested: Attested) -> None:
        """Do nothing."""

    def key_changed(self, chute: str, attested: Attested) -> None:
        """Do nothing."""

    def vanished(self, chute: str, client: bytes, attested: Attested) -> None:
        """Do nothing."""

    def report(self) -> PrivateReport:
        """Return how to install the packages."""
        return PrivateReport(why_not=f"the packages of private mode are missing: {INSTALL}")

    def start(self) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""
