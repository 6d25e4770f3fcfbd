"""Exchange of a private request: sealed to attested instances, and to nothing else.

It has no plain target: each attempt waits for an instance whose key is verified, and is sealed to
that key anew. What comes back passes opened, so that the steps of other exchanges judge it. An
instance that fails leads to a sibling first, then to the next model.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import inf
from typing import TYPE_CHECKING, ClassVar, Final

from msgspec import structs
from twisted.internet.defer import CancelledError

from autopilot.attestation.private_instances import Cause, UnavailableError
from autopilot.http.error_bodies import INTERNAL
from autopilot.observability.private_counts import private_outcome
from autopilot.relay.attempt import Attempt
from autopilot.relay.attempt_deadlines import Expiry
from autopilot.relay.errors import ACCOUNT_REFUSED, BY_REASON
from autopilot.relay.exchange import Exchange
from autopilot.relay.exchange_states import PRIVATE_TRANSITIONS, State
from autopilot.relay.private_attempt import PrivateAttempt
from autopilot.relay.private_causes import (
    NOT_UNDERSTOOD,
    REJECTED,
    Causes,
    reason_of,
    unauthorized,
)
from autopilot.relay.private_head import private_fields
from autopilot.relay.private_path import Chute
from autopilot.relay.private_reasons import (
    FINAL,
    FROM_OPENER,
    NOT_THE_MODELS,
    SHARED_BY_INSTANCES,
    reason_of_error,
)
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.private_errors import PrivateError, private_error
from autopilot.routing.retry_policy import Reply, RetryAction, RetryDecision
from autopilot.routing.why import FAILED, GONE
from autopilot.state.affinity import instance_key

if TYPE_CHECKING:
    from typing import Any

    from twisted.python.failure import Failure

    from autopilot.attestation.private_instances import Attested
    from autopilot.http.response_parser import ResponseHead
    from autopilot.observability.records import Outcome
    from autopilot.relay.collaborators import Collaborators
    from autopilot.relay.config import RelayConfig
    from autopilot.relay.downstream import CommittedHead, Downstream
    from autopilot.relay.planned_request import PlannedRequest
    from autopilot.relay.private_attempt import Sealed
    from autopilot.relay.private_path import PrivatePath
    from autopilot.relay.trace import Trace
    from autopilot.state.affinity import AffinityKey
    from autopilot.upstream.target import RequestTarget
    from autopilot.upstream.types import UpstreamError

_OF_ACCOUNTS: Final = frozenset({401, 402})
_READ: Final = RetryDecision(RetryAction.READ)
_SHOWN: Final = 8
"""Characters of an instance's id in records."""


