"""One private attempt: an attested instance is waited for, then the request is sealed and sent."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from autopilot.relay.attempt import Attempt
from autopilot.relay.exchange_states import Input

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from autopilot.attestation.private_instances import Attested
    from autopilot.attestation.sealing import SealedRequest
    from autopilot.relay.attempt import AttemptOwner
    from autopilot.routing.candidate import Candidate
    from autopilot.routing.failure_reason import FailureReason


@dataclass(frozen=True, slots=True)
class Sealed:
    """A request, sealed to an attested instance."""

    attested: Attested
    request: SealedRequest


class PrivateAttempt(Attempt):
    """An attempt on one instance, from the wait for it on.

    ``attested``: the instance, once the request has been sent to it. ``cause``: why the attempt
    before it failed, on another instance of the model; ``again``: that one reached no instance, so
    that this one is not counted. ``prefers`` is the id of the instance to ask for.
    """

    __slots__ = ("_waiting", "again", "attested", "cause", "prefers")

    def __init__(
        self,
        owner: AttemptOwner,
        candidate: Candidate,
        last: bool,
        started: float,
        allowance: float = inf,
    ) -> None:
        super().__init__(owner, candidate, last, started, allowance)
        self._waiting: Deferred[Sealed] | None = None
        self.attested: Attested | None = None
        self.cause: FailureReason | None = None
        self.again = False
        self.prefers: str | None = None

    def wait_for(self, sealing: Deferred[Sealed]) -> None:
        """Own ``sealing``: pass its result on, or cancel it with the attempt."""
        self._waiting = sealing
        sealing.addCallbacks(self._sealed, self._unsealed)

    def drop_call(self) -> None:
        """See `Attempt`; also give up waiting."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()
        super().drop_call()

    def _sealed(self, sealed: Sealed) -> None:
        if self._waiting is not None:
            self._waiting = None
            self._owner.take(Input.SEALED, self, sealed)

    def _unsealed(self, failure: Failure) -> None:
        if self._waiting is not None:
            self._waiting = None
            self._owner.take(Input.UNSEALED, self, failure)
