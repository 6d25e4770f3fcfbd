"""The mask over the operator's key in a response, should an upstream repeat it.

An upstream that echoes what it was sent, in an error page above all, must not show a client the key
with which the router has called it. Each byte of the key becomes an asterisk, so the length stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twisted.internet.interfaces import IPushProducer

    from autopilot.http.timers import Deadline
    from autopilot.relay.downstream import CommittedHead, Downstream
    from autopilot.routing.router_error import RouterError


class KeyMask:
    """A client's side of a response (see `Downstream`) that masks a key.

    The end of a chunk that may be the beginning of the key is held back until what follows shows
    whether it is. No event ends so: a key has no line ends.
    """

    __slots__ = ("_held", "_response", "_secret")

    def __init__(self, response: Downstream, secret: bytes) -> None:
        self._response = response
        self._secret = secret
        self._held = b""

    # -- what a stream writes

    def commit(self, head: CommittedHead, body: bytes) -> None:
        """See `Downstream`."""
        self._response.commit(head, self._masked(body))

    def write(self, data: bytes) -> None:
        """See `Downstream`."""
        passed = self._masked(data)
        if passed:
            self._response.write(passed)

    def finish(self, data: bytes) -> None:
        """See `Downstream`."""
        self._response.finish(self._masked(data) + self._rest())

    def cut(self) -> None:
        """See `Downstream`."""
        self._write_rest()
        self._response.cut()

    def announce(self, error: RouterError, opening: bytes, latest: bytes) -> None:
        """See `Downstream`."""
        self._write_rest()
        self._response.announce(error, opening, latest)

    # -- what only passes through

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
        self._response.whole(head, self._masked(body) + self._rest())

    def abort(self) -> None:
        """See `Downstream`."""
        self._response.abort()

    def refuse(self, error: RouterError) -> None:
        """See `Downstream`."""
        self._response.refuse(error)

    def produce(self, producer: IPushProducer) -> None:
        """See `Downstream`."""
        self._response.produce(producer)

    def unsent(self) -> int | None:
        """See `Downstream`."""
        return self._response.unsent()

    # -- the key

    def _masked(self, data: bytes) -> bytes:
        """Return the bytes that may pass now."""
        secret = self._secret
        data = self._held + data
        if secret in data:
            data = data.replace(secret, b"*" * len(secret))
        kept = _beginning_at_end(data, secret)
        self._held = data[len(data) - kept :]
        return data[: len(data) - kept]

    def _rest(self) -> bytes:
        """Return what is held back at the end of the response, which is less than the key."""
        rest, self._held = self._held, b""
        return rest

    def _write_rest(self) -> None:
        if rest := self._rest():
            self._response.write(rest)


def _beginning_at_end(data: bytes, secret: bytes) -> int:
    """Return the length of the longest end of the data that is a beginning of the key."""
    at = data.find(secret[:1], max(0, len(data) - len(secret) + 1))
    while at >= 0:
        if secret.startswith(data[at:]):
            return len(data) - at
        at = data.find(secret[:1], at + 1)
    return 0
