"""One upstream attempt: its progress until commit, and its nearest deadline."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from autopilot.relay.exchange_states import Input

if TYPE_CHECKING:
    from autopilot.http.response_parser import ResponseHead
    from autopilot.relay.body_kind import BodyKind
    from autopilot.relay.commit import CommitPolicy
    from autopilot.relay.splice_guard import SpliceGuard
    from autopilot.routing.candidate import Candidate
    from autopilot.state.latency import Pauses
    from autopilot.upstream.types import UpstreamCall, UpstreamError


# Read through its enum, this would cost each request as much as a call.
_WHOLE = Input.WHOLE


class AttemptOwner(Protocol):
    """Receives the events of an attempt's response until commit: the exchange."""

    def take(self, given: Input, attempt: Attempt | None, *details: Any) -> None:
        """Run the step for an input, with the attempt that it belongs to."""


class Attempt:
    """One request to one candidate, and the handler of its response until commit.

    It passes each event on together with itself, so that a second attempt can run at the same
    time. ``last``: no further candidate remains. ``allowance``: seconds until the first part of a
    stream, or until the end of any other answer, after which the attempt gives way to another
    candidate; ``pause_allowance``: those between the bytes of a stream of which part has arrived.
    ``idle`` is the longest pause otherwise, ``pauses`` are those that occurred. ``replayed``: the
    request has been repeated on a new connection. ``kind`` is the kind of a 2xx's body. ``ended``
    and ``error`` record how the response ended while its bytes were still ``held``; ``charged`` of
    them are in the ledger. ``failed``: it led to another candidate, or would have if one had
    remained. ``settled``: it is an error that is relayed as soon as its body has been read.
    ``first_content``: seconds until the first part of a streamed answer, once it has arrived.
    ``guard``: the strict one, which reads held bytes. Times are clock times in seconds.
    """

    __slots__ = (
        "_owner",
        "allowance",
        "call",
        "candidate",
        "charged",
        "commit_policy",
        "ended",
        "error",
        "failed",
        "first_content",
        "guard",
        "head_at",
        "heard_at",
        "held",
        "held_bytes",
        "idle",
        "kind",
        "last",
        "pause_allowance",
        "pauses",
        "replayed",
        "response",
        "settled",
        "started",
    )

    def __init__(
        self,
        owner: AttemptOwner,
        candidate: Candidate,
        last: bool,
        started: float,
        allowance: float = inf,
    ) -> None:
        self._owner = owner
        self.candidate = candidate
        self.last = last
        self.started = started
        self.allowance = allowance
        self.replayed = False
        self.call: UpstreamCall | None = None
        self.response: ResponseHead | None = None
        self.head_at = self.heard_at = 0.0
        self.kind: BodyKind | None = None
        self.commit_policy: CommitPolicy | None = None
        self.held: list[bytes] = []
        self.held_bytes = self.charged = 0
        self.ended = self.failed = self.settled = False
        self.error: UpstreamError | None = None
        self.first_content: float | None = None
        self.guard: SpliceGuard | None = None
        self.pause_allowance = self.idle = inf
        self.pauses: Pauses | None = None

    # -- events of the response

    def whole(self, head: ResponseHead, body: bytes) -> None:
        """See `ResponseHandler`."""
        self._owner.take(_WHOLE, self, head, body)

    def head(self, head: ResponseHead, body: bytes) -> None:
        """See `ResponseHandler`."""
        self._owner.take(Input.HEAD, self, head, body)

    def body(self, data: bytes) -> None:
        """See `ResponseHandler`."""
        self._owner.take(Input.BODY, self, data)

    def end(self, body: bytes) -> None:
        """See `ResponseHandler`."""
        self._owner.take(Input.END, self, body)

    def broken(self, error: UpstreamError) -> None:
        """See `ResponseHandler`."""
        self._owner.take(Input.BROKEN, self, error)

    # -- progress

    def hold(self, data: bytes) -> None:
        """Keep body bytes until the attempt commits or fails."""
        self.held.append(data)
        self.held_bytes += len(data)

    def release_held(self) -> bytes:
        """Return the held bytes, to be relayed, and hold none."""
        held, self.held = self.held, []
        return held[0] if len(held) == 1 else b"".join(held)

    def drop_call(self) -> None:
        """Abort the upstream call, if it is still open."""
        call, self.call = self.call, None
        if call is not None:
            call.abort()

    @property
    def status(self) -> int | None:
        """The status of the response, if it has a head."""
        return None if self.response is None else self.response.status