class PrivateExchange(Exchange, table=PRIVATE_TRANSITIONS):
    """One private exchange. Its attempts are `PrivateAttempt`, and its calls pass an opener."""

    __slots__ = (
        "_answered_by",
        "_authorization",
        "_avoided",
        "_causes",
        "_had",
        "_path",
        "_rediscovered",
        "_sent",
    )

    _private = True
    _needs_terminator = True
    _attempt_type: ClassVar[type[Attempt]] = PrivateAttempt

    def __init__(
        self,
        path: PrivatePath,
        shared: Collaborators,
        config: RelayConfig,
        planned: PlannedRequest,
        response: Downstream,
        target: RequestTarget,
        trace: Trace | None,
    ) -> None:
        super().__init__(shared, config, planned, response, target, trace)
        self._path = path
        self._sent = 0
        self._avoided: set[str] = set()
        self._causes = Causes()
        self._rediscovered = False
        self._had: str | None = None
        self._answered_by: str | None = None
        authorization = self._request.headers.named.get(b"authorization", (b"",))[0]
        if self._request.lease is not None:
            authorization = self._request.lease.authorization
        self._authorization = authorization.strip().decode("latin-1")

    @property
    def _exhausted(self) -> bool:
        """See `ExchangeAttempts`; the instances of one request are limited as well."""
        return self._candidates.exhausted or self._sent >= self._config.max_instances

    # -- the way to an instance

    def _send(self, attempt: Attempt) -> State:
        """Wait for an attested instance, and for the request to be sealed to it."""
        assert isinstance(attempt, PrivateAttempt)
        limit = attempt.started + self._config.attest_timeout
        due, self._expiring = min((limit, Expiry.SEALING), (self._total_due, Expiry.TOTAL))
        self._timer.set_at(due)
        candidate = attempt.candidate
        self._had = None
        if self._key is not None:
            instance = instance_key(self._key, candidate.model)
            self._had = self._shared.tables.affinity.remembered(instance, attempt.started)
        body = self._body.template.naming(candidate.sent or candidate.model)
        attempt.wait_for(
            self._path.sealed(
                self._chute(attempt), body, frozenset(self._avoided), attempt.prefers or self._had
            )
        )
        return State.SEALING

    def _send_sealed(self, now: float, sealed: Sealed) -> State:
        """Send the sealed request. Its times are measured from here on."""
        attempt = self._private_attempt
        if now >= self._total_due:
            return self._run_out(now)
        if self._paced is not None:
            self._paced.sent()
        attempt.attested, attempt.started = sealed.attested, now
        self._answered_by = sealed.attested.instance_id[:_SHOWN]
        if not attempt.again:
            self._sent += 1
            self._attempts += attempt.cause is not None  # else it is counted already
        if self._sent >= self._config.max_instances:
            attempt.last, attempt.allowance = True, inf
        call = self._path.call(
            sealed,
            self._chute(attempt),
            self._target.path,
            attempt,
            streams=self._streams,
            held=partial(self._charge_held, attempt),
            failures=self._shared.failures,
        )
        attempt.call = call.outer
        self._arm(attempt)
        connect = self._config.timeouts.connect
        self._shared.pool.dispatch(self._target.origin, call.inner, connect, attempt.replayed)
        return State.ATTEMPTING

    def _judge_unsealed(self, now: float, failure: Failure) -> State:
        """Handle that there is no attested instance; anything else that was raised is a bug."""
        if failure.check(CancelledError):  # not by this exchange: whoever looked has stopped
            return self._go_without(UnavailableError(Cause.NOT_READY), now)
        error = failure.value
        if not isinstance(error, UnavailableError):
            failure.raiseException()
        return self._go_without(error, now)

    def _expire_sealing(self, now: float) -> State:
        if self._expiring is Expiry.TOTAL or now >= self._total_due:
            return self._run_out(now)
        self._current.drop_call()
        return self._go_without(UnavailableError(Cause.UNANSWERED), now)

    def _go_without(self, error: UnavailableError, now: float) -> State:
        """Leave a model that has no attested instance, or none beside those that failed."""
        attempt = self._private_attempt
        if error.cause is Cause.UNAUTHORIZED:
            lease = self._request.lease
            if lease is not None and error.status is not None:
                # Not this request, but the pool has to know.
                lease.refused(Reply(error.status, "application/json"), b"", switches=False)
                if error.status in _OF_ACCOUNTS:  # not the client's
                    return self._refuse(ACCOUNT_REFUSED, now)
            return self._refuse(unauthorized(error.status), now)
        self._causes.add(error)
        reason = attempt.cause or reason_of(error)
        if attempt.cause is None or attempt.again:
            self._note_failover(attempt, reason, now)
        if error.cause is Cause.LIBRARY:  # another model needs it as well
            return self._refuse(self._causes.error(), now)
        return self._leave_model(attempt, reason, now)

    # -- an attempt that has failed

    def _fail(self, reason: FailureReason, now: float) -> State:
        """Try a sibling of the instance, if one may be tried, else leave the model."""
        attempt = self._private_attempt
        self._causes.failed(reason)
        self._note_failover(attempt, reason, now)
        if attempt.attested is not None:
            self._avoided.add(attempt.attested.instance_id)
        # One of the instances is kept for the next model, if there is one.
        kept = 0 if self._candidates.exhausted else 1
        most = self._config.max_instances
        if reason in SHARED_BY_INSTANCES or self._sent + kept >= most or not self._may_call():
            return self._leave_model(attempt, reason, now)
        return self._try_sibling(attempt, reason, now)

    def _try_sibling(self, attempt: PrivateAttempt, reason: FailureReason, now: float) -> State:
        if now >= self._total_due:
            return self._run_out(now)
        last, timeouts, allowance = self._candidates.exhausted, self._config.timeouts, inf
        if not last:
            if self._streams:
                allowance = timeouts.failover_after
            elif not self._given_up:
                allowance = timeouts.plain_failover_after
        sibling = PrivateAttempt(self, attempt.candidate, last, now, allowance)
        sibling.cause = reason
        if self._trace is not None:
            self._trace.attempting(attempt.candidate.model)
        return self._replace(attempt, sibling)

    def _try_again(
        self, attempt: PrivateAttempt, reason: FailureReason, now: float, *, fresh: bool = False
    ) -> State:
        """Repeat an attempt that reached no instance, under another nonce.

        It is neither an attempt nor a failure of its own.
        """
        if now >= self._total_due:
            return self._run_out(now)
        again = PrivateAttempt(self, attempt.candidate, attempt.last, now, attempt.allowance)
        again.again, again.cause, again.replayed = True, reason, fresh
        again.prefers = None if attempt.attested is None else attempt.attested.instance_id
        return self._replace(attempt, again)

    def _replace(self, attempt: PrivateAttempt, by: PrivateAttempt) -> State:
        attempt.drop_call()
        self._free_held(attempt)
        self.attempt = by
        return self._send(by)

    def _leave_model(self, attempt: PrivateAttempt, reason: FailureReason, now: float) -> State:
        """Try the next model, or give up. Only the last reason counts against a model."""
        if reason not in NOT_THE_MODELS:
            model, took = attempt.candidate.model, now - attempt.started
            self._shared.tables.failed(self._client(), self._key, model, reason, now, took)
        if not (attempt.last if self._paced is None else self._is_last(attempt)):
            return self._try_next(now)
        error = FINAL.get(reason) or BY_REASON.get(reason) or self._causes.error()
        # The client may try again by itself what this router has not tried.
        return self._refuse(replace(error, tried=self._tried() if self._sent else None), now)

    # -- the response

    def _judge_error(self, now: float, error: UpstreamError) -> State:
        """See `Exchange`; the platform may have taken the nonce of a request that was lost."""
        attempt = self._private_attempt
        if error.internal:
            return self._refuse(INTERNAL, now)
        if error.stale and self._may_call():
            return self._try_again(attempt, error.reason, now, fresh=True)
        cut = attempt.response is not None and error.reason not in FROM_OPENER
        return self._fail(FailureReason.CUT if cut else error.reason, now)

    def _break_off(self, attempt: Attempt, reason: FailureReason, now: float) -> State:
        """See `Exchange`; without its sealed terminator no answer is whole."""
        return self._fail(reason, now)

    def _at_head(self, attempt: Attempt, head: ResponseHead) -> RetryDecision:
        """See `Exchange`; one status has several causes here."""
        return _READ

    def _decide(self, attempt: Attempt, now: float) -> State:
        """Handle an error by its text."""
        assert isinstance(attempt, PrivateAttempt) and attempt.response is not None
        if attempt.settled:
            return self._relay_error(attempt, now)
        status = attempt.response.status
        kind = private_error(status, b"".join(attempt.held))
        if kind is PrivateError.RELAYED:
            if self._request.lease is not None:
                self._takes_next_key(attempt, now)  # not this request; but the pool has to know
            return self._relay_error(attempt, now)
        if kind is PrivateError.REJECTED:
            return self._refuse(REJECTED, now)
        if kind is PrivateError.OURS:
            return self._refuse(NOT_UNDERSTOOD, now)
        self._tell(kind, attempt)
        if kind is PrivateError.NONCE and not self._rediscovered and self._may_call():
            self._rediscovered = True
            return self._try_again(attempt, FailureReason.NONCE_REFUSED, now)
        return self._fail(reason_of_error(kind, status), now)

    def _tell(self, kind: PrivateError, attempt: PrivateAttempt) -> None:
        """Tell what keeps the instances what an error says of this one."""
        attested, chute = attempt.attested, self._chute(attempt)
        assert attested is not None
        instances = self._path.instances
        if kind is PrivateError.NONCE:
            instances.nonce_refused(chute.chute, chute.client, attested)
        elif kind is PrivateError.KEY_CHANGED:
            instances.key_changed(chute.chute, attested)
        elif kind is PrivateError.INSTANCE_GONE:
            instances.vanished(chute.chute, chute.client, attested)

    # -- the answer

    def _committed_head(
        self,
        attempt: Attempt,
        head: ResponseHead,
        now: float,
        rechunk: bool,
        cost: int | None = None,
    ) -> CommittedHead:
        """See `ExchangeEnds`; only an answer that was opened is that of an attested instance."""
        assert isinstance(attempt, PrivateAttempt) and attempt.attested is not None
        attested, is_answer = attempt.attested, 200 <= head.status < 300
        if is_answer and self._key is not None:
            self._note_instance(self._key, attempt.candidate.model, attested, now)
        committed = super()._committed_head(attempt, head, now, rechunk, cost)
        if not is_answer:
            return committed
        fields = [*committed.fields, *private_fields(attested, now)]
        return structs.replace(committed, fields=fields)

    def _note_instance(self, key: AffinityKey, model: str, attested: Attested, now: float) -> None:
        """Remember the instance for the conversation, whose prompt it has read."""
        had = self._had
        if had is not None and had != attested.instance_id and self._remembered == model:
            self._remembered = ""  # the model is the same one, but not what remembers the prompt
            self._displaced = self._displaced or (FAILED if had in self._avoided else GONE)
        self._shared.tables.committed(instance_key(key, model), attested.instance_id, now)

    # -- the end

    def _conclude(self, outcome: Outcome, now: float, *facts: Any, **more: Any) -> State:
        """See `ExchangeBase`; count the request."""
        if not self._concluded:
            try:
                self._path.counts.request(private_outcome(outcome, self._code))
            except Exception:  # noqa: BLE001  the record and the release are still to be done
                self._shared.failures.report("A private request could not be counted")
        return super()._conclude(outcome, now, *facts, **more)

    def _chute(self, attempt: Attempt) -> Chute:
        catalog = self._snapshot.catalog
        model = None if catalog is None else catalog.models.get(attempt.candidate.model)
        chute = "" if model is None or model.chute_id is None else model.chute_id
        lease = self._request.lease
        # Nonces are those of the account whose key goes up, which several clients may share.
        client = self._client() if lease is None else lease.account
        return Chute(chute, client, self._authorization)

    @property
    def _private_attempt(self) -> PrivateAttempt:
        attempt = self.attempt
        assert isinstance(attempt, PrivateAttempt)
        return attempt
