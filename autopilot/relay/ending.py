"""How an exchange ends: a response relayed, an error of the router's own, or nobody to answer.

Whatever the way, the record is left and the exchange concluded exactly once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from autopilot.relay.response_head import EVENT_STREAM, committed_head
from autopilot.relay.sse_guard import GuardLevel, stream_guard
from autopilot.relay.stream import Outcome, Stream
from autopilot.routing.selector import Mode

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from autopilot.relay.attempt import Attempt
    from autopilot.relay.dialect import Dialect
    from autopilot.relay.downstream import CommittedHead, Downstream
    from autopilot.relay.journal import Journal
    from autopilot.routing.router_error import RouterError
    from autopilot.upstream.types import ResponseHead


@dataclass(slots=True, eq=False)
class Ending:
    """The client's side of one exchange. ``idle``: seconds either side may keep still."""

    clock: IReactorTime
    downstream: Downstream
    journal: Journal
    mode: Mode
    dialect: Dialect
    request_id: str
    guard_level: GuardLevel
    idle: float
    concluded: Callable[[], None]
    _stream: Stream | None = field(default=None, init=False)
    _model: str = field(default="", init=False)

    def relay(self, attempt: Attempt, over: Callable[[Outcome], None]) -> None:
        """Commit to the response of ``attempt``; ``over`` hears when the stream has ended."""
        head = attempt.head
        assert head is not None and attempt.call is not None
        self._model = attempt.model
        self.journal.committed(attempt.model, head.status, self.clock.seconds())
        is_stream = head.content_type == EVENT_STREAM
        guarded = is_stream and self.guard_level is not GuardLevel.OFF
        stream = self._stream = Stream(
            self.clock,
            self.downstream,
            stream_guard(self.guard_level, is_stream=is_stream, dialect=self.dialect),
            idle=self.idle,
            announce_breaks=guarded,
            over=over,
        )
        held, attempt.held = attempt.held, []
        stream.begin(
            attempt.call,
            self._head(attempt.model, head, rechunk=guarded),
            held[0] if len(held) == 1 else b"".join(held),
        )
        if attempt.ended:
            stream.end()
        elif attempt.broken is not None:
            stream.broken(attempt.broken)

    def _head(self, model: str, head: ResponseHead, *, rechunk: bool) -> CommittedHead:
        return committed_head(
            head,
            request_id=self.request_id,
            selected=None if self.mode is Mode.DIRECT else model,
            attempts=self.journal.attempts,
            rechunk=rechunk,
        )

    def refuse(self, refusal: RouterError) -> None:
        """Answer with an error of the router's own."""
        self.journal.refused(refusal.status, self.clock.seconds())
        self.downstream.refuse(refusal)
        self.conclude(Outcome.REFUSED)

    def stream_client_gone(self) -> None:
        """The client left during the response."""
        assert self._stream is not None
        self._stream.client_gone()

    def stream_shut_down(self) -> None:
        """The response must end now."""
        assert self._stream is not None
        self._stream.shut_down()

    def conclude(self, outcome: Outcome) -> None:
        """Nothing more can happen: leave the record."""
        now, stream = self.clock.seconds(), self._stream
        sent, terminated = 0, True
        if stream is not None:
            sent, terminated = stream.sent, stream.terminated
            self.journal.streamed(self._model, stream.tokens, stream.span, now)
        self.journal.close(outcome, sent, terminated, now)
        self.concluded()
