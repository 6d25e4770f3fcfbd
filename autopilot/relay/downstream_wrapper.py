"""A client's side of an exchange around another one, for those that change only some of its calls.

The bridge over silence, the mask over a key and the filter of usage are three of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twisted.internet.interfaces import IPushProducer

    from autopilot.http.timers import Deadline
    from autopilot.relay.downstream import CommittedHead, Downstream
    from autopilot.routing.router_error import RouterError


class DownstreamWrapper:
    """Passes every call of `Downstream` on to ``_response``, which a subclass sets.

    It has no initializer, which each request would pay for.
    """

    __slots__ = ("_response",)

    _response: Downstream

    @property
    def committed(self) -> bool:
        """See `Downstream`."""
        return self._response.committed

    @property
    def chunks(self) -> bool:
        """See `Downstream`."""
        return self._response.chunks

    def timer(self, expired: Callable[[], None]) -> Deadline:
        """See `Downstream`."""
        return self._response.timer(expired)

    def whole(self, head: CommittedHead, body: bytes) -> None:
        """See `Downstream`."""
        self._response.whole(head, body)

    def commit(self, head: CommittedHead, body: bytes) -> None:
        """See `Downstream`."""
        self._response.commit(head, body)

    def write(self, data: bytes) -> None:
        """See `Downstream`."""
        self._response.write(data)

    def finish(self, data: bytes) -> None:
        """See `Downstream`."""
        self._response.finish(data)

    def cut(self) -> None:
        """See `Downstream`."""
        self._response.cut()

    def abort(self) -> None:
        """See `Downstream`."""
        self._response.abort()

    def refuse(self, error: RouterError) -> None:
        """See `Downstream`."""
        self._response.refuse(error)

    def announce(self, error: RouterError, opening: bytes, latest: bytes) -> None:
        """See `Downstream`."""
        self._response.announce(error, opening, latest)

    def produce(self, producer: IPushProducer) -> None:
        """See `Downstream`."""
        self._response.produce(producer)

    def unsent(self) -> int | None:
        """See `Downstream`."""
        return self._response.unsent()


class DownstreamFilter(DownstreamWrapper):
    """Passes on what a subclass lets through of a body, and at its end what was held back."""

    __slots__ = ()

    def commit(self, head: CommittedHead, body: bytes) -> None:
        """See `Downstream`."""
        self._response.commit(head, self._filter(body))

    def write(self, data: bytes) -> None:
        """See `Downstream`."""
        passed = self._filter(data)
        if passed:
            self._response.write(passed)

    def finish(self, data: bytes) -> None:
        """See `Downstream`."""
        self._response.finish(self._filter(data) + self._rest())

    def cut(self) -> None:
        """See `Downstream`."""
        self._write_rest()
        self._response.cut()

    def announce(self, error: RouterError, opening: bytes, latest: bytes) -> None:
        """See `Downstream`."""
        self._write_rest()
        self._response.announce(error, opening, latest)

    def _filter(self, data: bytes) -> bytes:
        """Return the bytes that may pass now."""
        raise NotImplementedError

    def _rest(self) -> bytes:
        """Return those of the bytes held back that may pass at the end, and hold none back."""
        raise NotImplementedError

    def _write_rest(self) -> None:
        if rest := self._rest():
            self._response.write(rest)
