"""The beginning of a stream before its answer, which bridges the silence until one is chosen.

A load balancer in front of the router may cut a connection on which nothing is sent for a time. A
stream may therefore begin with a head and comments (contract §6). That is not commit: other models
are tried as long as no answer is chosen. The status has been sent then, so that whatever else ends
the exchange is an event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from autopilot.http.error_bodies import (
    CLEAN_AFTER_ERROR,
    error_facts,
    failure_event,
    status_type,
)
from autopilot.relay.downstream_wrapper import DownstreamWrapper
from autopilot.relay.error_objects import error_text
from autopilot.request.json_scan import value_of
from autopilot.routing.router_error import RouterError

if TYPE_CHECKING:
    from autopilot.http.dialect import Dialect
    from autopilot.http.timers import Deadline
    from autopilot.relay.downstream import CommittedHead, Downstream

COMMENT: Final = b": keep-alive\n\n"
"""What clients of event streams ignore (HTML §9.2.6); it ends like an event."""

NO_STREAM = RouterError(
    502,
    "upstream_stream_interrupted",
    "The upstream's answer is not an event stream, as which this response had begun.",
)

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class BridgedResponse(DownstreamWrapper):
    """A client's side of a stream (see `Downstream`) that may begin before its answer.

    Each time ``deadline`` has expired the owner calls `begin` or `comment`. ``begun``: a head has
    been written. From then on an answer is relayed without its own, and everything else is an event
    and the end of the stream. The owner calls `close` in the end, as a client may just leave.
    """

    __slots__ = ("_committed", "_deadline", "_dialect", "_interval", "begun")

    def __init__(
        self, response: Downstream, dialect: Dialect, deadline: Deadline, interval: float
    ) -> None:
        self._response = response
        self._dialect = dialect
        self._deadline = deadline
        self._interval = interval
        self._committed = False
        self.begun = False
        deadline.set(interval)

    # -- the silence

    def begin(self, head: CommittedHead) -> None:
        """Write the head of the stream and the first comment."""
        self._response.commit(head, COMMENT)
        self.begun = True
        self._deadline.set(self._interval)

    def comment(self) -> None:
        """Write another comment."""
        self._response.write(COMMENT)
        self._deadline.set(self._interval)

    def close(self) -> None:
        """Write no more comments."""
        self._deadline.close()

    def relay(self) -> Downstream:
        """Return what an answer is written to: without a head to leave out, the client itself."""
        if self.begun:
            return self
        self.close()
        return self._response

    # -- the answer

    @property
    def committed(self) -> bool:
        """See `Downstream`."""
        return self._committed if self.begun else self._response.committed

    def whole(self, head: CommittedHead, body: bytes) -> None:
        """See `Downstream`; a stream that has begun ends with ``body``, which is an error event."""
        self.close()
        if self.begun:
            self._end(body)
        else:
            self._response.whole(head, body)

    def commit(self, head: CommittedHead, body: bytes) -> None:
        """See `Downstream`; a second head is not written."""
        self.close()
        if not self.begun:
            self._response.commit(head, body)
            return
        self._committed = True
        body = body.removeprefix(_BYTE_ORDER_MARK)  # it is none behind other bytes
        if body:
            self._response.write(body)

    def abort(self) -> None:
        """See `Downstream`."""
        self.close()
        self._response.abort()

    def refuse(self, error: RouterError) -> None:
        """See `Downstream`; a stream that has begun ends with the error as an event."""
        self.close()
        if self.begun:
            self._end(refusal_event(error, self._dialect))
        else:
            self._response.refuse(error)

    def _end(self, event: bytes) -> None:
        """End with an error event, and behind it as any stream that broke (contract §7)."""
        self._committed = True  # if one of these raises, the rest is cut off
        if self._dialect in CLEAN_AFTER_ERROR:
            self._response.finish(event)
        else:
            self._response.write(event)
            self._response.cut()


def refusal_event(error: RouterError, dialect: Dialect) -> bytes:
    """Return one of the router's own errors as the last event of a stream, with its status."""
    facts = error_facts(error, dialect)
    return failure_event({**facts, "status": error.status}, dialect)


def response_event(status: int, body: bytes, dialect: Dialect) -> bytes:
    """Return an upstream's response as the last event of a stream, with its status.

    Its ``error`` is kept as far as it has one. A body that was not read whole has none.
    """
    value = value_of(body)
    error = value.get("error") if isinstance(value, dict) else None
    facts = _facts(status, f"The upstream answered with status {status}.", dialect)
    told = {**facts, "message": error_text(body) or facts["message"]}
    if isinstance(error, dict):
        told |= error
    try:
        return failure_event({**told, "status": status}, dialect)
    except UnicodeEncodeError:  # half of a surrogate pair
        return failure_event({**facts, "status": status}, dialect)


def _facts(status: int, message: str, dialect: Dialect) -> dict[str, object]:
    kind = status_type(status, dialect)
    return {"type": kind, "message": message, "param": None, "code": None}
