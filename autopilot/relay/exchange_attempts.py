"""The attempts of an exchange: which candidate is tried, what is sent, and when it is tried again.

The steps here are the only ones that send a request upstream.
"""

from __future__ import annotations

from abc import abstractmethod
from math import inf
from typing import TYPE_CHECKING, ClassVar

from msgspec import structs

from autopilot.http.dialect import COUNT_TOKENS
from autopilot.http.headers import field_lines, sent_up
from autopilot.http.timers import Deadline
from autopilot.relay.attempt import Attempt
from autopilot.relay.attempt_deadlines import Expiry, nearest
from autopilot.relay.bridge import BridgedResponse
from autopilot.relay.errors import edge_limited
from autopilot.relay.exchange_base import ExchangeBase
from autopilot.relay.exchange_states import Input, State
from autopilot.relay.pacing import PacedCalls
from autopilot.relay.response_head import bridged_head
from autopilot.routing.plan import WHY_BY_MODE
from autopilot.routing.selector import DIRECT
from autopilot.routing.why import Why
from autopilot.state.edge_account import Admission
from autopilot.upstream.types import UpstreamCall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autopilot.http.headers import Field
    from autopilot.routing.candidate import Candidate
    from autopilot.routing.router_error import RouterError
    from autopilot.upstream.backend import Backend

# Read through their enums, these would cost each request as much as a call.
_ATTEMPTING = State.ATTEMPTING
_TOTAL = Expiry.TOTAL
_STICKY = Why.STICKY
_NONE: frozenset[str] = frozenset()


