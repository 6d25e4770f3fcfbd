"""The way to attested instances: what all private exchanges share."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, fail

from autopilot.attestation.private_instances import Attested, Cause, UnavailableError
from autopilot.attestation.sealing import ResponseKey, open_reply, seal
from autopilot.http.headers import printable
from autopilot.relay.private_attempt import Sealed
from autopilot.relay.private_call import LARGE, OCTETS, PrivateCall

if TYPE_CHECKING:
    from autopilot.attestation.private_instances import PrivateInstances
    from autopilot.observability.log_rate_limit import FailureLog
    from autopilot.observability.private_counts import PrivateCounts
    from autopilot.upstream.target import RequestTarget
    from autopilot.upstream.types import ResponseHandler

INVOKE: Final = b"/e2e/invoke"
"""The path of sealed calls, below the base of the platform's interface."""

InThread = Callable[..., Deferred[Any]]
"""Calls a function with arguments in a thread; cancelling gives up its result."""


@dataclass(frozen=True, slots=True)
class Chute:
    """One client's view of one chute. ``client`` is a keyed hash of the client's key."""

    chute: str
    client: bytes = field(repr=False)
    authorization: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PrivatePath:
    """Instances, counters, the one target of sealed calls, and threads for large bodies."""

    instances: PrivateInstances
    counts: PrivateCounts
    target: RequestTarget
    in_thread: InThread

    def sealed(
        self, chute: Chute, body: bytes, avoid: Collection[str], prefer: str | None
    ) -> Deferred[Sealed]:
        """Return a body sealed to an attested instance, none of those in ``avoid``.

        Fails with `UnavailableError`.
        """
        if printable(chute.chute) is None:
            return fail(UnavailableError(Cause.NO_CHUTE))
        if not chute.authorization:
            return fail(UnavailableError(Cause.UNAUTHORIZED, status=401))
        acquired = self.instances.acquire(
            chute.chute, chute.client, chute.authorization, avoid, prefer
        )
        return acquired.addCallback(self._seal, body)

    def call(
        self,
        sealed: Sealed,
        chute: Chute,
        path: str,
        handler: ResponseHandler,
        *,
        streams: bool,
        held: Callable[[int], None],
        failures: FailureLog,
    ) -> PrivateCall:
        """Return the call of a sealed request to ``path``, which the instance serves."""
        attested, request = sealed.attested, sealed.request
        # Nothing else of the client's goes up: it would be outside the seal.
        lines = (
            f"Authorization: {chute.authorization}\r\n"
            f"X-Chute-Id: {chute.chute}\r\n"
            f"X-Instance-Id: {attested.instance_id}\r\n"
            f"X-E2E-Nonce: {attested.nonce}\r\n"
            f"X-E2E-Stream: {'true' if streams else 'false'}\r\n"
            f"X-E2E-Path: {path}\r\n"
            f"Content-Type: {OCTETS}\r\n"
        ).encode("latin-1")
        return PrivateCall(
            self.target.request(b"", lines, (request.blob,)),
            handler,
            request.response_key,
            streams=streams,
            held=held,
            open_large=self._open_large,
            counts=self.counts,
            failures=failures,
        )

    def _seal(self, attested: Attested, body: bytes) -> Sealed | Deferred[Sealed]:
        if len(body) <= LARGE:
            return Sealed(attested, seal(body, attested.key))
        sealing: Deferred[Any] = self.in_thread(seal, body, attested.key)
        return sealing.addCallback(partial(Sealed, attested))

    def _open_large(self, blob: bytes, key: ResponseKey, limit: int) -> Deferred[bytes]:
        return self.in_thread(open_reply, blob, key, limit)
