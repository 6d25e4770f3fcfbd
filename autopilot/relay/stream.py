"""Relay of a committed response from the upstream to the client.

After commit nothing can be retried (contract §6). A chunk costs one call of the guard and one
write. All other events (back-pressure, deadlines, loss of either side) are rare; the stream ends
exactly once.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from autopilot.observability.records import Outcome
from autopilot.relay.errors import NO_ANSWERS, TERMINATED
from autopilot.relay.sse import CR, LF
from autopilot.relay.stream_break import (
    IDLE,
    SHUT_DOWN,
    end_broken,
    fault_of,
    lost,
    unterminated,
)
from autopilot.relay.usage import OPENING, count_events, reported_usage
from autopilot.routing.failure_reason import FailureReason
from autopilot.state.latency import PAUSE_STEP, Pauses

if TYPE_CHECKING:
    from autopilot.http.dialect import Dialect
    from autopilot.http.response_parser import ResponseHead
    from autopilot.http.timers import Deadline
    from autopilot.observability.log_rate_limit import FailureLog
    from autopilot.relay.downstream import CommittedHead, Downstream
    from autopilot.relay.sse_guard import StreamGuard
    from autopilot.relay.stream_break import Break
    from autopilot.routing.usage import Usage
    from autopilot.upstream.types import UpstreamCall, UpstreamError

_WHOLE = Outcome.COMPLETED, None
# At least so many of the last bytes of an answer are kept, and its first ones, for what they report
# of its usage, and for an error event that continues them.
_KEPT = OPENING
# The most that is kept of bytes that were held.
_MOST_KEPT = 65536
# The last bytes of an answer that was held in which the events are counted.
_MOST_COUNTED = 262_144


@implementer(IPushProducer)
class Stream:
    """Relays one committed response.

    The stream calls ``over`` once, with the outcome, when the client's response has ended; by then
    the call is released and the timer at rest. ``idle`` limits, in seconds, how long the upstream
    may send nothing, and how long the client may receive nothing; the upstream's pauses are added
    to ``pauses``. ``is_sse``: the response is a guarded event stream, so an error event can
    announce a break. ``needs_terminator``: without it no answer is whole. The stream calls
    ``proven`` once, when bytes arrive after more than ``proof`` seconds. ``reason`` says why the
    answer broke, if its outcome does not.
    """

    __slots__ = (
        "_call",
        "_failures",
        "_idle",
        "_is_sse",
        "_latest",
        "_needs_terminator",
        "_older",
        "_opening",
        "_over",
        "_proof",
        "_proven",
        "_proven_at",
        "_response",
        "_seconds",
        "_stalled",
        "_taken",
        "_timer",
        "_turn",
        "_unrelayed",
        "began",
        "events",
        "guard",
        "open",
        "pauses",
        "reason",
        "sent",
    )

    def __init__(
        self,
        seconds: Callable[[], float],
        failures: FailureLog,
        response: Downstream,
        timer: Deadline,
        guard: StreamGuard,
        *,
        idle: float,
        pauses: Pauses,
        is_sse: bool,
        needs_terminator: bool = False,
        proof: float,
        proven: Callable[[], None],
        over: Callable[[Outcome], None],
    ) -> None:
        self._seconds = seconds
        self._failures = failures
        self._response = response
        self._timer = timer
        self.guard = guard
        self._idle = idle
        self.pauses = pauses
        self._is_sse = is_sse
        self._needs_terminator = needs_terminator
        self._proof = proof
        self._proven = proven
        self._over = over
        self._call: UpstreamCall | None = None
        self._stalled = False
        self._taken: int | None = None
        self.open = True
        # The chunks relayed last, in two parts: once the newer one has `_KEPT` bytes beyond its
        # first chunk, at the count of bytes `_turn`, it takes the place of the older one.
        self._older: list[bytes] = []
        self._latest: list[bytes] = []
        self._turn = _KEPT
        # The first bytes; empty as long as all of them are in those parts.
        self._opening = b""
        # The chunk in which the guard has found the end, relayed as far as it says.
        self._unrelayed = b""
        self.began = self._proven_at = 0.0
        self.reason: FailureReason | None = None
        self.sent = 0
        self.events = 0

    def usage(self, dialect: Dialect) -> Usage | None:
        """Return what the upstream has reported of the answer's usage so far."""
        latest = b"".join(self._older + self._latest)
        if self.guard.fault is not None:
            # The event by which a model gives up is withheld, and may have the last count.
            latest += self._unrelayed
        return reported_usage(dialect, self._opening or latest[:OPENING], latest)

    def begin(self, call: UpstreamCall, head: CommittedHead, held: bytes, now: float) -> None:
        """Write the head and the held bytes, and relay the rest of the response."""
        self._call = call
        call.handler = self
        self.began = now
        self._proven_at = now + self._proof
        self._timer.set_at(now + self._idle)
        relayed = b""
        if held:
            relayed = self.guard.pass_held(held)
            self._count(relayed)
        self._response.commit(head, relayed)
        self._response.produce(self)
        if self.guard.ended:
            self._unrelayed = held[-_MOST_KEPT:]
            self._end_early(b"")

    # -- the upstream's events

    def whole(self, head: ResponseHead, body: bytes) -> None:
        """See `ResponseHandler`; the head was delivered before commit."""

    def head(self, head: ResponseHead, body: bytes) -> None:
        """See `ResponseHandler`; the head was delivered before commit."""

    def body(self, data: bytes) -> None:  # noqa: C901  a call costs every event
        """Relay the body bytes that the guard passes: the hot path, once per chunk."""
        if not self.open:
            return
        try:
            guard = self.guard
            relayed = guard.feed(data)
            if guard.ended:
                self._count(relayed)
                self._unrelayed = data
                self._end_early(relayed)
                return
            if relayed:
                sent = self.sent = self.sent + len(relayed)
                if guard.single:  # the usual case
                    self.events += 1
                elif self._is_sse:
                    plain = CR not in relayed and relayed[0] != LF
                    self.events += (
                        relayed.count(b"\n\n") if plain else count_events(self._before(), relayed)
                    )
                if sent <= self._turn:
                    self._latest += (relayed,)  # without a call
                else:
                    self._opening = self._opening or self._beginning(relayed)
                    self._older, self._latest = self._latest, [relayed]
                    self._turn = sent + _KEPT
                self._response.write(relayed)
            if not self._stalled:
                # An attribute instead of a call: the timer is set, and this only postpones it.
                now, timer, pauses = self._seconds(), self._timer, self.pauses
                due = now + self._idle
                # The timer was set when the last bytes arrived, or the client read again.
                pause = due - timer.due
                timer.due = due
                pauses.count += 1
                if pause > PAUSE_STEP:
                    pauses.add_long(pause)
                if now >= self._proven_at:
                    self._proven_at = inf
                    self._proven()
        except Exception:  # noqa: BLE001  nothing is awaited here, so nothing was cancelled
            self._fail()

    def end(self, body: bytes) -> None:
        """End the client's response cleanly if the answer is whole, else as a broken one."""
        if not self.open:
            return
        try:
            guard = self.guard
            rest = guard.feed(body) if body else b""
            if not guard.ended:
                rest += guard.end()
            self._count(rest)
            if guard.done and self._is_sse:
                self._finish(rest, TERMINATED[guard.meaning])
            elif guard.ended:
                self._unrelayed = body
                self._end_early(rest)
            elif guard.whole and not self._needs_terminator:
                self._finish(rest, Outcome.COMPLETED)
            elif not self._is_sse:
                outcome, self.reason = NO_ANSWERS.get(guard.meaning, _WHOLE)
                self._finish(rest, outcome)
            else:
                if rest:
                    self._response.write(rest)
                self._break(unterminated(guard.meaning))
        except Exception:  # noqa: BLE001  see `body`
            self._fail()

    def broken(self, error: UpstreamError) -> None:
        """Break the client's response as the upstream's broke."""
        self._break(lost(error.reason))

    def _count(self, relayed: bytes) -> None:
        """Count bytes and events, as `body` does; ``relayed`` may be empty."""
        if not relayed:
            return
        self.sent += len(relayed)
        if self._is_sse:
            # Of megabytes that were held, the end: their rate is not that of the model.
            end = relayed[-_MOST_COUNTED:]
            plain = CR not in end and end[0] != LF
            self.events += end.count(b"\n\n") if plain else count_events(self._before(), end)
        # What was held before commit may be large, and must not be kept (contract §7).
        kept = relayed[-_MOST_KEPT:]
        if self.sent <= self._turn:
            self._latest += (kept,)
        else:
            self._opening = self._opening or self._beginning(relayed)
            self._older, self._latest = self._latest, [kept]
            self._turn = self.sent + _KEPT

    def _before(self) -> bytes:
        """Return the chunk relayed last."""
        return self._latest[-1] if self._latest else b""

    def _beginning(self, relayed: bytes) -> bytes:
        """Return the first bytes, before the first chunks may be dropped."""
        return b"".join((*self._latest, relayed))[:OPENING]

    # -- the client's events

    def pauseProducing(self) -> None:
        """Stop reading the upstream while the client does not read, to bound memory."""
        if self.open and self._call is not None:
            self._stalled = True
            self._taken = self._taken_bytes()
            self._guarded(self._call.pause)

    def resumeProducing(self) -> None:
        """Resume reading the upstream: the client reads again."""
        if self.open and self._call is not None:
            self._stalled = False
            self._guarded(self._call.resume)

    def stopProducing(self) -> None:
        """See `IPushProducer`; `client_gone` follows."""

    def client_gone(self) -> None:
        """Abort the upstream call after the client's disconnection: its tokens cost money."""
        if self.open:
            self.close()
            self._over(Outcome.CLIENT_GONE)

    def shut_down(self) -> None:
        """Break the response at the end of a shutdown's grace period."""
        self._break(SHUT_DOWN)

    def expired(self) -> None:
        """End the stream: the client has not read, or the upstream not sent, for too long."""
        if self._stalled:
            taken, before = self._taken_bytes(), self._taken
            if taken is not None and before is not None and taken > before:
                self._taken = taken
                self._timer.set_at(self._seconds() + self._idle)
                return
            self.close()
            self._response.abort()
            self._over(Outcome.CLIENT_STALLED)
        else:
            self._break(IDLE)

    def _taken_bytes(self) -> int | None:
        """Return the number of bytes that have reached the client, if it is known.

        It leaves out the framing of chunks, so only its growth says something.
        """
        unsent = self._response.unsent()
        return None if unsent is None else self.sent - unsent

    # -- ending

    def close(self, *, drain: bool = False) -> None:
        """Release the timer and the call; relay nothing more.

        ``drain``: the upstream has only its end left to send, so its connection may be kept.
        """
        if not self.open:  # the timer was returned, and may serve another response
            return
        self.open = False
        self._timer.rest()
        call, self._call = self._call, None
        if call is not None and call.transport is not None:
            if drain:
                call.drain()
            else:
                call.abort()

    def _end_early(self, rest: bytes) -> None:
        """End as the guard says, at a terminator or a fault; ``rest`` is still to be relayed."""
        guard = self.guard
        if guard.fault is None:
            self._finish(rest, TERMINATED[guard.meaning])
            return
        if rest:
            self._response.write(rest)
        self._break(fault_of(guard))

    def _finish(self, rest: bytes, outcome: Outcome) -> None:
        """End the client's response cleanly, whatever the upstream does from now on."""
        try:
            self.close(drain=self._is_sse and self.guard.done)
            self._response.finish(rest)
        except Exception:  # noqa: BLE001  see `body`
            self._fail()
        else:
            self._over(outcome)

    def _break(self, cause: Break) -> None:
        """End the client's response as a broken one, which must not look complete."""
        if not self.open:
            return
        try:
            self.close()
            outcome, reason = end_broken(
                self._response,
                self.guard,
                cause,
                self._relayed,
                self._is_sse,
                self._needs_terminator,
            )
        except Exception:  # noqa: BLE001  see `body`
            self._fail()
        else:
            self.reason = reason
            self._over(outcome)

    def _relayed(self) -> tuple[bytes, bytes]:
        """Return the first and the last bytes that were relayed, as far as they are kept."""
        latest = b"".join(self._older + self._latest)
        return self._opening or latest[:OPENING], latest

    def _guarded(self, change: Callable[[], None]) -> None:
        """Pause or resume, and restart the idle timer for the new phase."""
        try:
            self._timer.set_at(self._seconds() + self._idle)
            change()
        except Exception:  # noqa: BLE001  see `body`
            self._fail()

    def _fail(self) -> None:
        """Handle an exception: abort, because the answer must not look complete."""
        self._failures.report("A stream failed because of an exception in the router")
        for step in (self.close, self._response.abort):
            self._failures.run("A stream could not be cleaned up", step)
        self._over(Outcome.FAILED)