class ExchangeAttempts(ExchangeBase, has_steps=False):
    """The steps that begin an attempt, repeat it, or wait before the next try."""

    __slots__ = ()

    _attempt_type: ClassVar[type[Attempt]] = Attempt

    @abstractmethod
    def _run_out(self, now: float) -> State:
        """End at the total deadline."""

    @abstractmethod
    def _watch(self, now: float) -> None:
        """Set the time at which the first attempt gets another beside it."""

    @abstractmethod
    def _go_on_with_rival(self) -> State:
        """Let the second attempt take the place of the first."""

    @abstractmethod
    def _refuse(self, error: RouterError, now: float) -> State:
        """Respond with an error of the router."""

    def _try_first(self, now: float) -> State:
        config = self._config
        if self._silence and self._bridge is None:
            self._bridge_silence()
        if config.governed and self._paced is None and self._request.dialect in config.governed:
            state = self._pace(now)
            if state is not None:
                return state
        # No cooling models to defer: the plan has put them last.
        candidate, plan = self._candidates.take(_NONE), self._plan
        if plan.sticky:
            self._why = _STICKY
        else:  # the usual case without a call
            is_usual = not (plan.added or plan.resorted)
            self._why = WHY_BY_MODE[plan.mode] if is_usual else plan.why(candidate)
        state = self._begin(candidate, now)
        if config.hedge_after:
            self._watch(now)
        return state

    # -- the silence before an answer

    def _bridge_silence(self) -> None:
        """Have a stream begin before its answer, if that takes long, and if the client can read it.

        Neither a plain answer nor a count of tokens is a stream, and the head of a private answer
        says which instance gave it. To HTTP/1.0, which has no chunks, a broken stream would look
        whole (RFC 9112 §6.3).
        """
        request, response = self._request, self._response
        if self._streams and not self._private and request.path != COUNT_TOKENS and response.chunks:
            deadline = Deadline(self._shared.clock, self._silent)
            self._bridge = BridgedResponse(response, request.dialect, deadline, self._silence)
            self._response = self._bridge

    def _silent(self) -> None:
        self.take(Input.KEEP_ALIVE, None)

    def _keep_alive(self, now: float) -> State:
        """Write a comment, the first one behind a head; that is no commit (contract §6)."""
        bridge, use = self._bridge, self._request.use
        assert bridge is not None
        if bridge.begun:
            bridge.comment()
            return self.state
        date = self._shared.date
        if now >= date.due:
            date.renew(now)
        head = bridged_head(self._request.request_id, date.value)
        if use is not None:
            head = structs.replace(head, fields=use.marked(head.fields))
        bridge.begin(head)
        return self.state

    # -- the account's governor

    def _pace(self, now: float) -> State | None:
        """Ask for the first call; return None if it may be made."""
        pacing, request = self._shared.pacing, self._request
        if pacing is None:
            return None
        self._paced = paced = PacedCalls(pacing, request, self._admitted)
        if self._config.backends and self._candidates.next_elsewhere:
            return None  # that call is not the platform's; one that follows asks for its token
        fields = self._body.fields
        admission = paced.begin(now, lambda: pacing.conversation(request, fields))
        if admission is Admission.SENT:
            return None
        if admission is Admission.BANNED:
            return self._refuse_or_leave(paced, now)
        due = now + max(self._config.pace, paced.least_wait), Expiry.PACE
        due_at, self._expiring = min(due, (self._total_due, Expiry.TOTAL))
        self._timer.set_at(due_at)
        return State.PACING

    def _admitted(self) -> None:
        self.take(Input.ADMITTED, None)

    def _admit(self, now: float) -> State:
        """Make the first attempt after its wait, unless a ban has begun."""
        paced = self._paced
        assert paced is not None
        self._waited_ms = paced.resolve(now)
        if paced.banned:
            return self._refuse_or_leave(paced, now)
        return self._try_first(now)

    def _expire_pacing(self, now: float) -> State:
        """Refuse a request that has waited for too long; it was not sent."""
        paced = self._paced
        assert paced is not None
        self._waited_ms = paced.give_up(now)
        return self._refuse_or_leave(paced, now, banned=False)

    def _refuse_or_leave(self, paced: PacedCalls, now: float, *, banned: bool = True) -> State:
        """Turn to another service, as the account may make no call; without one, refuse."""
        if self._config.backends and self._candidates.leave_platform():
            candidate = self._candidates.take(_NONE)
            self._why = self._plan.why(candidate)
            return self._begin(candidate, now)
        return self._refuse(edge_limited(paced.retry_after, banned=banned), now)

    def _may_call(self) -> bool:
        """Return whether the model may be called once more, and draw the token of the call."""
        if self._paced is None or self._current.candidate.origin is not None:
            return True
        return self._paced.draw()

    def _is_last(self, attempt: Attempt) -> bool:
        """Return whether no candidate is left: none at all, or no token for its call.

        A token may have come since the attempt began.
        """
        if self._hedge is not None and self._hedge.rival is not None:
            return False
        if self._paced is not None and not self._exhausted:
            if (self._config.backends and self._candidates.next_elsewhere) or self._paced.draw():
                attempt.last = False
            else:
                attempt.last = not (self._config.backends and self._candidates.leave_platform())
        return attempt.last

    @property
    def _exhausted(self) -> bool:
        """Whether no further candidate may be tried, with a token or without."""
        return self._candidates.exhausted

    def _try_next(self, now: float) -> State:
        """Try the next candidate, unless the total deadline has passed."""
        if now >= self._total_due:  # its timer may expire in the same turn as another
            return self._run_out(now)
        self._current.drop_call()
        if self._hedge is not None and self._hedge.rival is not None:
            return self._go_on_with_rival()
        cooling = self._shared.tables.breaker.cooling(self._client(), now)
        candidate = self._candidates.take(cooling)
        if (
            self._config.backends
            and candidate.origin is None
            and not self._has_token()
            and self._candidates.leave_platform()
        ):
            # Another service was to be next, which needs no token, but its model is cooling.
            candidate = self._candidates.take(_NONE)
        self._why = self._plan.why(candidate)
        return self._begin(candidate, now)

    def _has_token(self) -> bool:
        return self._paced is None or self._paced.draw()

    def _begin(self, candidate: Candidate, now: float) -> State:
        """Begin an attempt with a candidate taken from the queue."""
        if self.attempt is not None:
            self._free_held(self.attempt)
        model, last, tables = candidate.model, self._candidates.exhausted, self._shared.tables
        timeouts, allowance = self._config.timeouts, inf
        if self._hedge is not None and self._hedge.rival is not None:
            last = False  # the second attempt is still to be turned to
        if self._paced is not None:
            last = last or not (self._paced.may_follow() or self._leads_elsewhere())
        if not last:
            # The base allowance; what request and model add is computed when it has run out.
            if self._streams:
                allowance = timeouts.failover_after
            elif not self._given_up:  # a long answer must not be thrown away twice
                allowance = timeouts.plain_failover_after
        attempt = self.attempt = self._attempt_type(self, candidate, last, now, allowance)
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

    def _leads_elsewhere(self) -> bool:
        return bool(self._config.backends) and self._candidates.leads_elsewhere

    def _send(self, attempt: Attempt) -> State:
        """Send the request for an attempt; only ``model`` differs between candidates.

        Another service gets its own key instead of the client's, too.
        """
        request, candidate = self._request, attempt.candidate
        if candidate.origin is None:
            if self._paced is not None:
                self._paced.sent()
            target, query, lines = self._target, request.query, request.headers.upstream
            if self._trace is not None:
                lines = field_lines(self._trace.inject(sent_up(request.headers.fields)))
        else:
            backend = self._config.backends[candidate.origin]
            # A query may hold a key of the client's.
            target, query = backend.targets[self._target.path], b""
            lines = self._lines_elsewhere(backend)
        self._arm(attempt)
        pieces = self._body.template.pieces(candidate.sent or candidate.model)
        call = UpstreamCall(target.request(query, lines, pieces), attempt)
        attempt.call = call
        connect = self._config.timeouts.connect
        self._shared.pool.dispatch(target.origin, call, connect, attempt.replayed)
        return _ATTEMPTING

    def _lines_elsewhere(self, backend: Backend) -> bytes:
        """Return the fields for another service, with nothing of the client's account."""
        fields: Sequence[Field] = backend.fields(self._request.headers.fields)
        if self._trace is not None:
            fields = self._trace.inject(fields)
        return field_lines(fields)

    def _arm(self, attempt: Attempt) -> None:
        """Set the timer to the nearest deadline."""
        due, self._expiring = nearest(attempt, self._config.timeouts, self._streams)
        if self._total_due <= due:
            due, self._expiring = self._total_due, _TOTAL
        self._timer.set_at(due)

    def _repeat(self, attempt: Attempt, now: float) -> State:
        """Repeat the request on a new connection, as the reused one had been idle for too long.

        That says nothing of the model, so it is neither an attempt nor a failure (contract §6).
        """
        attempt.drop_call()
        if now >= self._total_due:
            return self._run_out(now)
        self._free_held(attempt)
        again = self.attempt = self._attempt_type(
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
