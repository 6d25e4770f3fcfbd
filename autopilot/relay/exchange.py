"""Exchange: the handling of one request from its plan to its record.

`exchange_states` says which step takes an input in which state; `exchange_machine` runs the step,
which returns the next state; `exchange_base` has what the steps share. The steps are in modules by
what they do, each of which extends the one before:

* `exchange_attempts` sends requests upstream, `exchange_hedge` a second one beside the first;
* `exchange_ends` responds to the client;
* `exchange_retries` decides what follows an error response: another try, or its relay;
* this one holds a 2xx until its commit point, and gives up an attempt that takes too long.

Nothing is written to the client before commit, and nothing is retried after it (contract §6).

If a step or a collaborator raises, the client receives a 500 before commit and a broken connection
after it; the exchange leaves one record and releases every resource.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from autopilot.http.dialect import Dialect
from autopilot.http.error_bodies import INTERNAL
from autopilot.relay.attempt import Attempt
from autopilot.relay.attempt_deadlines import ALLOWANCES, Expiry, extend, lateness
from autopilot.relay.body_kind import CODED_OPENINGS, BodyKind, body_kind, opening_kind
from autopilot.relay.commit import CommitDecision, commit_policy, decide_plain
from autopilot.relay.exchange_retries import MAX_DECIDING_BYTES, ExchangeRetries
from autopilot.relay.exchange_states import State
from autopilot.relay.meaning import Meaning
from autopilot.relay.plain_answer import plain_meaning, usage_of_usual
from autopilot.relay.splice_guard import SpliceGuard
from autopilot.relay.sse_guard import GuardLevel
from autopilot.routing.allowance import longest_pause
from autopilot.routing.commit import Commit
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.retry_policy import RetryAction
from autopilot.state.latency import Pauses
from autopilot.state.tables import GivenUp
from autopilot.upstream.types import UpstreamError

if TYPE_CHECKING:
    from autopilot.http.response_parser import ResponseHead

_REASONS = {
    CommitDecision.ERROR: FailureReason.ERROR_EVENT,
    CommitDecision.GAVE_UP: FailureReason.GAVE_UP,
    CommitDecision.INVALID: FailureReason.INVALID_EVENT,
    CommitDecision.UNTERMINATED: FailureReason.NO_TERMINATOR,
    CommitDecision.EMPTY: FailureReason.EMPTY,
}
# Read through their enums, these would cost each request as much as a call.
_JSON, _UNLABELLED, _CONTENT = BodyKind.JSON, BodyKind.UNLABELLED, Meaning.CONTENT
_COMMIT = CommitDecision.COMMIT
_AT_CONTENT, _AT_COMPLETE = Commit.CONTENT, Commit.COMPLETE


class Exchange(ExchangeRetries):
    """One exchange: the steps that judge a response, and whether to wait for it any longer."""

    __slots__ = ()

    # -- the response, before commit

    def _judge_whole(self, now: float, head: ResponseHead, body: bytes) -> State:
        """Handle a response that arrived in one read.

        The hot path of responses that are not streams: no commit policy, no timer, one write.
        """
        attempt = self.attempt
        assert attempt is not None
        attempt.response, attempt.head_at = head, now
        if 200 <= head.status < 300:
            attempt.kind = body_kind(head, self._streams)
            if attempt.kind is _JSON:
                # As `judge_document`, without its call.
                raw_usage = usage_of_usual(body)
                meant = plain_meaning(body) if raw_usage is None else _CONTENT
                if meant is not _CONTENT:
                    commit = self._commit_at
                    if commit is _AT_COMPLETE or (commit is _AT_CONTENT and not attempt.last):
                        judged = decide_plain(meant)
                        if judged is not _COMMIT:
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
            attempt.kind = body_kind(head, self._streams)
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
        if not self._may_call():
            attempt.last = True
            return self._fail(error.reason, now)
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
        if is_allowance and self._extends(attempt):
            self._arm(attempt)
            return self.state
        if is_allowance and not _is_whole(attempt):
            return self._give_up(attempt, now)
        return self._break_off(attempt, lateness(attempt), now)

    def _extends(self, attempt: Attempt) -> bool:
        """Return whether request and model add to an allowance that has expired, and add it."""
        latency, timeouts = self._shared.tables.latency, self._config.timeouts
        # Each allowance that expired doubles the next one (contract §6).
        factor = 2.0 ** len(self._given_up)
        return extend(attempt, self._expiring, timeouts, latency, self._body, factor)

    def _give_up(self, attempt: Attempt, now: float) -> State:
        """Try the next candidate after the allowance of the attempt has expired.

        Whether that was a failure is seen when it is known what the others needed (contract §6).
        """
        if now >= self._total_due:  # no candidate is left, as there is no time for one
            return self._run_out(now)
        if self._paced is not None and self._is_last(attempt):
            return self._wait_longer(attempt, now)
        paused = now - attempt.heard_at if self._expiring is Expiry.STALLED else None
        plain = not self._streams
        reason = FailureReason.PLAIN_TIMEOUT if plain else lateness(attempt)
        took = self._note_failover(attempt, reason, now)
        given_up = GivenUp(attempt.candidate.model, reason, took, plain, paused)
        self._given_up = (*self._given_up, given_up)
        return self._try_next(now)

    def _wait_longer(self, attempt: Attempt, now: float) -> State:
        """Give an attempt the full time: there is a candidate, but no token for its call.

        Without another one to turn to, the first byte is the commit point (contract §6).
        """
        attempt.allowance = attempt.pause_allowance = inf
        if self._commits_early(attempt):
            return self._commit(attempt, now)
        if attempt.kind is not None and not attempt.held:
            attempt.commit_policy = commit_policy(*self._commit_terms, attempt.kind, True)
        self._arm(attempt)
        return self.state

    def _commits_early(self, attempt: Attempt) -> bool:
        """Return whether what is held of a 2xx is relayed as soon as no candidate is left."""
        return bool(
            attempt.held
            and attempt.kind not in (None, BodyKind.UNLABELLED)
            and self._commit_at is not _AT_COMPLETE
        )

    def _break_off(self, attempt: Attempt, reason: FailureReason, now: float) -> State:
        """Handle a response that will not continue: commit it if its answer is whole, else fail."""
        if _is_whole(attempt):
            attempt.ended = True
            return self._commit(attempt, now)
        return self._fail(reason, now)

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
        if attempt.kind is _UNLABELLED:
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
            if self._hedge is not None:
                self._end_race(attempt, self._hedge)
        if decision is _COMMIT:
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
        if decision is _COMMIT:
            return self._commit(attempt, now)
        was_last = attempt.last
        last = was_last if self._paced is None else self._is_last(attempt)
        # With no candidate left, an empty answer that ended whole is relayed as it is. So is what
        # was held while one was left.
        if last and (
            decision is CommitDecision.EMPTY or (not was_last and self._commits_early(attempt))
        ):
            return self._commit(attempt, now)
        return self._fail(_REASONS[decision], now)


def _is_whole(attempt: Attempt) -> bool:
    """Return whether the whole answer has arrived, so that later bytes do not matter."""
    return attempt.commit_policy is not None and attempt.commit_policy.whole
