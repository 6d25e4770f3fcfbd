"""The committed state: upstream bytes to the client, in a straight line.

From here on nothing can be taken back. A chunk costs one look of the guard and one write;
everything else (pauses, silence, loss of either side) comes as a rare event and ends the stream
exactly once.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from autopilot.http.timers import Deadline
from autopilot.relay.usage import answer_tokens
from autopilot.routing.router_error import RouterError
from autopilot.upstream.types import ResponseHead, UpstreamCall, UpstreamError

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from autopilot.relay.downstream import CommittedHead, Downstream
    from autopilot.relay.sse_guard import StreamGuard


class Outcome(StrEnum):
    """How an exchange ended, for its record."""

    COMPLETED = "completed"
    REFUSED = "refused"
    CLIENT_GONE = "client_gone"
    CLIENT_STALLED = "client_stalled"
    UPSTREAM_BROKEN = "upstream_broken"
    UPSTREAM_IDLE = "upstream_idle"
    UPSTREAM_ERROR = "upstream_error"
    UPSTREAM_SPLICED = "upstream_spliced"
    SHUT_DOWN = "shut_down"


@implementer(IPushProducer)
class Stream:
    """Relays one committed response.

    ``over`` is called once with the outcome when the response has ended on the client's side,
    whatever the reason; by then the call and the timer are released. ``idle`` is the longest
    silence of the upstream, and the longest time a client may take nothing, in seconds.
    """

    def __init__(
        self,
        clock: IReactorTime,
        downstream: Downstream,
        guard: StreamGuard,
        *,
        idle: float,
        announce_breaks: bool,
        over: Callable[[Outcome], None],
    ) -> None:
        self._downstream = downstream
        self._guard = guard
        self._idle = idle
        self._announce_breaks = announce_breaks
        self._over = over
        self._deadline = Deadline(clock, self._expired)
        self._call: UpstreamCall | None = None
        self._clock = clock
        self._began = 0.0
        self._stalled = False
        self._open = True
        self._last = self._last_but_one = b""
        self.sent = 0
        self.events = 0

    @property
    def span(self) -> float:
        """Seconds since the first relayed byte."""
        return self._clock.seconds() - self._began if self._began else 0.0

    @property
    def tokens(self) -> int:
        """How many tokens were relayed: as the upstream says, or else as many as events."""
        counted = answer_tokens(self._last_but_one + self._last)
        return self.events if counted is None else counted

    @property
    def terminated(self) -> bool:
        """Whether the stream carried its own terminator."""
        return self._guard.done

    def begin(self, call: UpstreamCall, head: CommittedHead, held: bytes) -> None:
        """Write the head and what was held of the body, and then relay whatever ``call`` brings."""
        self._call = call
        call.receiver = self
        self._began = self._clock.seconds()
        self._deadline.set(self._idle)
        relayed = self._guard.feed(held) if held else b""
        self._count(relayed)
        self._downstream.commit(head, relayed)
        self._downstream.produce(self)
        if self._guard.fault is not None:
            self._break_off(self._guard.fault)

    # -- the upstream's events

    def head(self, head: ResponseHead) -> None:
        """The head is what was committed; there is no second one."""

    def body(self, data: bytes) -> None:
        """Relay body bytes, as the guard lets them pass."""
        if not self._open:
            return
        relayed = self._guard.feed(data)
        if relayed:
            self._count(relayed)
            self._downstream.write(relayed)
        if self._guard.fault is not None:
            self._break_off(self._guard.fault)
        elif not self._stalled:
            self._deadline.set(self._idle)

    def _count(self, relayed: bytes) -> None:
        self.sent += len(relayed)
        if self._announce_breaks:  # only then it is a stream of events
            self.events += relayed.count(b"\n\n")
            self._last_but_one, self._last = self._last, relayed

    def end(self) -> None:
        """The response is complete: end the client's cleanly too, unless the guard objects."""
        if not self._open:
            return
        rest = self._guard.end()
        if rest:
            self.sent += len(rest)
            self._downstream.write(rest)
        if self._guard.fault is not None:
            self._break_off(self._guard.fault)
            return
        self._close()
        self._downstream.finish()
        self._over(Outcome.COMPLETED)

    def broken(self, broken: UpstreamError) -> None:
        """The response broke off."""
        self._break(Outcome.UPSTREAM_BROKEN, "the upstream connection was lost during the response")

    # -- the client's events

    def pauseProducing(self) -> None:
        """The client takes no more for now: let the upstream's socket fill, not our memory."""
        if self._open and self._call is not None:
            self._stalled = True
            self._call.pause()
            self._deadline.set(self._idle)

    def resumeProducing(self) -> None:
        """The client takes bytes again."""
        if self._open and self._call is not None:
            self._stalled = False
            self._deadline.set(self._idle)
            self._call.resume()

    def stopProducing(self) -> None:
        """The client's connection is closing; the exchange is told that separately."""

    def client_gone(self) -> None:
        """The client has left: stop the upstream at once, or its tokens are paid for in vain."""
        if self._open:
            self._close()
            self._over(Outcome.CLIENT_GONE)

    def shut_down(self) -> None:
        """The time for streams to finish has run out."""
        self._break(Outcome.SHUT_DOWN, "the router is shutting down")

    def _expired(self) -> None:
        if self._stalled:
            self._close()
            self._downstream.abort()
            self._over(Outcome.CLIENT_STALLED)
        else:
            self._break(Outcome.UPSTREAM_IDLE, "the upstream sent nothing for too long")

    def _break_off(self, fault: str) -> None:
        """End because of what the guard found."""
        spliced = self._guard.spliced
        self._break(Outcome.UPSTREAM_SPLICED if spliced else Outcome.UPSTREAM_ERROR, fault)

    def _break(self, outcome: Outcome, message: str) -> None:
        """End so that nobody takes the answer for whole: say why where that can be, then cut."""
        if not self._open:
            return
        self._close()
        if self._announce_breaks and not self._guard.said_done:
            event = self._downstream.error_event(
                RouterError(
                    502, "upstream_stream_interrupted", f"The answer is incomplete: {message}."
                )
            )
            self._downstream.write(event if self._guard.at_boundary else b"\n\n" + event)
        self._downstream.cut()
        self._over(outcome)

    def _close(self) -> None:
        self._open = False
        self._deadline.end()
        call, self._call = self._call, None
        if call is not None:
            call.abort()
