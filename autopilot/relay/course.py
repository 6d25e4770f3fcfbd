"""What one exchange knows and the steps it can take; `engine` says which step is next.

A step does its work and names its verdict to the machine: try, read on, hold, pause, commit or
refuse.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from autopilot.http.timers import Deadline
from autopilot.relay.attempt import Attempt, Expiry, Timeouts
from autopilot.relay.candidates import Candidates
from autopilot.relay.commit import CommitDecision, commit_policy
from autopilot.relay.dialect import Dialect
from autopilot.relay.errors import OUT_OF_TIME, given_up
from autopilot.relay.response_head import EVENT_STREAM, reply
from autopilot.relay.sse_guard import GuardLevel
from autopilot.relay.stream import Outcome
from autopilot.routing import retry_policy
from autopilot.routing.commit import Commit
from autopilot.routing.plan import Plan
from autopilot.routing.retry_policy import Policy, RetryAction, RetryDecision
from autopilot.routing.router_error import RouterError
from autopilot.upstream.types import ResponseHead, UpstreamCall, UpstreamError

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from autopilot.relay.ending import Ending
    from autopilot.relay.engine import Exchange
    from autopilot.relay.journal import Journal
    from autopilot.relay.outgoing import Outgoing

MAX_DECIDING_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Conduct:
    """The settings an exchange goes by."""

    timeouts: Timeouts
    policy: Policy
    guard: GuardLevel
    max_attempts: int
    commit_max_bytes: int


@dataclass(slots=True, eq=False)
class Course:
    """One exchange between its plan and its record."""

    clock: IReactorTime
    conduct: Conduct
    outgoing: Outgoing
    ending: Ending
    journal: Journal
    plan: Plan
    dialect: Dialect
    stream_wanted: bool
    commit_at: Commit
    candidates: Candidates = field(init=False)
    deadline: Deadline = field(init=False)
    started: float = field(init=False)
    attempt: Attempt = field(init=False)
    machine: Exchange = field(init=False)
    expiring: Expiry = Expiry.TOTAL

    def __post_init__(self) -> None:
        self.candidates = Candidates(self.plan.candidates, self.conduct.max_attempts)
        self.started = self.clock.seconds()

    def wire(self, machine: Exchange) -> None:
        """Join the course and its machine."""
        self.machine = machine
        self.deadline = Deadline(self.clock, machine.expired)

    # -- attempts

    def advance(self) -> None:
        """Turn to the next candidate."""
        self._turn_to(self.candidates.turn(self.outgoing.cooling()).model)

    def _turn_to(self, model: str) -> None:
        last, now = self.candidates.exhausted, self.clock.seconds()
        allowance = self.outgoing.allowance(model) if self.stream_wanted and not last else None
        self.attempt = Attempt(model, last, now, allowance)
        self.journal.attempting(model, now)

    def launch(self) -> None:
        """Send the request of the attempt at hand."""
        attempt = self.attempt
        self.arm()

        def call_for(payload: bytes) -> UpstreamCall:
            attempt.call = UpstreamCall(payload, self.machine)
            return attempt.call

        self.outgoing.send(attempt.model, call_for, fresh=attempt.replayed)

    def arm(self) -> None:
        """Set the timer to the nearest deadline."""
        due = self.attempt.nearest(self.conduct.timeouts, stream=self.stream_wanted)
        self._expire_at(*min(due, (self._out_of_time, Expiry.TOTAL)))

    def _expire_at(self, at: float, expiry: Expiry) -> None:
        self.expiring = expiry
        self.deadline.set(at - self.clock.seconds())

    @property
    def _out_of_time(self) -> float:
        return self.started + self.conduct.timeouts.total

    @property
    def _is_out_of_time(self) -> bool:
        """Whether an attempt would come too late: other deadlines may pass at the same time."""
        return self.clock.seconds() >= self._out_of_time

    # -- verdicts

    def judge_head(self, head: ResponseHead) -> None:
        """A response head: a 2xx goes on to its commit point, an error to its verdict."""
        attempt = self.attempt
        attempt.head, attempt.head_at = head, self.clock.seconds()
        if 200 <= head.status < 300:
            attempt.dial = commit_policy(
                self.commit_at,
                is_stream=head.content_type == EVENT_STREAM,
                dialect=self.dialect,
                last=attempt.last,
                max_bytes=self.conduct.commit_max_bytes,
            )
            self.machine.hold()
            return
        judgement = retry_policy.at_head(reply(head), self.conduct.policy, self.plan.mode)
        if judgement.verdict is RetryAction.READ:
            self.machine.read()
        else:
            self._follow(judgement)

    def collect(self, data: bytes) -> None:
        """The body of an error, as far as it takes to decide."""
        self.attempt.held.append(data)
        if self.attempt.held_bytes >= MAX_DECIDING_BYTES:
            self._decide()

    def collected(self) -> None:
        """The body of an error is complete."""
        self.attempt.ended = True
        self._decide()

    def cut_short(self, broken: UpstreamError) -> None:
        """The body of an error broke off: what was read decides, and the client sees the break."""
        self.attempt.broken = broken
        self._decide()

    def _decide(self) -> None:
        attempt = self.attempt
        assert attempt.head is not None
        larger = self.outgoing.larger(attempt.model)
        judgement = retry_policy.on_body(
            reply(attempt.head),
            b"".join(attempt.held),
            self.conduct.policy,
            self.plan.mode,
            self.candidates.any_of(larger),
        )
        if judgement.reason == retry_policy.CONTEXT_EXCEEDED:
            self.candidates.narrow(larger)
        self._follow(judgement)

    def _follow(self, judgement: RetryDecision) -> None:
        """Relay an error response, or try the next candidate; with none left relay it after all."""
        attempt = self.attempt
        if judgement.verdict is RetryAction.COMMIT:
            self.machine.commit()
            return
        self._note_failure(judgement.reason or "")
        if judgement.pause is not None and self.candidates.pause_on(attempt.model):
            self._drop_call()
            due = self.clock.seconds() + judgement.pause
            self._expire_at(*min((due, Expiry.PAUSE), (self._out_of_time, Expiry.TOTAL)))
            self.machine.pause()
        elif attempt.last:
            self.machine.commit()
        else:
            self._try_next()

    def pause_over(self) -> None:
        """The moment the model asked for has passed, or all time has."""
        if self.expiring is Expiry.TOTAL or self._is_out_of_time:
            self.machine.refuse(OUT_OF_TIME)
        else:
            self._turn_to(self.attempt.model)
            self.machine.attempt()

    def weigh(self, data: bytes) -> None:
        """Body bytes of a 2xx before its commit point."""
        attempt = self.attempt
        assert attempt.dial is not None
        attempt.held.append(data)
        attempt.heard_at = self.clock.seconds()
        answered = attempt.answered
        holding = attempt.dial.feed(data)
        if attempt.answered and not answered:
            self._note_answer()
        self._follow_holding(holding)

    def weigh_end(self) -> None:
        """A 2xx ended cleanly before its commit point."""
        attempt = self.attempt
        assert attempt.dial is not None
        attempt.ended = True
        self._follow_holding(attempt.dial.end())

    def _follow_holding(self, holding: CommitDecision) -> None:
        match holding:
            case CommitDecision.HOLD:
                self.arm()
            case CommitDecision.COMMIT:
                self.machine.commit()
            case CommitDecision.ERROR:
                self.fail(retry_policy.ERROR_EVENT)
            case CommitDecision.EMPTY:
                self.fail(retry_policy.EMPTY_STREAM)

    def judge_break(self, broken: UpstreamError) -> None:
        """The attempt broke. A stale connection is replaced, once: a fresh one is never stale."""
        attempt = self.attempt
        if broken.stale:
            attempt.replayed = True
            self.machine.attempt()
        else:
            self.fail(broken.reason if attempt.head is None else retry_policy.BROKEN_STREAM)

    def expire(self) -> None:
        """The nearest deadline passed: of the attempt, of an error's body, or of everything."""
        match self.expiring:
            case Expiry.TOTAL:
                self.machine.refuse(OUT_OF_TIME)
            case Expiry.ERROR_BODY:
                self._decide()
            case expiry:
                self.fail(expiry.value)

    def fail(self, reason: str) -> None:
        """The attempt gave no response that could be relayed."""
        self._note_failure(reason)
        if self.attempt.last:
            self.machine.refuse(given_up(reason, began=bool(self.attempt.held)))
        else:
            self._try_next()

    def _try_next(self) -> None:
        if self._is_out_of_time:
            self.machine.refuse(OUT_OF_TIME)
            return
        self._drop_call()
        self.advance()
        self.machine.attempt()

    # -- the end

    def commit(self) -> None:
        """This response is the one: write its head and let the stream take over."""
        attempt = self.attempt
        self.deadline.clear()
        if attempt.dial is not None and not attempt.answered:
            self._note_answer()
        self.ending.relay(attempt, self.machine.over)

    def refuse(self, refusal: RouterError) -> None:
        """Give up, and say why."""
        self._release()
        self.ending.refuse(refusal)

    def abandon(self) -> None:
        """The client left before anything was committed."""
        self._release()
        self.ending.conclude(Outcome.CLIENT_GONE)

    def _release(self) -> None:
        self.deadline.clear()
        self._drop_call()

    def _drop_call(self) -> None:
        call, self.attempt.call = self.attempt.call, None
        if call is not None:
            call.abort()

    def _note_failure(self, reason: str) -> None:
        attempt = self.attempt
        status = attempt.head.status if attempt.head is not None else None
        self.journal.failed(attempt.model, reason, status, self.clock.seconds())

    def _note_answer(self) -> None:
        if self.stream_wanted:
            now = self.clock.seconds()
            self.journal.answered(self.attempt.model, now - self.attempt.started, now)
