"""The mask over the operator's key in a response, should an upstream repeat it.

An upstream that echoes what it was sent, in an error page above all, must not show a client the key
with which the router has called it. Each byte of the key becomes an asterisk, so the length stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autopilot.relay.downstream_wrapper import DownstreamFilter

if TYPE_CHECKING:
    from autopilot.relay.downstream import CommittedHead, Downstream


class KeyMask(DownstreamFilter):
    """A client's side of a response (see `Downstream`) that masks a key.

    The end of a chunk that may be the beginning of the key is held back until what follows shows
    whether it is. No event ends so: a key has no line ends.
    """

    __slots__ = ("_held", "_secret")

    def __init__(self, response: Downstream, secret: bytes) -> None:
        self._response = response
        self._secret = secret
        self._held = b""

    def whole(self, head: CommittedHead, body: bytes) -> None:
        """See `Downstream`."""
        self._response.whole(head, self._filter(body) + self._rest())

    def _filter(self, data: bytes) -> bytes:
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


def _beginning_at_end(data: bytes, secret: bytes) -> int:
    """Return the length of the longest end of the data that is a beginning of the key."""
    at = data.find(secret[:1], max(0, len(data) - len(secret) + 1))
    while at >= 0:
        if secret.startswith(data[at:]):
            return len(data) - at
        at = data.find(secret[:1], at + 1)
    return 0
