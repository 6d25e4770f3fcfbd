"""A client in memory: it records one response, and insists that it is written in a legal order."""

from __future__ import annotations

import json
from collections.abc import Callable

from twisted.internet.interfaces import IPushProducer, IReactorTime

from autopilot.http.timers import Deadline
from autopilot.relay.downstream import CommittedHead
from autopilot.routing.router_error import RouterError


class RecordingDownstream:
    """The client's side of one exchange; ``ended`` is the name of the call that ended it.

    ``left`` is what the kernel would say that it still holds.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._deadline = Deadline(clock, lambda: None)
        self.head: CommittedHead | None = None
        self.body = b""
        self.writes: list[bytes] = []
        self.refusal: RouterError | None = None
        self.announced = b"", b""
        self.producer: IPushProducer | None = None
        self.ended: str | None = None
        self.left: int | None = None
        self.modern = True

    @property
    def committed(self) -> bool:
        """See `Downstream`."""
        return self.head is not None or self.refusal is not None

    @property
    def chunks(self) -> bool:
        """See `Downstream`."""
        return self.modern

    def timer(self, expired: Callable[[], None]) -> Deadline:
        """See `Downstream`."""
        self._deadline.expired = expired
        return self._deadline

    def lost(self) -> None:
        """The client has left."""
        self._deadline.close()

    def whole(self, head: CommittedHead, body: bytes) -> None:
        """See `Downstream`."""
        self.commit(head, body)
        self.finish(b"")

    def commit(self, head: CommittedHead, body: bytes) -> None:
        """See `Downstream`."""
        assert self.head is None and self.ended is None
        self.head = head
        if body:
            self.write(body)

    def write(self, data: bytes) -> None:
        """See `Downstream`."""
        assert self.head is not None and self.ended is None and data
        self.writes.append(data)
        self.body += data

    def finish(self, data: bytes) -> None:
        """See `Downstream`."""
        if data:
            self.write(data)
        self._end("finish")

    def cut(self) -> None:
        """See `Downstream`."""
        self._end("cut")

    def abort(self) -> None:
        """See `Downstream`."""
        self._end("abort")

    def refuse(self, error: RouterError) -> None:
        """See `Downstream`."""
        assert self.head is None and self.ended is None
        self.refusal, self.ended = error, "refuse"
        self._deadline.close()

    def announce(self, error: RouterError, opening: bytes, latest: bytes) -> None:
        """See `Downstream`."""
        self.announced = opening, latest
        self.write(announcement(error))
        self.cut()

    def produce(self, producer: IPushProducer) -> None:
        """See `Downstream`."""
        assert self.head is not None and self.producer is None and self.ended is None
        self.producer = producer

    def unsent(self) -> int | None:
        """See `Downstream`."""
        return self.left

    def field(self, name: bytes) -> bytes | None:
        """The value of a response field, which stands at most once."""
        assert self.head is not None
        values = [value for key, value in self.head.fields if key.lower() == name]
        assert len(values) <= 1, values
        return values[0] if values else None

    @property
    def status(self) -> int | None:
        """The status the client sees, if it sees one."""
        if self.refusal is not None:
            return self.refusal.status
        return self.head.status if self.head is not None else None

    @property
    def code(self) -> str | None:
        """The code of the router's own error, if it gave one."""
        return self.refusal.code if self.refusal is not None else None

    def _end(self, how: str) -> None:
        assert self.head is not None and self.ended is None, (self.ended, how)
        self.ended = how
        self._deadline.close()


def announcement(error: RouterError) -> bytes:
    """Return the event by which an error is announced."""
    return b"data: %b\n\n" % json.dumps({"error": {"code": error.code}}).encode()


INTERRUPTED = announcement(RouterError(502, "upstream_stream_interrupted", ""))
EMPTY = announcement(RouterError(502, "upstream_empty", ""))
