"""A model of the contract for one request, for any order of events.

The model has no socket, parser or timer. It receives the events of the network, the client and the
clock, and predicts the next upstream request, the client's response and the record.
"""

from __future__ import annotations

from tests.properties import exchange_rules as rules
from tests.properties.exchange_attempt import Attempt, Due, Phase, Read, Terms
from tests.properties.exchange_replies import Event, Reply

_NEVER = Due(float("inf"), "")


class Request:
    """One request from its arrival to its record.

    ``owes`` is the model to which a request must be sent next; ``refusal`` is the status and code
    of an error of the router; ``least`` and ``most`` bound how much of the committed body has been
    passed on.
    """

    def __init__(self, terms: Terms, now: float) -> None:
        self.terms = terms
        self.began = now
        self.over_at = 0.0
        self.left = list(terms.candidates)
        self.budget = terms.max_attempts
        self.attempts = 0
        self.failovers: list[str] = []
        self.phase = Phase.WAITING
        self.owes: str | None = None
        self.refusal: tuple[int, str] | None = None
        self.outcome = ""
        self.committed = False
        self.least = self.most = 0
        self.quiet_since = 0.0
        self.resume_at = 0.0
        self.goes_on = False
        self.waited_for: set[str] = set()
        self.tried_again: set[str] = set()
        self.narrowed = False
        self.given_up = 0
        self.client_waits = self.stalled = self.left_early = False
        self.clean = self.drains = False

    def start(self) -> None:
        """Admit the request; its first candidate is due."""
        self.budget -= 1
        self._turn(self.left.pop(0), self.began)

    @property
    def over(self) -> bool:
        """Whether the request has ended."""
        return self.phase is Phase.OVER

    # -- actions of the router

    def tried(self, model: str) -> None:
        """Check that the router sent the request to the model that was due."""
        assert self.owes == model, (
            f"{model} received the request when {self.owes or 'no model'} was due"
        )
        self.owes = None

    # -- events of the network

    def dials(self, now: float) -> None:
        """Start the time of a connection attempt."""
        self.attempt.dialled = now

    def sent(self, *, reused: bool) -> None:
        """Record that the request was sent, over a new or a reused connection."""
        attempt = self.attempt
        assert not (reused and attempt.replayed), "replayed over another used connection"
        attempt.dialled, attempt.reused, attempt.heard = None, reused, False

    def refused(self, now: float) -> None:
        """Record that no connection could be opened."""
        self.attempt.dialled = None
        self._fail("connect_refused", now)

    def reads(self, read: Read, now: float) -> None:
        """Process received bytes of a response."""
        attempt = self.attempt
        attempt.heard = True
        if read.reply is not None:
            self._head(read.reply, now)
        if read.body and self._concerns(attempt):
            self._body(read, now)
        if read.ended and self._concerns(attempt):
            attempt.events += read.tail
            self._end(now)
        elif read.malformed and self._concerns(attempt):
            self._lost("protocol_error", now)

    def lost(self, now: float, *, politely: bool, tail: tuple[Event, ...]) -> None:
        """Lose the connection; ``politely``: it was closed, not reset, which completes ``tail``."""
        if self.over:
            return
        attempt = self.attempt
        if attempt.reused and not attempt.heard:
            # A stale connection says nothing about the model, so the request is repeated on a new
            # one.
            attempt.replayed, self.owes = True, attempt.model
        elif politely and attempt.ends_with_connection:
            attempt.events += tail
            self._end(now)
        else:
            self._lost("connection_lost", now)

    # -- actions of the client and the operator

    def leaves(self, now: float) -> None:
        """Record that the client has disconnected."""
        if not self.over:
            self.left_early = True
            self._over("client_gone", now)

    def waits(self, now: float, *, client: bool) -> None:
        """Record that the client has stopped or resumed reading."""
        self.client_waits, self.quiet_since = client, now
        self.stalled = client and self.phase is Phase.RELAYING

    def refuse(self, status: int, code: str, now: float) -> None:
        """Expect an error of the router."""
        self.refusal = status, code
        self._over("failed" if status in (500, 502, 504) else "refused", now)

    def shut_down(self, now: float) -> None:
        """Record that the drain time has expired."""
        if self.phase is Phase.RELAYING:
            self._breaks("shut_down", now)
        elif not self.over:
            self.refuse(503, "draining", now)

    # -- time

    @property
    def due(self) -> Due:
        """Return the nearest deadline."""
        total = Due(self._total_at, "total_deadline")
        match self.phase:
            case Phase.OVER:
                return _NEVER
            case Phase.RELAYING:
                return Due(self.quiet_since + self.terms.times.idle, "idle")
            case Phase.PAUSING:
                return min(Due(self.resume_at, "pause"), total)
            case phase:
                return min([*self.attempt.dues(phase, self.terms), total])

    @property
    def _total_at(self) -> float:
        return self.began + self.terms.times.total

    def expire(self, now: float) -> None:
        """Apply the deadline that has expired."""
        match self.due.reason:
            case "total_deadline" if self.phase is Phase.READING and self.attempt.settled:
                self._answer(now)
            case "total_deadline":
                self._run_out(now)
            case "error_body":
                self._decide(now)
            case "pause":
                if self.goes_on and now < self._total_at:
                    self.attempts -= 1  # both count as one attempt
                self.goes_on = False
                self._turn_in_time(self.attempt.model, now)
            case "idle" if self.stalled:
                self._over("client_stalled", now)
            case "idle":
                self._breaks("upstream_idle", now)
            case reason if self.due.allowance and not self._is_whole:
                if now < self._total_at:
                    self.given_up += 1
                    self._fail(reason, now)
                else:  # no time is left for another, so the attempt is not given up for one
                    self._run_out(now)
            case reason:
                self._break(reason, now)

    # -- before the commit

    def _concerns(self, attempt: Attempt) -> bool:
        return self.attempt is attempt and self.phase not in (Phase.OVER, Phase.PAUSING)

    def _turn(self, model: str, now: float) -> None:
        last = not self.left or self.budget <= 0
        self.attempt = Attempt(model, last, now, self.given_up)
        self.attempts += 1
        self.phase, self.owes = Phase.WAITING, model

    def _head(self, reply: Reply, now: float) -> None:
        attempt, terms = self.attempt, self.terms
        attempt.reply, attempt.head_at = reply, now
        if 200 <= reply.status < 300:
            self.phase = Phase.HOLDING
            return
        if reply.status == 408 and attempt.reused and terms.policy != "strict" and self._again():
            self._repeat(now)
            return
        verdict = rules.at_head(reply, terms.policy, terms.mode == "direct")
        if verdict is rules.READ:
            self.phase = Phase.READING
        else:
            self._follow(verdict, now)

    def _again(self) -> bool:
        """The same model may be asked once more, uncounted: once a model, twice a request."""
        model = self.attempt.model
        if model in self.tried_again or len(self.tried_again) >= 2:
            return False
        self.tried_again.add(model)
        return True

    def _repeat(self, now: float) -> None:
        """The connection had been idle for too long: the same once more, on a new one."""
        if now >= self._total_at:
            self._run_out(now)
            return
        before = self.attempt
        self.attempt = Attempt(before.model, before.last, before.started, replayed=True)
        self.phase, self.owes = Phase.WAITING, before.model

    def _body(self, read: Read, now: float) -> None:
        attempt = self.attempt
        attempt.body += read.body
        attempt.events += read.events
        attempt.body_at = self.quiet_since = now
        self._look(now, enough=attempt.settled or len(attempt.body) >= rules.MOST_DECIDING)

    def _end(self, now: float) -> None:
        self.attempt.ended = True
        self._look(now, enough=True)

    def _look(self, now: float, *, enough: bool) -> None:
        """Evaluate the response so far; ``enough``: an error can be classified."""
        match self.phase:
            case Phase.READING if enough:
                self._decide(now)
            case Phase.HOLDING:
                self._weigh(now)
            case Phase.RELAYING:
                self._pass(now)

    def _lost(self, reason: str, now: float) -> None:
        attempt = self.attempt
        attempt.broken = True
        match self.phase:
            case Phase.RELAYING:
                self._breaks("upstream_broken", now)
            case Phase.READING:
                self._decide(now)
            case _:
                self._break(reason if attempt.reply is None else "cut", now)

    def _break(self, reason: str, now: float) -> None:
        """No more will come of an attempt; what is held may be whole without."""
        if self._is_whole:
            self.attempt.ended, self.attempt.broken = True, False
            self._commit(now)
        else:
            self._fail(reason, now)

    @property
    def _is_whole(self) -> bool:
        """Whether all of an answer that is held has arrived."""
        attempt = self.attempt
        whole = rules.all_finished(attempt.events, self.terms.most_held)
        whole = whole and rules.at_boundary(attempt.body)
        return self.phase is Phase.HOLDING and self.terms.commit == "complete" and whole

    def _decide(self, now: float) -> None:
        attempt, terms = self.attempt, self.terms
        reply = attempt.reply
        assert reply is not None
        if attempt.settled:
            self._answer(now)
            return
        said = reply.says if attempt.body == reply.document else ""
        larger = terms.larger[attempt.model]
        can_narrow = not (self.narrowed or attempt.last or larger.isdisjoint(self.left))
        verdict = rules.at_body(reply, said, terms.policy, terms.mode == "direct", can_narrow)
        if verdict.reason == "context":
            self.narrowed = True
            self.left = [model for model in self.left if model in larger]
        self._follow(verdict, now)

    def _weigh(self, now: float) -> None:
        attempt, terms = self.attempt, self.terms
        assert attempt.reply is not None
        point = rules.commit_point(
            terms.commit,
            attempt.reply,
            len(attempt.body),
            attempt.events,
            last=attempt.last,
            ended=attempt.ended,
            most=terms.most_held,
        )
        if point == rules.COMMIT:
            self._commit(now)
        elif point != rules.HOLD:
            self._fail(point, now)

    def _follow(self, verdict: rules.Verdict, now: float) -> None:
        model = self.attempt.model
        if verdict.word == "answer":
            self._answer(now)
            return
        if verdict.again is not None and self._again():
            self.resume_at, self.phase = now + verdict.again, Phase.PAUSING
            self.goes_on = True
            return
        self._note(verdict.reason)
        if verdict.pause is not None and self.budget > 0 and model not in self.waited_for:
            self.waited_for.add(model)
            self.budget -= 1
            self.resume_at = now + verdict.pause
            self.phase = Phase.PAUSING
        elif self.attempt.last:
            self._answer(now)
        else:
            self._next(now)

    def _answer(self, now: float) -> None:
        """An error is the client's; what may lack ``error`` is read to its end first."""
        attempt, terms = self.attempt, self.terms
        reply = attempt.reply
        assert reply is not None
        if not (terms.shapes and rules.may_be_shaped(reply, len(attempt.body))):
            self._commit(now)
        elif attempt.ended:
            if attempt.body == reply.document:
                attempt.body = reply.shaped
            self._commit(now)
        elif attempt.broken or now >= min(attempt.head_at + terms.times.error_body, self._total_at):
            self._commit(now)
        else:
            attempt.settled, self.phase = True, Phase.READING

    def _fail(self, reason: str, now: float) -> None:
        self._note(reason)
        if self.attempt.last:
            self.refuse(*rules.given_up(reason), now)
        else:
            self._next(now)

    def _next(self, now: float) -> None:
        self.budget -= 1
        self._turn_in_time(self.left.pop(0), now)

    def _turn_in_time(self, model: str, now: float) -> None:
        if now >= self._total_at:
            self._run_out(now)
        else:
            self._turn(model, now)

    def _run_out(self, now: float) -> None:
        """The total deadline ends an attempt that has not failed by itself."""
        if not self.attempt.failed:
            self._note("total_deadline")
        self.refuse(504, "upstream_total_timeout", now)

    def _note(self, reason: str) -> None:
        self.attempt.failed = True
        self.failovers.append(reason)

    # -- after the commit

    def _commit(self, now: float) -> None:
        self.phase, self.committed = Phase.RELAYING, True
        # A client that was stalled before the limit applied is stalled no less now.
        self.quiet_since, self.stalled = now, self.client_waits
        self._pass(now)
        if self.attempt.broken and not self.over:
            self._breaks("upstream_broken", now)

    def _pass(self, now: float) -> None:
        attempt = self.attempt
        assert attempt.reply is not None
        self.least, self.most, end = rules.passed(
            self.terms.guard,
            attempt.reply,
            attempt.body,
            attempt.events,
            ended=attempt.ended,
            before=self.least,
        )
        if end is not None:
            self.clean = self.drains = end.clean
            self._over(end.outcome, now)
        elif attempt.ended:
            self._breaks(rules.CLEAN_END, now)

    def _breaks(self, outcome: str, now: float) -> None:
        """A response that is relayed goes on no more; if its answer is whole, that is no break."""
        attempt = self.attempt
        assert attempt.reply is not None
        end = rules.ends(self.terms.guard, attempt.reply, attempt.body, attempt.events, outcome)
        self.clean = end.clean
        self._over(end.outcome, now)

    def _over(self, outcome: str, now: float) -> None:
        self.phase, self.outcome, self.over_at, self.owes = Phase.OVER, outcome, now, None
