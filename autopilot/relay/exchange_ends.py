"""The ends of an attempt and of an exchange: commit, failure, refusal, and what follows commit.

Nothing is written to the client but by the steps here.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from msgspec import structs

from autopilot.http.dialect import Dialect
from autopilot.observability.records import (
    UPSTREAM_FAULTS,
    Outcome,
    own_error,
)
from autopilot.relay.attempt import Attempt
from autopilot.relay.body_kind import BodyKind, is_coded
from autopilot.relay.bridge import NO_STREAM, response_event
from autopilot.relay.errors import BREAKS, NO_ANSWERS, OUT_OF_TIME, SHUTTING_DOWN, given_up
from autopilot.relay.exchange_hedge import ExchangeHedge
from autopilot.relay.exchange_states import Input, State
from autopilot.relay.key_mask import KeyMask
from autopilot.relay.meaning import Meaning
from autopilot.relay.plain_answer import judge_document
from autopilot.relay.response_head import committed_head, tried_models
from autopilot.relay.sse_guard import GuardLevel, stream_guard
from autopilot.relay.stream import Stream
from autopilot.relay.usage import ENDING, OPENING, read_usage, reported_usage
from autopilot.relay.usage_filter import UsageFilter
from autopilot.request.body import NO_BODY
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.selector import DIRECT
from autopilot.routing.usage import cost_of
from autopilot.routing.why import FAILED, HIT, MISS, MOVED
from autopilot.state.latency import Pauses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autopilot.http.headers import Field
    from autopilot.http.response_parser import ResponseHead
    from autopilot.relay.downstream import CommittedHead
    from autopilot.routing.router_error import RouterError
    from autopilot.routing.why import Affinity
    from autopilot.upstream.backend import Backend
    from autopilot.upstream.key_pool import KeyLease

# Read through their enums, these would cost each request as much as a call.
_COMPLETED = Outcome.COMPLETED
_JSON, _STREAM, _CONTENT = BodyKind.JSON, BodyKind.STREAM, Meaning.CONTENT
_STREAMING, _STREAM_OVER, _OFF = State.STREAMING, Input.STREAM_OVER, GuardLevel.OFF


class ExchangeEnds(ExchangeHedge, has_steps=False):
    """The steps that respond to the client, and those after commit."""

    __slots__ = ()

    def _commit(self, attempt: Attempt, now: float) -> State:  # noqa: C901  a call costs each
        """Commit to a response: relay it whole, or its head and the rest as a stream."""
        head = attempt.response
        assert head is not None and attempt.call is not None
        has_our_key = attempt.candidate.origin is not None or self._request.lease is not None
        if has_our_key and is_coded(head, attempt.held[0] if attempt.held else b""):
            return self._withhold(head, now)
        policy = attempt.commit_policy
        if policy is not None and not policy.answered and self._streams:
            attempt.first_content = now - attempt.started
        is_stream, bridge = attempt.kind is _STREAM, self._bridge
        if bridge is not None and bridge.begun and not is_stream:
            # The rest could not be relayed within a stream, so it is not awaited.
            return self._commit_whole(attempt, head, attempt.release_held(), now, _CONTENT)
        if attempt.ended and not is_stream:
            held, meant = attempt.release_held(), _CONTENT
            if attempt.kind is _JSON:  # megabytes are not read twice
                judged = None if policy is None else policy.meant
                meant = judge_document(held) if judged is None else judged
            return self._commit_whole(attempt, head, held, now, meant)
        guard = self._config.guard
        guarded = is_stream and guard is not _OFF
        filtered = is_stream and self._body.template.asks_usage
        committed = self._committed_head(attempt, head, now, rechunk=guarded or filtered)
        tables = self._shared.tables
        if 200 <= head.status < 300:
            tables.committed(self._key, attempt.candidate.model, now)
        response = self._response if bridge is None else bridge.relay()
        if has_our_key:
            response = KeyMask(response, self._owner_of(attempt).secret)
        if filtered:
            response = self._filter = UsageFilter(response)
        choices = self._commit_terms[-1]
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
                choices=choices,
                said=policy is not None and policy.answered,
                is_json=attempt.kind is _JSON,
            ),
            idle=self._config.timeouts.idle if attempt.idle == inf else attempt.idle,
            pauses=attempt.pauses or Pauses(),
            is_sse=guarded,
            needs_terminator=self._needs_terminator,
            proof=tables.breaker.period,
            proven=self._note_proof,
            over=partial(self.take, _STREAM_OVER, None),
        )
        self._stream.begin(attempt.call, committed, attempt.release_held(), now)
        if attempt.ended:
            self._stream.end(b"")
        elif attempt.error is not None:
            self._stream.broken(attempt.error)
        return _STREAMING

    def _commit_whole(  # noqa: C901  a call costs every plain answer
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
        has_our_key = attempt.candidate.origin is not None or self._request.lease is not None
        if has_our_key and is_coded(head, body):
            return self._withhold(head, now)
        bridge = self._bridge
        if bridge is not None and bridge.begun:
            return self._end_bridged(attempt, head, body, now)
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
        if has_our_key:
            body = self._owner_of(attempt).masked(body)
        self._response.whole(committed, body)
        self._responded = True
        return self._conclude(outcome, now, len(body), True, reason, usage, cost)

    def _withhold(self, head: ResponseHead, now: float) -> State:
        """Relay nothing of a compressed response to a call with the operator's key.

        The key could not be masked in it, should the upstream repeat it. The router asks for no
        compression, and decompresses nothing.
        """
        if 200 <= head.status < 300:
            return self._fail(FailureReason.CODED, now)
        error = given_up(FailureReason.CODED)
        return self._refuse(replace(error, tried=self._tried() or b""), now)

    def _end_bridged(self, attempt: Attempt, head: ResponseHead, body: bytes, now: float) -> State:
        """End a stream that has begun with a response that is none, of which ``body`` is known."""
        if 200 <= head.status < 300:
            return self._refuse(NO_STREAM, now)
        self._release()
        committed = self._committed_head(attempt, head, now, False)
        event = response_event(head.status, body, self._request.dialect)
        self._response.whole(committed, event)
        self._responded = True
        return self._conclude(Outcome.RELAYED_ERROR, now, len(event))

    def _committed_head(  # noqa: C901  a call costs every response
        self,
        attempt: Attempt,
        head: ResponseHead,
        now: float,
        rechunk: bool,
        cost: int | None = None,
    ) -> CommittedHead:
        """Return the head for the client, and note the commit; ``cost`` is that of the answer."""
        if self._hedge is not None:
            self._hedge.close()
        model, status = attempt.candidate.model, head.status
        self._model, self._status, self._first_byte_at = model, status, now
        if self._given_up and 200 <= status < 300:
            first = attempt.first_content
            self._judge_given_up(now - attempt.started if first is None else first, now)
        if self._trace is not None:
            self._trace.committed(status)
        origin = attempt.candidate.origin
        if self._paced is not None and origin is None:
            self._paced.answered(head, attempt.held[0] if attempt.held else b"")
        if head.limits is not None and origin is None:
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
        committed = committed_head(
            head, request_id, selected, self._attempts, rechunk, date.value, tried, affinity, cost
        )
        request = self._request
        if request.use is None and request.lease is None and origin is None:
            return committed
        return structs.replace(committed, fields=self._of_keys(committed.fields, status, origin))

    def _owner_of(self, attempt: Attempt) -> Backend | KeyLease:
        """Return the holder of the operator's key with which an attempt was made."""
        origin, lease = attempt.candidate.origin, self._request.lease
        owner = lease if origin is None else self._config.backends[origin]
        assert owner is not None
        return owner

    def _of_keys(self, fields: Sequence[Field], status: int, origin: str | None) -> Sequence[Field]:
        """Return the fields of a response without what concerns the operator's account alone."""
        use, lease = self._request.use, self._request.lease
        if origin is not None:
            fields = self._config.backends[origin].answered(fields)
        elif lease is not None:
            if 200 <= status < 300:
                lease.served()
            fields = lease.cleaned(fields)
        return fields if use is None else use.marked(fields)

    def _fail(self, reason: FailureReason, now: float) -> State:
        """Handle an attempt without a response to relay."""
        attempt = self._current
        self._note_failure(attempt, reason, now)
        if attempt.last if self._paced is None else self._is_last(attempt):
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
        use = self._request.use
        self._response.refuse(error if use is None else use.explained(error))
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
        return _STREAMING

    def _stream_client_gone(self, now: float) -> State:
        self._committed.client_gone()
        return _STREAMING

    def _stream_shut_down(self, now: float) -> State:
        self._committed.shut_down()
        return _STREAMING

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
