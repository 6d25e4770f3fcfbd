"""A second attempt beside an exchange's first, of which the first content wins (contract §6).

The exchange's state is that of its own attempt. The rival keeps what it receives until it has
content; then it takes the place of that attempt, and the exchange receives its events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from autopilot.relay.body_kind import CODED_OPENINGS, BodyKind, body_kind
from autopilot.relay.commit import CommitDecision, FirstContent
from autopilot.relay.exchange_states import Input

if TYPE_CHECKING:
    from collections.abc import Callable

    from autopilot.http.dialect import Dialect
    from autopilot.http.resource_ledger import Charge
    from autopilot.http.response_parser import ResponseHead
    from autopilot.http.timers import Deadline
    from autopilot.observability.records import DroppedCall
    from autopilot.relay.attempt import Attempt
    from autopilot.routing.candidate import Candidate
    from autopilot.upstream.types import UpstreamCall, UpstreamError


class RivalOwner(Protocol):
    """Receives the end of a race: the exchange."""

    def take(self, given: Input, attempt: Attempt | None, *details: Any) -> None:
        """Run the step for an input."""


class Rival:
    """A second attempt, and the handler of its response until it has content or is lost.

    Only an event stream can win: anything else is left to the attempts of the exchange. What it
    keeps until then is charged to the request. ``repeated``: the request has been sent once more,
    on a new connection. Times are clock times in seconds.
    """

    __slots__ = (
        "_charge",
        "_charged",
        "_owner",
        "_policy",
        "call",
        "candidate",
        "ended",
        "error",
        "held",
        "repeated",
        "response",
        "started",
    )

    def __init__(
        self,
        owner: RivalOwner,
        candidate: Candidate,
        dialect: Dialect,
        started: float,
        charge: Charge | None = None,
    ) -> None:
        self._owner = owner
        self._charge = charge
        self._charged = 0
        self._policy = FirstContent(dialect)
        self.candidate = candidate
        self.started = started
        self.repeated = False
        self.call: UpstreamCall | None = None
        self.response: ResponseHead | None = None
        self.ended = False
        self.error: UpstreamError | None = None
        self.held: list[bytes] = []

    def whole(self, head: ResponseHead, body: bytes) -> None:
        """See `ResponseHandler`."""
        self.response, self.ended = head, True
        self._hold(body)
        if self._may_win(head, body):
            self._judge(body, ends=True)
        else:
            self._lose()

    def head(self, head: ResponseHead, body: bytes) -> None:
        """See `ResponseHandler`."""
        self.response = head
        self._hold(body)
        if self._may_win(head, body):
            self._judge(body)
        else:
            self._lose()

    def body(self, data: bytes) -> None:
        """See `ResponseHandler`."""
        self._hold(data)
        self._judge(data)

    def end(self, body: bytes) -> None:
        """See `ResponseHandler`."""
        self._hold(body)
        self.ended = True
        self._judge(body, ends=True)

    def broken(self, error: UpstreamError) -> None:
        """See `ResponseHandler`."""
        self.error = error
        self._lose()

    @property
    def status(self) -> int | None:
        """The status of the response, if it has a head."""
        return None if self.response is None else self.response.status

    @property
    def opening(self) -> bytes:
        """The bytes of the body that arrived with the head."""
        return self.held[0] if self.held else b""

    def free(self) -> None:
        """Release the charge of what is kept, unless that of the whole request was released."""
        if self._charge is not None:
            self._charge.hold(-min(self._charged, self._charge.held_bytes))
            self._charged = 0

    def arrived(self) -> tuple[Input, tuple[Any, ...]] | None:
        """Return all that has arrived as one input of the exchange; None if that is nothing.

        One, as the first of several could be the commit, after which the exchange takes no other.
        """
        if self.error is not None:
            return Input.BROKEN, (self.error,)
        if self.response is None:
            return None
        given = Input.WHOLE if self.ended else Input.HEAD
        return given, (self.response, b"".join(self.held))

    def abort(self) -> None:
        """Close the connection at once, and keep nothing."""
        self.free()
        self.held.clear()
        call, self.call = self.call, None
        if call is not None:
            call.abort()

    def begin_again(self) -> None:
        """Forget all that has arrived, as the request is sent once more."""
        self.abort()
        self.repeated, self.ended = True, False
        self.response = self.error = None

    def _hold(self, data: bytes) -> None:
        self.held.append(data)
        if self._charge is not None:
            self._charged += len(data)
            self._charge.hold(len(data))

    def _may_win(self, head: ResponseHead, body: bytes) -> bool:
        if not 200 <= head.status < 300 or body.startswith(CODED_OPENINGS):
            return False
        return body_kind(head, stream=True) is BodyKind.STREAM

    def _judge(self, data: bytes, *, ends: bool = False) -> None:
        policy = self._policy
        decision = policy.feed(data) if data else CommitDecision.HOLD
        if decision is CommitDecision.HOLD and ends:
            decision = policy.end()
        if policy.answered:
            self._owner.take(Input.OVERTAKEN, None, self)
        elif decision is not CommitDecision.HOLD:
            self._lose()

    def _lose(self) -> None:
        self._owner.take(Input.RIVAL_LOST, None, self)


class Hedge:
    """The race of one exchange: when it begins, and its second attempt from then on.

    `close` it on every path. ``outcome`` is None until there was a second attempt. ``dropped`` is
    the one of the two attempts that was given up for the other; ``describe`` makes it of a second
    one.
    """

    __slots__ = ("_deadline", "_describe", "dropped", "outcome", "rival")

    def __init__(
        self, deadline: Deadline, due: float, describe: Callable[[Rival], DroppedCall]
    ) -> None:
        self._deadline = deadline
        self._describe = describe
        self.dropped: DroppedCall | None = None
        self.rival: Rival | None = None
        self.outcome: str | None = None
        deadline.set_at(due)

    @property
    def model(self) -> str | None:
        """The model of the second attempt while the race is on."""
        return None if self.rival is None else self.rival.candidate.model

    def begin(self, rival: Rival) -> None:
        """Race; the second attempt has lost unless it wins."""
        self.rival, self.outcome = rival, LOST

    def take_rival(self) -> Rival:
        """Return the second attempt, which is the exchange's only one from now on."""
        rival, self.rival, self.outcome = self.rival, None, WON
        assert rival is not None
        return rival

    def drop_rival(self) -> None:
        """End the second attempt: its connection is closed in this turn."""
        rival, self.rival = self.rival, None
        if rival is not None:
            try:
                self.dropped = self._describe(rival)
            finally:
                rival.abort()

    def close(self) -> None:
        """Begin no second attempt any more, and end one that has begun."""
        self._deadline.close()
        self.drop_rival()


WON, LOST = "won", "lost"
"""How a second attempt ended: it took the place of the first, or was dropped."""
