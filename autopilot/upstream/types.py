"""One request on its way upstream: its handle, what can come back, and who is told.

Values and shapes only. What carries a call (a connection, or the opening of one) and what becomes
of its response are both somebody else's business.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol


class ResponseHead(NamedTuple):
    """A final response head, its fields in wire order and spelling.

    ``length`` is the declared body length in bytes, ``None`` when the body is chunked or ends with
    the connection. ``content_type`` is lower case and without parameters.
    """

    status: int
    reason: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    content_type: str
    length: int | None

    def __repr__(self) -> str:
        return f"ResponseHead({self.status}, {self.content_type!r}, length={self.length})"

    def field(self, name: bytes) -> str | None:
        """The first value of the field with this lower-case name."""
        for key, value in self.fields:
            if key.lower() == name:
                return value.decode("latin-1")
        return None


class UpstreamError(NamedTuple):
    """A call that ended without a complete response; ``reason`` is from the verdict's vocabulary.

    ``stale`` marks a reused connection that closed before any byte of the response: the server had
    most likely closed it while it lay idle, so the request may safely be sent once more (RFC 9112,
    section 9.3.1).
    """

    reason: str
    stale: bool = False


class ResponseHandler(Protocol):
    """Whoever waits for a response. After ``end`` or ``broken`` nothing more is called."""

    def head(self, head: ResponseHead) -> None:
        """The final response head has arrived."""

    def body(self, data: bytes) -> None:
        """Body bytes have arrived, as many as one read of the socket brought; never none."""

    def end(self) -> None:
        """The response is complete."""

    def broken(self, broken: UpstreamError) -> None:
        """No complete response will come."""


class Transport(Protocol):
    """What a call rests on while it is open: a connection, or the opening of one."""

    def abort(self) -> None:
        """Close at once and report nothing."""

    def pause(self) -> None:
        """Stop reading from the upstream."""

    def resume(self) -> None:
        """Read again."""


class UpstreamCall:
    """One request on its way upstream, and the handle to stop it.

    ``receiver`` may be replaced while the call is open; that is how a committed response leaves the
    state machine behind.
    """

    __slots__ = ("carrier", "payload", "receiver")

    def __init__(self, payload: bytes, receiver: ResponseHandler) -> None:
        self.payload = payload
        self.receiver: ResponseHandler = receiver
        self.carrier: Transport | None = None

    def abort(self) -> None:
        """Drop the call and its connection at once; the receiver hears nothing more.

        Harmless when the call is over.
        """
        carrier, self.carrier = self.carrier, None
        if carrier is not None:
            carrier.abort()

    def pause(self) -> None:
        """Stop reading the response until :meth:`resume`."""
        if self.carrier is not None:
            self.carrier.pause()

    def resume(self) -> None:
        """Read the response again."""
        if self.carrier is not None:
            self.carrier.resume()
