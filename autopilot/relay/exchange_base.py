"""The part of an exchange that its steps share: its data, its record and its end.

An exchange leaves one record and releases every resource, whatever raises: a step, a collaborator,
or an embedding application's callback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autopilot.http.error_bodies import INTERNAL
from autopilot.http.key_gate import HOTKEY
from autopilot.observability.records import (
    DroppedCall,
    Failover,
    Outcome,
    RequestRecord,
    milliseconds,
)
from autopilot.relay.attempt import Attempt
from autopilot.relay.attempt_deadlines import Expiry
from autopilot.relay.exchange_machine import ExchangeMachine
from autopilot.relay.exchange_states import State
from autopilot.relay.usage import ENDING, OPENING, reported_usage
from autopilot.routing.candidate_queue import CandidateQueue
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.usage import Usage, cost_of
from autopilot.state.tables import GivenUp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from autopilot.http.dialect import Dialect
    from autopilot.relay.bridge import BridgedResponse
    from autopilot.relay.collaborators import Collaborators
    from autopilot.relay.config import RelayConfig
    from autopilot.relay.downstream import Downstream
    from autopilot.relay.hedge import Hedge, Rival
    from autopilot.relay.pacing import PacedCalls
    from autopilot.relay.planned_request import PlannedRequest
    from autopilot.relay.stream import Stream
    from autopilot.relay.trace import Trace
    from autopilot.relay.usage_filter import UsageFilter
    from autopilot.routing.commit import Commit
    from autopilot.routing.why import Affinity, AffinityWhy, Why
    from autopilot.state.circuit_breaker import Client
    from autopilot.upstream.target import RequestTarget

# The fields of which one has the client's key; an address has no limits of its own.
_KEYS = frozenset({b"authorization", b"x-api-key", HOTKEY})

# Records are kept and logged, and a client may send a name as long as its request allows.
_LONGEST_NAME = 256
# Read through their enums, these would cost each request as much as a call.
_OVER, _TOTAL = State.OVER, Expiry.TOTAL


class ExchangeBase(ExchangeMachine, has_steps=False):
    """The data of one exchange, its record, its end, and its updates of the state tables."""

    __slots__ = (
        "_affinity",
        "_affinity_why",
        "_attempts",
        "_body",
        "_bridge",
        "_candidates",
        "_charge",
        "_code",
        "_commit_at",
        "_concluded",
        "_config",
        "_displaced",
        "_expiring",
        "_failovers",
        "_filter",
        "_first_byte_at",
        "_given_up",
        "_hedge",
        "_key",
        "_model",
        "_paced",
        "_plan",
        "_remembered",
        "_request",
        "_responded",
        "_response",
        "_shared",
        "_silence",
        "_snapshot",
        "_started",
        "_status",
        "_stream",
        "_streams",
        "_target",
        "_timer",
        "_total_due",
        "_trace",
        "_waited_ms",
        "_why",
    )

    # Of private exchanges alone: whether it is one, whether nothing but the terminator ends its
    # answer, and the beginning of the id of the instance that had it last.
    _private = False
    _needs_terminator = False
    _answered_by: str | None = None

    def __init__(
        self,
        shared: Collaborators,
        config: RelayConfig,
        planned: PlannedRequest,
        response: Downstream,
        target: RequestTarget,
        trace: Trace | None,
    ) -> None:
        ExchangeMachine.__init__(self, shared.seconds)  # without the object that `super` creates
        # It is not kept itself: the body, which is part of it, is freed at commit.
        request, parsed, plan = planned.request, planned.parsed, planned.plan
        self._shared = shared
        self._config = config
        self._request = request
        self._response = response
        self._target = target
        self._body = body = parsed.body
        self._commit_at = parsed.commit
        self._streams = body.stream
        self._charge = request.charge
        self._plan = plan
        self._key = planned.key
        self._remembered = planned.remembered
        self._displaced = planned.displaced
        self._affinity: Affinity | None = None
        self._affinity_why: AffinityWhy | None = None
        self._snapshot = planned.snapshot
        self._trace = trace
        self._started = started = planned.started
        self._total_due = started + config.timeouts.total
        self._candidates = CandidateQueue(plan.candidates, config.max_attempts, plan.resort)
        self._attempts = 0
        self._paced: PacedCalls | None = None
        self._silence = parsed.keep_alive
        self._bridge: BridgedResponse | None = None
        self._hedge: Hedge | None = None
        self._waited_ms: float | None = None
        self._stream: Stream | None = None
        self._filter: UsageFilter | None = None
        self._model: str | None = None
        self._why: Why | None = None
        self._status: int | None = None
        self._code: str | None = None
        self._first_byte_at: float | None = None
        self._failovers: tuple[Failover, ...] = ()
        self._given_up: tuple[GivenUp, ...] = ()
        self._timer = response.timer(self.expired)
        self._expiring = _TOTAL
        self._responded = self._concluded = False

    # -- the end

    def _conclude(
        self,
        outcome: Outcome,
        now: float,
        sent: int = 0,
        terminated: bool = True,
        reason: FailureReason | None = None,
        usage: Usage | None = None,
        cost: int | None = None,
    ) -> State:
        """Leave the record, then release the exchange's slot, exactly once.

        In this order, because a router that is stopping continues once the last slot is free.
        """
        if self._concluded:
            return _OVER
        if self._given_up and outcome is not Outcome.CLIENT_GONE:
            self._judge_given_up(None, now)
        self._concluded = True
        # Attempt and stream refer back to the exchange. Without this only the cyclic garbage
        # collector would free them.
        if self.attempt is not None:
            self.attempt.call = None
        self.attempt = self._stream = None
        try:
            started, first, model = self._started, self._first_byte_at, self._model
            utilization_at, catalog_at = self._snapshot.utilization_at, self._snapshot.catalog_at
            record = RequestRecord(
                self._request.request_id,
                self._plan.mode,
                len(self._plan.candidates),
                model if model is None else model[:_LONGEST_NAME],
                self._attempts,
                self._failovers,
                self._status,
                # Inline copies of `milliseconds` and `age_ms`, which save four calls per request;
                # `// 1.0` rounds down like `int`, without a call.
                None
                if utilization_at is None
                else ((started - utilization_at) * 10_000.0 + 0.5) // 1.0 / 10.0,
                None
                if catalog_at is None
                else ((started - catalog_at) * 10_000.0 + 0.5) // 1.0 / 10.0,
                None if first is None else ((first - started) * 10_000.0 + 0.5) // 1.0 / 10.0,
                ((now - started) * 10_000.0 + 0.5) // 1.0 / 10.0,
                sent,
                outcome,
                terminated,
                self._target.path,
                self._code,
                reason,
                self._streams,
                self._why,
                self._affinity,
                self._affinity_why,
                usage,
                cost,
                None if (use := self._request.use) is None else use.name,
                self._private,
                self._answered_by,
                self._waited_ms,
                self._backend_name() if self._config.backends else None,
                None if (hedge := self._hedge) is None else hedge.outcome,
                None if hedge is None else hedge.dropped,
            )
            if use is not None:
                self._shared.failures.run(
                    "The usage of a key could not be counted", use.spend, record
                )
            try:
                self._shared.record(record)
            except Exception:  # noqa: BLE001  an embedding application's callback
                self._shared.failures.report("A request record could not be written")
            if self._trace is not None:
                self._shared.failures.run("A trace could not be ended", self._trace.over, record)
        finally:
            if self._charge is not None:
                self._charge.release()
            if self._request.use is not None:
                self._request.use.end()
            if (
                self._bridge is not None
                or self._hedge is not None
                or self._paced is not None
                or self._request.lease is not None
            ):
                self._end_calls()
            self._shared.released(self)
        return _OVER

    def _end_calls(self) -> None:
        """Give back the key of the platform that was lent, and make no further call with it.

        Nor is any silence bridged, or a second attempt begun.
        """
        if self._request.lease is not None:
            self._request.lease.end()
        for each in (self._bridge, self._hedge, self._paced):
            try:
                if each is not None:
                    each.close()
            except Exception:  # noqa: BLE001  the slot of the exchange is still to be released
                self._shared.failures.report("The calls of an exchange could not be ended")

    def _backend_name(self) -> str | None:
        """Return the name of the other service whose model was tried last; None if none was."""
        others = self._config.parsing.rules.fallbacks.candidates
        other = None if self._model is None else others.get(self._model)
        return None if other is None else other.origin

    def _release(self) -> None:
        self._timer.rest()
        self._drop_call()

    def _charge_held(self, attempt: Attempt, size: int) -> None:
        """Charge bytes of a response that are held; they are bounded in all, not refused."""
        if self._charge is not None:
            attempt.charged += size
            self._charge.hold(size)

    def _free_held(self, attempt: Attempt) -> None:
        """Release the charge of an attempt that another one replaces."""
        if attempt.charged and self._charge is not None:
            self._charge.hold(-attempt.charged)
            attempt.charged = 0

    def _drop_call(self) -> None:
        if self._bridge is not None:
            self._bridge.close()
        if self._hedge is not None:
            self._hedge.close()
        if self.attempt is not None:
            self.attempt.drop_call()

    def _fail_internally(self) -> None:
        """End the exchange after an exception in a step; the clean-up itself may raise, too."""
        shared = self._shared
        shared.failures.report("An exchange failed because of an exception in the router")
        self.state = State.OVER
        steps = [self._drop_call]
        if not self._is_response_over:  # else the timer was taken back, and may be another's
            steps += [self._timer.rest, self._answer_fault]
            if self._stream is not None:
                steps.append(self._stream.close)
        for step in steps:
            shared.failures.run("An exchange could not be cleaned up", step)
        sent = 0 if self._stream is None else self._stream.sent
        self._conclude(Outcome.FAILED, shared.seconds(), sent, terminated=False)

    @property
    def _is_response_over(self) -> bool:
        stream = self._stream
        return self._responded or self._concluded or (stream is not None and not stream.open)

    def _answer_fault(self) -> None:
        response = self._response
        if response.committed:
            response.abort()
        else:
            self._status, self._code = INTERNAL.status, INTERNAL.code
            self._first_byte_at = self._shared.seconds()
            response.refuse(INTERNAL)

    def _held_usage(self) -> tuple[Usage | None, int | None]:
        """Return what the attempt in progress reported of its usage, and its cost, before commit.

        That of an attempt that has failed stands with its failure.
        """
        attempt = self.attempt
        return (None, None) if attempt is None or attempt.failed else self._usage_of(attempt)

    def _usage_of(self, attempt: Attempt | Rival) -> tuple[Usage | None, int | None]:
        """Return the usage and the cost in the bytes of an attempt that are still held."""
        status = attempt.status
        if not attempt.held or status is None or not 200 <= status < 300:
            return None, None
        if not self._config.reads_usage:
            return None, None
        held = b"".join(attempt.held)
        usage = reported_usage(self._request.dialect, held[:OPENING], held[-ENDING:])
        return usage, cost_of(usage, attempt.candidate.model, self._snapshot.catalog)

    # -- state tables

    def _note_failure(self, attempt: Attempt, reason: FailureReason, now: float) -> None:
        """Note a failure that counts against its model."""
        took = self._note_failover(attempt, reason, now)
        model = attempt.candidate.model
        self._shared.tables.failed(self._client(), self._key, model, reason, now, took)

    def _note_failover(self, attempt: Attempt, reason: FailureReason, now: float) -> float:
        """Note for the record that an attempt ended without an answer; return how long it took."""
        model, status = attempt.candidate.model, attempt.status
        attempt.failed = True
        took = now - attempt.started
        name, ms = model[:_LONGEST_NAME], milliseconds(took)
        self._failovers += (Failover(name, reason, status, ms, *self._usage_of(attempt)),)
        if self._trace is not None:
            self._trace.failed(reason, status)
        return took

    def _dropped(self, attempt: Attempt | Rival) -> DroppedCall:
        """Return for the record the call of a hedged request that is given up for the other."""
        name, ms = attempt.candidate.model[:_LONGEST_NAME], self._seconds() - attempt.started
        return DroppedCall(name, attempt.status, milliseconds(ms), *self._usage_of(attempt))

    def _judge_given_up(self, answered_in: float | None, now: float) -> None:
        """Update the state tables for the attempts whose allowance expired."""
        given_up, self._given_up = self._given_up, ()
        for each in given_up:
            self._shared.tables.given_up(self._client(), self._key, each, answered_in, now)

    def _note_proof(self) -> None:
        """Count the attempt as a success: its stream has flowed for long enough."""
        attempt = self._current
        if attempt.status is not None and 200 <= attempt.status < 300:
            self._note_success(attempt.candidate.model)

    def _note_success(self, model: str) -> None:
        """Count a success: a 2xx ended whole, or has flowed for long enough."""
        breaker = self._shared.tables.breaker
        if breaker.of_clients or breaker.breakers:
            breaker.succeeded(self._client(), model)

    def _note_limits(self, limits: Mapping[bytes, bytes], now: float) -> None:
        """Pass on what the upstream states of the limits of the request's key, if it has one."""
        if self._paced is not None:
            self._paced.stated(limits)
        lease = self._request.lease
        if lease is not None:
            lease.stated(limits, now)
            self._shared.limited(lease.account, limits, now)
        elif not _KEYS.isdisjoint(self._request.headers.named):
            self._shared.limited(self._client(), limits, now)

    def _client(self) -> Client:
        """Return the hash of the client; under a direct name it is needed only here."""
        return self._shared.client(self._request) if self._key is None else self._key[0]

    @property
    def _commit_terms(self) -> tuple[Commit, Dialect, int, int]:
        """What a commit policy depends on; most plain answers need none.

        The last is how many answers the request asks for, which its body says until commit.
        """
        body = self._body
        choices = body.choices if body.fields.n or body.fields.prompt else 1
        return self._commit_at, self._request.dialect, self._config.commit_max_bytes, choices

    # -- objects that exist in certain states

    @property
    def _current(self) -> Attempt:
        assert self.attempt is not None
        return self.attempt

    @property
    def _committed(self) -> Stream:
        assert self._stream is not None
        return self._stream
