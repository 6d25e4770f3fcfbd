"""Exchange: the handling of one request from its plan to its record.

`exchange_states` says which step takes an input in which state; `exchange_machine` runs the step,
which returns the next state; `exchange_base` has what the steps share. Nothing is written to the
client before commit, and nothing is retried after it (contract §6).

If a step or a collaborator raises, the client receives a 500 before commit and a broken connection
after it; the exchange leaves one record and releases every resource.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from autopilot.http.dialect import Dialect
from autopilot.http.error_bodies import INTERNAL
from autopilot.http.headers import field_lines, sent_up
from autopilot.observability.records import (
    UPSTREAM_FAULTS,
    Outcome,
    own_error,
)
from autopilot.relay.attempt import ALLOWANCES, Attempt, Expiry
from autopilot.relay.body_kind import CODED_OPENINGS, BodyKind, body_kind, opening_kind
from autopilot.relay.commit import CommitDecision, commit_policy, decide_plain
from autopilot.relay.dialect import Meaning, judge_document, plain_meaning, usage_of_usual
from autopilot.relay.error_shape import may_lack_error, with_error
from autopilot.relay.errors import BREAKS, NO_ANSWERS, OUT_OF_TIME, SHUTTING_DOWN, given_up
from autopilot.relay.exchange_base import ExchangeBase
from autopilot.relay.exchange_states import Input, State
from autopilot.relay.response_head import committed_head, reply, resized, tried_models
from autopilot.relay.splice_guard import SpliceGuard
from autopilot.relay.sse_guard import GuardLevel, stream_guard
from autopilot.relay.stream import Stream
from autopilot.relay.usage import ENDING, OPENING, read_usage, reported_usage
from autopilot.relay.usage_filter import UsageFilter
from autopilot.request.body import NO_BODY
from autopilot.routing import retry_policy
from autopilot.routing.allowance import (
    first_content_allowance,
    longest_pause,
    pause_allowance,
    plain_allowance,
)
from autopilot.routing.catalog import EMPTY
from autopilot.routing.commit import Commit
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.plan import WHY_BY_MODE
from autopilot.routing.retry_policy import RetryAction, RetryDecision
from autopilot.routing.selector import DIRECT, Mode
from autopilot.routing.usage import cost_of
from autopilot.routing.why import FAILED, HIT, MISS, MOVED, Why
from autopilot.state.latency import Pauses
from autopilot.state.tables import GivenUp
from autopilot.upstream.types import UpstreamCall, UpstreamError

if TYPE_CHECKING:
    from autopilot.http.response_parser import ResponseHead
    from autopilot.relay.downstream import CommittedHead
    from autopilot.routing.candidate import Candidate
    from autopilot.routing.router_error import RouterError
    from autopilot.routing.why import Affinity

MAX_DECIDING_BYTES = 65536
_REASONS = {
    CommitDecision.ERROR: FailureReason.ERROR_EVENT,
    CommitDecision.GAVE_UP: FailureReason.GAVE_UP,
    CommitDecision.INVALID: FailureReason.INVALID_EVENT,
    CommitDecision.UNTERMINATED: FailureReason.NO_TERMINATOR,
    CommitDecision.EMPTY: FailureReason.EMPTY,
}
# Read through their enums, these would cost each request as much as a call.
_ATTEMPTING = State.ATTEMPTING
_COMPLETED, _TOTAL = Outcome.COMPLETED, Expiry.TOTAL
_JSON, _CONTENT = BodyKind.JSON, Meaning.CONTENT
_AT_CONTENT, _AT_COMPLETE = Commit.CONTENT, Commit.COMPLETE
_STICKY = Why.STICKY
_NONE: frozenset[str] = frozenset()


class Exchange(ExchangeBase):
    """One exchange: the steps of the transition table."""

    __slots__ = ()

    # -- attempts

    def _try_first(self, now: float) -> State:
        # No cooling models to defer: the plan has put them last.
        candidate, plan = self._candidates.take(_NONE), self._plan
        if plan.sticky:
            self._why = _STICKY
        else:  # the usual case without a call
            self._why = plan.why(candidate) if plan.added else WHY_BY_MODE[plan.mode]
        return self._begin(candidate, now)

    def _try_next(self, now: float) -> State:
        """Try the next candidate, unless the total deadline has passed."""
        if now >= self._total_due:  # its timer may expire in the same turn as another
            return self._run_out(now)
        self._current.drop_call()
        cooling = self._shared.tables.breaker.cooling(self._client(), now)
        candidate = self._candidates.take(cooling)
        self._why = self._plan.why(candidate)
        return self._begin(candidate, now)

    def _begin(self, candidate: Candidate, now: float) -> State:
        """Begin an attempt with a candidate taken from the queue."""
        if self.attempt is not None:
            self._free_held(self.attempt)
        model, last, tables = candidate.model, self._candidates.exhausted, self._shared.tables
        timeouts, allowance = self._config.timeouts, inf
        if not last:
            # The base allowance; what request and model add is computed when it has run out.
            if self._streams:
                allowance = timeouts.failover_after
            elif not self._given_up:  # a long answer must not be thrown away twice
                allowance = timeouts.plain_failover_after
        attempt = self.attempt = Attempt(self, candidate, last, now, allowance)
        self._attempts += 1
        self._model = model
        breaker = tables.breaker
        if breaker.opened or breaker.opened_for:
            probes = breaker.attempting(self._client(), model, now)
            if probes and self._plan.mode is not DIRECT:
                self._why = Why.PROBE
        if self._trace is not None:
            self._trace.attempting(model)
        return self._send(attempt)

    def _send(self, attempt: Attempt) -> State:
        """Send the request for an attempt; only ``model`` differs between candidates."""
        self._arm(attempt)
        request, target = self._request, self._target
        lines = request.headers.upstream
        if self._trace is not None:
            lines = field_lines(self._trace.inject(sent_up(request.headers.fields)))
        candidate = attempt.candidate
        pieces = self._body.template.pieces(candidate.sent or candidate.model)
        call = UpstreamCall(target.request(request.query, lines, pieces), attempt)
        attempt.call = call
        self._shared.pool.dispatch(
            target.origin,
            call,
            fresh=attempt.replayed,
            timeout=self._config.timeouts.connect,
        )
        return _ATTEMPTING

    def _arm(self, attempt: Attempt) -> None:
        """Set the timer to the nearest deadline."""
        due, self._expiring = attempt.nearest(self._config.timeouts, self._streams)
        if self._total_due <= due:
            due, self._expiring = self._total_due, _TOTAL
        self._timer.set_at(due)

    # -- the response, before commit

    def _judge_whole(self, now: float, head: ResponseHead, body: bytes) -> State:
        """Handle a response that arrived in one read.

        The hot path of responses that are not streams: no commit policy, no timer, one write.
        """
        attempt = self.attempt
        assert attempt is not None
        attempt.response, attempt.head_at = head, now
        if 200 <= head.status < 300:
            attempt.kind = body_kind(head, stream=self._streams)
            if attempt.kind is _JSON:
                # As `judge_document`, without its call.
                raw_usage = usage_of_usual(body)
                meant = plain_meaning(body) if raw_usage is None else _CONTENT
                if meant is not _CONTENT:
                    commit = self._commit_at
                    if commit is _AT_COMPLETE or (commit is _AT_CONTENT and not attempt.last):
                        judged = decide_plain(meant)
                        if judged is not CommitDecision.COMMIT:
                            attempt.ended = True
                            if body:
                                attempt.hold(body)
                            return self._follow_policy(attempt, judged, now)
                if self._streams:
                    attempt.first_content = now - attempt.started
                return self._commit_whole(attempt, head, body, now, meant, raw_usage)
            attempt.commit_policy = commit_policy(*self._commit_terms, attempt.kind, attempt.last)
            return self._hold_end(now, body)
        attempt.ended = True
        if body:
            attempt.hold(body)
        decision = self._at_head(attempt, head)
        if decision.action is RetryAction.READ:
            return self._decide(attempt, now)
        return self._follow(attempt, decision, now)

    def _judge_head(self, now: float, head: ResponseHead, body: bytes) -> State:
        """Hold a 2xx response until its commit point; apply the retry policy to an error."""
        attempt = self.attempt
        assert attempt is not None
        attempt.response, attempt.head_at = head, now
        if 200 <= head.status < 300:
            attempt.kind = body_kind(head, stream=self._streams)
            attempt.commit_policy = commit_policy(*self._commit_terms, attempt.kind, attempt.last)
            attempt.idle = self._config.timeouts.idle
            p99 = self._shared.tables.latency.p99_pause(attempt.candidate.model)
            if p99 is not None:
                attempt.idle = longest_pause(attempt.idle, p99)
            attempt.pauses = Pauses()
            if body:
                return self._hold_body(now, body)
            self._arm(attempt)
            return State.HOLDING
        if body:
            attempt.hold(body)
        decision = self._at_head(attempt, head)
        if decision.action is not RetryAction.READ:
            return self._follow(attempt, decision, now)
        if attempt.held_bytes >= MAX_DECIDING_BYTES:
            return self._decide(attempt, now)
        self._charge_held(attempt, attempt.held_bytes)
        self._arm(attempt)
        return State.READING

    def _at_head(self, attempt: Attempt, head: ResponseHead) -> RetryDecision:
        """Apply the retry policy to the head of an error response."""
        assert attempt.call is not None
        seen = reply(head, reused=attempt.call.reused)
        return retry_policy.at_head(seen, self._config.policy, self._plan.mode)

    def _judge_error(self, now: float, error: UpstreamError) -> State:
        """Handle a broken attempt; repeat the request if an idle connection had been closed.

        The repetition uses a new connection, which is never stale, so there is at most one (RFC
        9112 §9.3.1).
        """
        attempt = self._current
        if error.internal:
            return self._refuse(INTERNAL, now)
        if not error.stale:
            if attempt.response is None:
                return self._fail(error.reason, now)
            return self._break_off(attempt, FailureReason.CUT, now)
        if now >= self._total_due:
            return self._run_out(now)
        attempt.replayed = True
        return self._send(attempt)

    def _expire(self, now: float) -> State:
        """Handle the expiry of the total deadline, of an error's body, or of the attempt."""
        if self._expiring is Expiry.ERROR_BODY or self._current.settled:
            return self._decide(self._current, now)
        if self._expiring is Expiry.TOTAL:
            return self._run_out(now)
        attempt = self._current
        is_allowance = self._expiring in ALLOWANCES
        if is_allowance and self._extend(attempt):
            self._arm(attempt)
            return self.state
        if is_allowance and not _is_whole(attempt):
            return self._give_up(attempt, now)
        return self._break_off(attempt, attempt.lateness, now)

    def _extend(self, attempt: Attempt) -> bool:
        """Extend an expired base allowance by what the request and the model add to it.

        Return whether that was more (contract §6).
        """
        timeouts, latency = self._config.timeouts, self._shared.tables.latency
        model, body = attempt.candidate.model, self._body
        # Each allowance that expired doubles the next one (contract §6).
        factor = 2.0 ** len(self._given_up)
        if self._expiring is Expiry.STALLED:
            before = attempt.pause_allowance
            p99 = latency.p99_pause(model)
            after = factor * pause_allowance(timeouts.failover_after, body.template.size, p99)
            attempt.pause_allowance = after
        elif body.stream:
            before = attempt.allowance
            p95 = latency.p95(model)
            after = factor * first_content_allowance(
                timeouts.failover_after, body.template.size, p95
            )
            attempt.allowance = after
        else:
            before = attempt.allowance
            p95 = latency.plain_p95(model)
            tokens = body.completion_limit if p95 is None else None
            after = plain_allowance(timeouts.plain_failover_after, timeouts.unary, tokens, p95)
            attempt.allowance = after
        return after > before

    def _give_up(self, attempt: Attempt, now: float) -> State:
        """Try the next candidate after the allowance of the attempt has expired.

        Whether that was a failure is seen when it is known what the others needed (contract §6).
        """
        if now >= self._total_due:  # no candidate is left, as there is no time for one
            return self._run_out(now)
        paused = now - attempt.heard_at if self._expiring is Expiry.STALLED else None
        plain = not self._streams
        reason = FailureReason.PLAIN_TIMEOUT if plain else attempt.lateness
        took = self._note_failover(attempt, reason, now)
        given_up = GivenUp(attempt.candidate.model, reason, took, plain, paused)
        self._given_up = (*self._given_up, given_up)
        return self._try_next(now)

    def _break_off(self, attempt: Attempt, reason: FailureReason, now: float) -> State:
        """Handle a response that will not continue: commit it if its answer is whole, else fail."""
        if _is_whole(attempt):
            attempt.ended = True
            return self._commit(attempt, now)
        return self._fail(reason, now)

    # -- the body of an error

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
        larger = self._larger_than(attempt.candidate.model)
        decision = retry_policy.on_body(
            reply(attempt.response),
            b"".join(attempt.held),
            self._config.policy,
            self._plan.mode,
            self._candidates.leads_to(larger),
        )
        if decision.reason == FailureReason.CONTEXT:
            self._candidates.narrow(larger)
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
        model = attempt.candidate.model
        if decision.action is RetryAction.REPEAT and self._candidates.try_again(model):
            return self._repeat(attempt, now)
        if decision.action is not RetryAction.NEXT:
            return self._relay_error(attempt, now)
        assert decision.reason is not None
        if decision.again is not None and self._candidates.try_again(model):
            # Not a failure yet: if the second try fails, the two count as one failure.
            if self._trace is not None:
                self._trace.failed(decision.reason, attempt.status)
            return self._pause(attempt, decision.again, Expiry.AGAIN, now)
        self._note_failure(attempt, decision.reason, now)
        if decision.pause is not None and self._candidates.pause_on(model):
            return self._pause(attempt, decision.pause, Expiry.PAUSE, now)
        return self._relay_error(attempt, now) if attempt.last else self._try_next(now)

    def _relay_error(self, attempt: Attempt, now: float) -> State:
        """Relay an error response, once it is whole if it may lack an ``error`` (contract §7)."""
        head = attempt.response
        assert head is not None
        begun = attempt.held[0] if attempt.held else b""
        if not (self._config.shape_errors and may_lack_error(head, begun, attempt.held_bytes)):
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

    def _repeat(self, attempt: Attempt, now: float) -> State:
        """Repeat the request on a new connection, as the reused one had been idle for too long.

        That says nothing of the model, so it is neither an attempt nor a failure (contract §6).
        """
        attempt.drop_call()
        if now >= self._total_due:
            return self._run_out(now)
        self._free_held(attempt)
        again = self.attempt = Attempt(
            self, attempt.candidate, attempt.last, attempt.started, attempt.allowance
        )
        again.replayed = True
        return self._send(again)

    def _pause(self, attempt: Attempt, seconds: float, expiry: Expiry, now: float) -> State:
        """Wait before the same model is tried again, at most until the total deadline."""
        attempt.drop_call()
        due, self._expiring = min((now + seconds, expiry), (self._total_due, Expiry.TOTAL))
        self._timer.set_at(due)
        return State.PAUSING

    def _resume(self, now: float) -> State:
        """Try the same model again after the pause, unless the total deadline has passed."""
        if self._expiring is Expiry.TOTAL or now >= self._total_due:
            return self._run_out(now)
        if self._expiring is Expiry.AGAIN:
            self._attempts -= 1  # the next try belongs to the same attempt
        return self._begin(self._current.candidate, now)

    # -- the body of a 2xx, before its commit point

    def _hold_body(self, now: float, data: bytes) -> State:
        attempt, size = self.attempt, len(data)
        assert attempt is not None
        if not attempt.held and data.startswith(CODED_OPENINGS):
            attempt.kind = BodyKind.OPAQUE
            attempt.commit_policy = commit_policy(
                *self._commit_terms, BodyKind.OPAQUE, attempt.last
            )
        if attempt.held and attempt.pauses is not None:
            attempt.pauses.add(now - attempt.heard_at)
        attempt.held.append(data)
        attempt.heard_at = now
        if attempt.kind is BodyKind.UNLABELLED:
            data = b"".join(attempt.held)
            kind = opening_kind(data)
            if kind is None:
                self._charge_held(attempt, size)
                self._arm(attempt)
                return State.HOLDING
            attempt.kind, attempt.commit_policy = (
                kind,
                commit_policy(*self._commit_terms, kind, attempt.last),
            )
        policy = attempt.commit_policy
        assert policy is not None
        answered = policy.answered
        decision = policy.feed(data)
        if policy.answered and not answered and self._streams:
            attempt.first_content = now - attempt.started
            attempt.pause_allowance = self._config.timeouts.failover_after
        if decision is CommitDecision.COMMIT:
            return self._commit(attempt, now)
        if decision is CommitDecision.HOLD:
            self._charge_held(attempt, size)
            if self._commit_at is _AT_COMPLETE and self._config.guard is GuardLevel.STRICT:
                self._read_ahead(attempt, data)
        return self._follow_policy(attempt, decision, now)

    def _read_ahead(self, attempt: Attempt, data: bytes) -> None:
        """Let the strict guard read what is held, because it must read all of it."""
        if attempt.kind is BodyKind.STREAM and self._request.dialect is Dialect.COMPLETIONS:
            if attempt.guard is None:
                attempt.guard = SpliceGuard(self._commit_terms[-1])
            attempt.guard.read_ahead(data)

    def _hold_end(self, now: float, body: bytes) -> State:
        """Handle the end of a held response, whose last bytes may reach the commit point first."""
        if body and (state := self._hold_body(now, body)) is not State.HOLDING:
            if state is State.STREAMING and self._stream is not None:
                self._stream.end(b"")
            return state
        attempt = self._current
        if attempt.kind is BodyKind.UNLABELLED and attempt.held:
            # Only blank lines or part of a field arrived: a stream that ended early.
            attempt.kind = BodyKind.STREAM
            attempt.commit_policy = commit_policy(*self._commit_terms, attempt.kind, attempt.last)
        assert attempt.commit_policy is not None
        attempt.ended = True
        return self._follow_policy(attempt, attempt.commit_policy.end(), now)

    def _follow_policy(self, attempt: Attempt, decision: CommitDecision, now: float) -> State:
        if decision is CommitDecision.HOLD:
            self._arm(attempt)
            return State.HOLDING
        # With no candidate left, an empty answer that ended whole is relayed as it is.
        if decision is CommitDecision.COMMIT or (decision is CommitDecision.EMPTY and attempt.last):
            return self._commit(attempt, now)
        return self._fail(_REASONS[decision], now)

    # -- the ends

    def _commit(self, attempt: Attempt, now: float) -> State:
        """Commit to a response: relay it whole, or its head and the rest as a stream."""
        head = attempt.response
        assert head is not None and attempt.call is not None
        policy = attempt.commit_policy
        if policy is not None and not policy.answered and self._streams:
            attempt.first_content = now - attempt.started
        is_stream = attempt.kind is BodyKind.STREAM
        if attempt.ended and not is_stream:
            held, meant = attempt.release_held(), _CONTENT
            if attempt.kind is _JSON:  # megabytes are not read twice
                judged = None if policy is None else policy.meant
                meant = judge_document(held) if judged is None else judged
            return self._commit_whole(attempt, head, held, now, meant)
        guard = self._config.guard
        guarded = is_stream and guard is not GuardLevel.OFF
        committed = self._committed_head(attempt, head, now, rechunk=guarded)
        tables = self._shared.tables
        if 200 <= head.status < 300:
            tables.committed(self._key, attempt.candidate.model, now)
        response = self._response
        if is_stream and self._body.template.asks_usage:
            response = self._filter = UsageFilter(response)
        # Nothing is sent up after commit, so the body must not be held while the answer streams,
        # nor must what the policy has seen of the answer (contract §7).
        self._body, attempt.commit_policy = NO_BODY, None
        charge = self._charge
        if charge is not None:
            charge.hold(-charge.held_bytes)
        self._stream = Stream(
            self._shared.seconds,
            self._shared.failures,
            response,
            self._timer,
            attempt.guard
            or stream_guard(
                guard,
                is_stream=is_stream,
                dialect=self._request.dialect,
                choices=self._commit_terms[-1],
                said=policy is not None and policy.answered,
                is_json=attempt.kind is _JSON,
            ),
            idle=self._config.timeouts.idle if attempt.idle == inf else attempt.idle,
            pauses=attempt.pauses or Pauses(),
            is_sse=guarded,
            proof=tables.breaker.period,
            proven=self._note_proof,
            over=partial(self.take, Input.STREAM_OVER, None),
        )
        self._stream.begin(attempt.call, committed, attempt.release_held(), now)
        if attempt.ended:
            self._stream.end(b"")
        elif attempt.error is not None:
            self._stream.broken(attempt.error)
        return State.STREAMING

    def _commit_whole(
        self,
        attempt: Attempt,
        head: ResponseHead,
        body: bytes,
        now: float,
        meant: Meaning,
        raw_usage: bytes | None = None,
    ) -> State:
        """Relay a complete response in one write, and end the exchange.

        ``meant`` is the meaning of a 2xx: with no candidate left, one without an answer is relayed.
        ``raw_usage`` is its ``usage``, empty if it has none; None unless the answer is a usual one.
        """
        if self._given_up and (meant is not _CONTENT or not body):
            self._judge_given_up(None, now)  # a response without an answer is not faster than one
        model, is_success = attempt.candidate.model, 200 <= head.status < 300
        usage = cost = None
        if is_success:
            reads = self._config.reads_usage
            if raw_usage and reads:
                usage = read_usage(raw_usage)
            elif reads and raw_usage is None and attempt.kind is _JSON:
                usage = reported_usage(self._request.dialect, body[:OPENING], body[-ENDING:])
            cost = cost_of(usage, model, self._snapshot.catalog)
        committed = self._committed_head(attempt, head, now, False, cost)
        outcome, reason = _COMPLETED if head.status < 400 else Outcome.RELAYED_ERROR, None
        if is_success:
            tables = self._shared.tables
            tables.committed(self._key, model, now)
            if meant is not _CONTENT or not body:
                outcome, reason = NO_ANSWERS[meant if body else Meaning.EMPTY]
                if reason is not None:
                    tables.broke(self._client(), self._key, model, now, now - attempt.started)
            else:
                self._note_success(model)
                if attempt.first_content is not None:
                    tables.ended(model, attempt.first_content, 0, 0.0, now)
                elif not self._streams:
                    tables.latency.answered(model, now - attempt.started)
        self._response.whole(committed, body)
        self._responded = True
        return self._conclude(outcome, now, len(body), True, reason, usage, cost)

    def _committed_head(
        self,
        attempt: Attempt,
        head: ResponseHead,
        now: float,
        rechunk: bool,
        cost: int | None = None,
    ) -> CommittedHead:
        """Return the head for the client, and note the commit; ``cost`` is that of the answer."""
        model, status = attempt.candidate.model, head.status
        self._model, self._status, self._first_byte_at = model, status, now
        if self._given_up and 200 <= status < 300:
            first = attempt.first_content
            self._judge_given_up(now - attempt.started if first is None else first, now)
        if self._trace is not None:
            self._trace.committed(status)
        if head.limits is not None:
            self._note_limits(head.limits, now)
        selected = None if self._plan.mode is DIRECT else model
        affinity: Affinity | None = None
        why = self._displaced
        if self._key is not None:
            remembered = self._remembered
            if remembered is None:
                affinity = MISS
            elif remembered == model:
                affinity, why = HIT, None
            else:  # it was the first to be tried, unless something displaced it
                affinity, why = MOVED, why or FAILED
            self._affinity = affinity
        self._affinity_why = why
        tried = self._tried() if attempt.failed else None
        request_id = self._request.request_id
        date = self._shared.date
        if now >= date.due:
            date.renew(now)
        return committed_head(
            head, request_id, selected, self._attempts, rechunk, date.value, tried, affinity, cost
        )

    def _fail(self, reason: FailureReason, now: float) -> State:
        """Handle an attempt without a response to relay."""
        attempt = self._current
        self._note_failure(attempt, reason, now)
        if attempt.last:
            error = replace(given_up(reason), tried=self._tried())
            return self._refuse(error, now)
        return self._try_next(now)

    def _run_out(self, now: float) -> State:
        """End at the total deadline; the attempt that it ends counts against no model."""
        attempt = self._current
        if not attempt.failed:
            self._note_failover(attempt, FailureReason.TOTAL_DEADLINE, now)
        return self._refuse(replace(OUT_OF_TIME, tried=self._tried()), now)

    def _tried(self) -> bytes | None:
        """Return the header value that lists the failed attempts; None under a direct name."""
        return None if self._plan.mode is DIRECT else tried_models(self._failovers)

    def _refuse(self, error: RouterError, now: float) -> State:
        """Respond with an error of the router."""
        self._release()
        self._status, self._code, self._first_byte_at = error.status, error.code, now
        self._response.refuse(error)
        self._responded = True
        usage, cost = self._held_usage()
        return self._conclude(own_error(error.status), now, usage=usage, cost=cost)

    def _refuse_to_wait(self, now: float) -> State:
        return self._refuse(SHUTTING_DOWN, now)

    def _abandon(self, now: float) -> State:
        """End after the client's disconnection; aborting the call stops the cost upstream."""
        self._release()
        usage, cost = self._held_usage()
        return self._conclude(Outcome.CLIENT_GONE, now, usage=usage, cost=cost)

    # -- after commit

    def _stream_expired(self, now: float) -> State:
        self._committed.expired()
        return State.STREAMING

    def _stream_client_gone(self, now: float) -> State:
        self._committed.client_gone()
        return State.STREAMING

    def _stream_shut_down(self, now: float) -> State:
        self._committed.shut_down()
        return State.STREAMING

    def _conclude_stream(self, now: float, outcome: Outcome) -> State:
        stream, attempt = self._stream, self.attempt
        assert stream is not None and attempt is not None and attempt.response is not None
        usage = cost = None
        done = stream.guard.done
        # Only 2xx responses are measured, and only at their end (contract §6).
        if 200 <= attempt.response.status < 300:
            tables, model = self._shared.tables, attempt.candidate.model
            dialect = self._request.dialect
            usage = stream.usage(dialect) if self._config.reads_usage else None
            cost = cost_of(usage, model, self._snapshot.catalog)
            if outcome in UPSTREAM_FAULTS:
                tables.broke(self._client(), self._key, model, now, now - attempt.started)
            elif outcome is not Outcome.RELAYED_ERROR:
                if outcome is _COMPLETED:
                    self._note_success(model)
                if not self._streams:
                    if outcome is _COMPLETED and stream.sent:
                        tables.latency.answered(model, now - attempt.started)
                else:
                    seconds = now - stream.began
                    first, tokens = attempt.first_content, None
                    # Anthropic's count of an answer that has not ended is that of its beginning.
                    if usage is not None and (done or dialect is not Dialect.MESSAGES):
                        tokens = usage.completion
                    if tokens is None:
                        tokens = stream.events
                    tables.ended(model, first, tokens, seconds, now, stream.pauses)
        if outcome is _COMPLETED and attempt.response.status >= 400:
            outcome = Outcome.RELAYED_ERROR
        reason = (stream.reason or BREAKS[outcome]) if outcome in UPSTREAM_FAULTS else None
        sent = stream.sent if self._filter is None else stream.sent - self._filter.removed
        return self._conclude(outcome, now, sent, done, reason, usage, cost)


def _is_whole(attempt: Attempt) -> bool:
    """Return whether the whole answer has arrived, so that later bytes do not matter."""
    return attempt.commit_policy is not None and attempt.commit_policy.whole
