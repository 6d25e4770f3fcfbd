"""What follows an error response: the same model again, the next candidate, or its relay.

The rules are in `autopilot.routing.retry_policy`: of which responses the head suffices, and what
the others' bodies decide. The steps here collect that body, and carry the decision out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from autopilot.relay.attempt_deadlines import Expiry
from autopilot.relay.error_shape import may_lack_error, with_error
from autopilot.relay.errors import ACCOUNT_REFUSED, KEYS_BANNED
from autopilot.relay.exchange_ends import ExchangeEnds
from autopilot.relay.exchange_states import State
from autopilot.relay.meaning import Meaning
from autopilot.relay.response_head import reply, resized
from autopilot.routing import retry_policy
from autopilot.routing.catalog import EMPTY
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.retry_policy import Policy, RetryAction, RetryDecision, is_edge_limit
from autopilot.routing.selector import Mode

if TYPE_CHECKING:
    from autopilot.http.response_parser import ResponseHead
    from autopilot.relay.attempt import Attempt
    from autopilot.upstream.types import UpstreamError

MAX_DECIDING_BYTES = 65536
"""Of the body of an error so much decides."""
# The statuses by which the platform may refuse a key, and one of them that has other causes, too.
_OF_ACCOUNTS, _TOO_MANY = frozenset({401, 402, 429}), 429
_PAYMENT_REQUIRED = 402
_CONTENT = Meaning.CONTENT


class ExchangeRetries(ExchangeEnds, has_steps=False):
    """The steps that read the body of an error response, and what is made of it."""

    __slots__ = ()

    def _at_head(self, attempt: Attempt, head: ResponseHead) -> RetryDecision:
        """Apply the retry policy to the head of an error response."""
        policy = self._config.policy
        if attempt.candidate.origin is not None:
            policy = Policy.OPEN
        elif self._paced is not None:
            self._paced.answered(head, attempt.held[0] if attempt.held else b"")
        assert attempt.call is not None
        seen = reply(head, reused=attempt.call.reused)
        return retry_policy.at_head(seen, policy, self._plan.mode)

    def _read_body(self, now: float, data: bytes) -> State:
        """Collect body bytes, up to the number that suffices to decide."""
        attempt = self._current
        attempt.hold(data)
        if attempt.settled or attempt.held_bytes >= MAX_DECIDING_BYTES:
            return self._decide(attempt, now)
        self._charge_held(attempt, attempt.held_bytes - attempt.charged)
        return State.READING

    def _read_end(self, now: float, body: bytes) -> State:
        attempt = self._current
        attempt.ended = True
        if body:
            attempt.hold(body)
        return self._decide(attempt, now)

    def _read_error(self, now: float, error: UpstreamError) -> State:
        """Decide with the bytes read; if they are relayed, the client's response breaks as well."""
        attempt = self._current
        attempt.error = error
        return self._decide(attempt, now)

    def _decide(self, attempt: Attempt, now: float) -> State:
        """Apply the retry policy to the body of an error response, complete or not."""
        if attempt.settled:
            return self._relay_error(attempt, now)
        assert attempt.response is not None
        larger, hedge = self._larger_than(attempt.candidate.model), self._hedge
        beside = None if hedge is None else hedge.model
        decision = retry_policy.on_body(
            reply(attempt.response),
            b"".join(attempt.held),
            self._config.policy if attempt.candidate.origin is None else Policy.OPEN,
            self._plan.mode,
            self._candidates.leads_to(larger, beside),
        )
        if decision.reason == FailureReason.CONTEXT:
            self._candidates.narrow(larger)
            if hedge is not None and beside not in larger:
                hedge.close()  # that model could not accept the request either
        return self._follow(attempt, decision, now)

    def _larger_than(self, model: str) -> frozenset[str]:
        """Return the models that may read more than ``model`` (contract §6).

        In a list or a route a model whose context is unknown may; the alias has others.
        """
        catalog = EMPTY if self._snapshot.catalog is None else self._snapshot.catalog
        if self._plan.mode is not Mode.ALIAS:
            return catalog.larger_or_unknown(model, self._plan.models)
        return catalog.larger_context(model)

    def _follow(self, attempt: Attempt, decision: RetryDecision, now: float) -> State:
        """Relay an error response, repeat the request, pause, or turn to the next candidate."""
        model, at_platform = attempt.candidate.model, attempt.candidate.origin is None
        if at_platform and self._request.lease is not None and self._takes_next_key(attempt, now):
            return self._repeat(attempt, now)
        if at_platform and self._config.backends:
            reason = self._spent_by(attempt)
            if reason is not None and self._candidates.leave_platform():
                self._note_failover(attempt, reason, now)  # no fault of the model's
                return self._try_next(now)
        if (
            decision.action is RetryAction.REPEAT
            and self._may_call()
            and self._candidates.try_again(model)
        ):
            return self._repeat(attempt, now)
        if decision.action is not RetryAction.NEXT:
            return self._relay_error(attempt, now)
        assert decision.reason is not None
        # The token is drawn before the pause, after which this response could not be relayed.
        may_repeat = (decision.again is not None or decision.pause is not None) and self._may_call()
        if may_repeat and decision.again is not None and self._candidates.try_again(model):
            # Not a failure yet: if the second try fails, the two count as one failure.
            if self._trace is not None:
                self._trace.failed(decision.reason, attempt.status)
            return self._pause(attempt, decision.again, Expiry.AGAIN, now)
        self._note_failure(attempt, decision.reason, now)
        if may_repeat and decision.pause is not None and self._candidates.pause_on(model):
            return self._pause(attempt, decision.pause, Expiry.PAUSE, now)
        if attempt.last if self._paced is None else self._is_last(attempt):
            return self._relay_error(attempt, now)
        return self._try_next(now)

    def _spent_by(self, attempt: Attempt) -> FailureReason | None:
        """Return why the account may make no call, if a response says so; None if it may."""
        head = attempt.response
        assert head is not None
        if head.status == _PAYMENT_REQUIRED:
            return FailureReason.STATUS_402
        if is_edge_limit(reply(head), b"".join(attempt.held)):
            return FailureReason.STATUS_429
        return None

    def _takes_next_key(self, attempt: Attempt, now: float) -> bool:
        """Return whether the request goes up once more, with another of the operator's keys.

        The platform has refused the first, which says nothing of the model.
        """
        request, head = self._request, attempt.response
        assert request.lease is not None and head is not None
        may_repeat = now < self._total_due and not self._private
        body = b"".join(attempt.held)
        if not request.lease.refused(reply(head), body, switches=may_repeat):
            return False
        if self._hedge is not None:  # the second attempt has the refused key
            self._end_race(attempt, self._hedge)
        request.headers = request.lease.headers(request.headers)
        pacing = self._shared.pacing
        if self._paced is None or pacing is None:
            return True
        return self._paced.draw_with(pacing.key(request))

    def _relay_error(self, attempt: Attempt, now: float) -> State:
        """Relay an error response, once it is whole if it may lack an ``error`` (contract §7)."""
        head, lease = attempt.response, self._request.lease
        assert head is not None
        if lease is not None and attempt.candidate.origin is None and head.status in _OF_ACCOUNTS:
            if head.status != _TOO_MANY:
                return self._refuse(ACCOUNT_REFUSED, now)
            if is_edge_limit(reply(head), b"".join(attempt.held)):
                return self._refuse(replace(KEYS_BANNED, retry_after=lease.retry_after()), now)
        self._mask_key(attempt)
        begun = attempt.held[0] if attempt.held else b""
        # For a stream that has begun it is made an event, for which all of it is needed.
        bridge = self._bridge
        awaits = self._config.shape_errors or (bridge is not None and bridge.begun)
        if not (awaits and may_lack_error(head, begun, attempt.held_bytes)):
            return self._commit(attempt, now)
        if attempt.ended:
            body = with_error(attempt.release_held(), head.status, self._request.dialect)
            return self._commit_whole(attempt, resized(head, len(body)), body, now, _CONTENT)
        due = min(attempt.head_at + self._config.timeouts.error_body, self._total_due)
        if attempt.error is not None or now >= due:
            return self._commit(attempt, now)
        attempt.settled = True
        self._charge_held(attempt, attempt.held_bytes - attempt.charged)
        self._arm(attempt)
        return State.READING

    def _mask_key(self, attempt: Attempt) -> None:
        """Mask the operator's key, with which the attempt was made, in what it holds."""
        is_ours = attempt.candidate.origin is not None or self._request.lease is not None
        if attempt.held and is_ours:
            attempt.held = [self._owner_of(attempt).masked(b"".join(attempt.held))]
