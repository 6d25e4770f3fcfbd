"""The second attempt of an exchange beside its first, whose model is slower than usual.

It uses up the next candidate. The first of the two to have content takes the exchange on; the other
one's connection is closed in the same turn, and that is no failure of its model.
"""

from __future__ import annotations

from abc import abstractmethod
from math import inf
from typing import TYPE_CHECKING

from autopilot.http.dialect import COUNT_TOKENS
from autopilot.http.headers import field_lines, sent_up
from autopilot.http.timers import Deadline
from autopilot.relay.exchange_attempts import ExchangeAttempts
from autopilot.relay.exchange_states import Input, State
from autopilot.relay.hedge import Hedge, Rival
from autopilot.relay.response_head import reply
from autopilot.routing import retry_policy
from autopilot.routing.retry_policy import RetryAction
from autopilot.upstream.types import UpstreamCall

if TYPE_CHECKING:
    from autopilot.http.response_parser import ResponseHead
    from autopilot.observability.records import DroppedCall
    from autopilot.relay.attempt import Attempt


class ExchangeHedge(ExchangeAttempts, has_steps=False):
    """The steps of a second attempt.

    It is the platform's, as the first is: the keys of other services pay for no race.
    """

    __slots__ = ()

    @abstractmethod
    def _wait_longer(self, attempt: Attempt, now: float) -> State:
        """Give an attempt the full time, as no candidate is left."""

    def _watch(self, now: float) -> None:
        """Count the request, and set the time at which its first attempt gets a rival.

        That is a multiple of what its model usually takes, if that is known.
        """
        config, shared = self._config, self._shared
        shared.hedges.request(now)
        attempt = self._current
        if (
            not self._streams
            or self._private
            or attempt.last
            or self._hedge is not None
            or attempt.candidate.origin is not None
            or self._request.path == COUNT_TOKENS
        ):
            return
        p95 = shared.tables.latency.p95(attempt.candidate.model)
        if p95 is not None:
            deadline = Deadline(shared.clock, self._hedge_due)
            self._hedge = Hedge(deadline, now + config.hedge_after * p95, self._describe_lost)

    def _hedge_due(self) -> None:
        self.take(Input.HEDGE, None)

    def _describe_lost(self, rival: Rival) -> DroppedCall:
        """Note for the trace that the second attempt is given up, and return it for the record."""
        if self._trace is not None:
            self._trace.hedge_lost(rival.status)
        return self._dropped(rival)

    def _begin_hedge(self, now: float) -> State:
        """Send the request to the next candidate as well, if the share of hedges allows it."""
        attempt, paced, hedge = self._current, self._paced, self._hedge
        assert hedge is not None
        policy = attempt.commit_policy
        cooling = self._shared.tables.breaker.cooling(self._client(), now)
        if (
            attempt.last
            or self._attempts > 1
            or self._candidates.exhausted
            or self._candidates.following(cooling).origin is not None
            or (policy is not None and policy.answered)
            or self.state not in (State.ATTEMPTING, State.HOLDING)
            or now >= self._total_due
            or (paced is not None and not paced.has_plenty())
            or not self._shared.hedges.draw(now)
            or not self._may_call()
        ):
            return self.state
        candidate = self._candidates.take(cooling)
        rival = Rival(self, candidate, self._request.dialect, now, self._charge)
        hedge.begin(rival)
        self._attempts += 1
        if self._trace is not None:
            self._trace.hedging(candidate.model)
        self._send_rival(rival)
        return self.state

    def _send_rival(self, rival: Rival) -> None:
        """Send the request for the second attempt."""
        if self._paced is not None:
            self._paced.sent()
        lines, candidate, target = self._request.headers.upstream, rival.candidate, self._target
        if self._trace is not None:
            lines = field_lines(self._trace.inject_beside(sent_up(self._request.headers.fields)))
        pieces = self._body.template.pieces(candidate.sent or candidate.model)
        call = UpstreamCall(target.request(self._request.query, lines, pieces), rival)
        rival.call = call
        connect = self._config.timeouts.connect
        self._shared.pool.dispatch(target.origin, call, connect, rival.repeated)

    def _overtake(self, now: float, rival: Rival) -> State:
        """Go on with the second attempt, which has content first."""
        hedge = self._hedge
        if hedge is None or hedge.rival is not rival:
            return self.state
        return self._go_on_with_rival()

    def _go_on_with_rival(self) -> State:
        """Let the second attempt take the place of the first, whose call is dropped."""
        hedge = self._hedge
        assert hedge is not None
        before, rival = self._current, hedge.take_rival()
        if not before.failed:
            hedge.dropped = self._dropped(before)
        before.drop_call()
        self._free_held(before)
        last = self._candidates.exhausted
        if self._paced is not None:
            last = last or not (self._paced.may_follow() or self._leads_elsewhere())
        allowance = inf if last else self._config.timeouts.failover_after
        candidate = rival.candidate
        attempt = self._attempt_type(self, candidate, last, rival.started, allowance)
        attempt.replayed = rival.repeated
        self.attempt, self._model = attempt, candidate.model
        self._why = self._plan.why(candidate)
        if self._trace is not None:
            self._trace.overtaken()
        call = attempt.call = rival.call
        assert call is not None
        call.handler = attempt
        self._arm(attempt)
        arrived = rival.arrived()
        rival.free()
        if arrived is not None:  # it is taken after this step
            self.take(arrived[0], attempt, *arrived[1])
        return State.ATTEMPTING

    def _end_race(self, attempt: Attempt, hedge: Hedge) -> None:
        """Drop the second attempt, and go on with another one, which may be the last one now."""
        hedge.close()
        if self._candidates.exhausted:
            attempt.last = True
            attempt.allowance = attempt.pause_allowance = inf

    def _lose_rival(self, now: float, rival: Rival) -> State:
        """Go on with the first attempt alone, which may be the last one now."""
        hedge, attempt = self._hedge, self._current
        if hedge is None or hedge.rival is not rival:
            return self.state
        if self._may_repeat(rival, now):
            rival.begin_again()
            self._send_rival(rival)
            return self.state
        if rival.response is not None:
            self._note_refusal(rival.response, rival.opening)
        hedge.drop_rival()
        if self.state is State.PAUSING or not self._candidates.exhausted:
            return self.state
        attempt.last = True
        return self._wait_longer(attempt, now)

    def _may_repeat(self, rival: Rival, now: float) -> bool:
        """Return whether the second attempt's request is sent once more, on a new connection.

        As for any attempt: its idle connection had most likely been closed before, which says
        nothing of the model (RFC 9112 §9.3.1).
        """
        error, response, call = rival.error, rival.response, rival.call
        if rival.repeated or now >= self._total_due:
            return False
        if error is not None:
            return error.stale and self._may_call()
        assert response is not None and call is not None
        seen = reply(response, reused=call.reused)
        decision = retry_policy.at_head(seen, self._config.policy, self._plan.mode)
        return (
            decision.action is RetryAction.REPEAT
            and self._may_call()
            and self._candidates.try_again(rival.candidate.model)
        )

    def _note_refusal(self, head: ResponseHead, opening: bytes) -> None:
        """Tell governor and pool what the response to a second attempt says of its key.

        The first one goes on with that key: it may be answered yet.
        """
        lease = self._request.lease
        if self._paced is not None:
            self._paced.answered(head, opening)
        if lease is not None:
            lease.refused(reply(head), opening, switches=False)
