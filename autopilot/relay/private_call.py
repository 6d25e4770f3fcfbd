"""A call whose answer is sealed: what comes from the instance passes on opened, all else does not.

It stands between the connection and the handler of the answer, an attempt or a stream, which sees
the engine's own head and bytes as of a plain call. An error of the platform passes as it is, before
commit only. What cannot be opened breaks the call off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from autopilot.attestation.sealed_stream import StreamFault, StreamOpener
from autopilot.attestation.sealing import MAX_REPLY_BYTES, ReplyError, ResponseKey, open_reply
from autopilot.relay.body_kind import EVENT_STREAM
from autopilot.relay.private_head import opened_head, passed_head
from autopilot.routing.failure_reason import FailureReason
from autopilot.upstream.types import DISCARD, UpstreamCall, UpstreamError

if TYPE_CHECKING:
    from autopilot.http.response_parser import ResponseHead
    from autopilot.observability.log_rate_limit import FailureLog
    from autopilot.observability.private_counts import PrivateCounts
    from autopilot.upstream.types import ResponseHandler

OCTETS: Final = "application/octet-stream"
JSON: Final = "application/json"
LARGE: Final = 512 * 1024
"""Bytes above which the cipher takes longer than a turn of the reactor may: a thread's work."""

_OK: Final = 200
_FIRST_ERROR: Final = 400
_INVALID: Final = UpstreamError(FailureReason.REPLY_INVALID)
_CUT: Final = UpstreamError(FailureReason.CUT)
_TRUNCATED: Final = UpstreamError(FailureReason.NO_TERMINATOR)
_FAILED: Final = UpstreamError(FailureReason.REPLY_INVALID, internal=True)

Open = Callable[[bytes, ResponseKey, int], Deferred[bytes]]
"""Opens a large reply in a thread."""


class PrivateCall:
    """One sealed call. ``inner`` goes to the pool; ``outer`` is what attempt and stream see.

    ``held`` is called with the bytes of a plain reply that are kept until it is whole.
    """

    __slots__ = (
        "_counts",
        "_failures",
        "_first",
        "_head",
        "_held",
        "_key",
        "_limit",
        "_open_large",
        "_opener",
        "_opening",
        "_parts",
        "_passes",
        "_size",
        "_streams",
        "inner",
        "outer",
    )

    def __init__(
        self,
        payload: bytes,
        handler: ResponseHandler,
        key: ResponseKey,
        *,
        streams: bool,
        held: Callable[[int], None],
        open_large: Open,
        counts: PrivateCounts,
        failures: FailureLog,
        limit: int = MAX_REPLY_BYTES,
    ) -> None:
        self.inner = UpstreamCall(payload, self)
        self.outer = UpstreamCall(b"", handler, self)
        self._first = handler
        self._key = key
        self._streams = streams
        self._held = held
        self._open_large = open_large
        self._counts = counts
        self._failures = failures
        self._limit = limit
        self._opener: StreamOpener | None = None
        self._parts: list[bytes] | None = None
        self._size = 0
        self._head: ResponseHead | None = None
        self._opening: Deferred[bytes] | None = None
        self._passes = False  # the body of an error, and nothing else, unopened

    def __repr__(self) -> str:
        return f"PrivateCall(open={self.outer.transport is not None})"

    # -- the transport of the outer call

    def abort(self) -> None:
        """See `Transport`."""
        try:
            self._close()
        finally:
            self.inner.abort()

    def drain(self) -> None:
        """See `Transport`."""
        try:
            self._close()
        finally:
            self.inner.drain()

    def pause(self) -> None:
        """See `Transport`."""
        self.inner.pause()

    def resume(self) -> None:
        """See `Transport`."""
        self.inner.resume()

    # -- the events of the inner call

    def whole(self, head: ResponseHead, body: bytes) -> None:
        """See `ResponseHandler`."""
        try:
            if head.status >= _FIRST_ERROR:
                self._over().whole(passed_head(head), body)
            elif not self._is_sealed(head):
                self._refuse()
            elif self._streams:
                opener = self._opener = StreamOpener(self._key)
                opened = opener.feed(body)
                opener.end()
                if opener.fault is None:
                    self._over().whole(opened_head(head, EVENT_STREAM), opened)
                else:
                    self._fault(opener.fault)
            else:
                self._head, self._parts = head, []
                self._keep(body)
                self._open_reply()
        except Exception:  # noqa: BLE001  nothing is awaited here, so nothing was cancelled
            self._fail()

    def head(self, head: ResponseHead, body: bytes) -> None:
        """See `ResponseHandler`."""
        try:
            if head.status >= _FIRST_ERROR:
                self._passes = True
                self.outer.handler.head(passed_head(head), body)
            elif not self._is_sealed(head):
                self._refuse()
            elif self._streams:
                self._begin_stream(head, body)
            else:
                # As the platform sends no head of such a reply before it is complete.
                self._head, self._parts = head, []
                self._keep(body)
        except Exception:  # noqa: BLE001  see `whole`
            self._fail()

    def body(self, data: bytes) -> None:
        """See `ResponseHandler`: the hot path of a stream."""
        try:
            opener = self._opener
            if opener is not None:
                opened = opener.feed(data)
                if opener.fault is not None:
                    self._fault(opener.fault, opened)
                elif opener.ended:
                    self._end_stream(opened)
                elif opened:
                    self.outer.handler.body(opened)
            elif self._parts is not None:
                self._keep(data)
            elif self._passes:
                self.outer.handler.body(data)
        except Exception:  # noqa: BLE001  see `whole`
            self._fail()

    def end(self, body: bytes) -> None:
        """See `ResponseHandler`."""
        try:
            opener = self._opener
            if opener is not None:
                opened = opener.feed(body) if body else b""
                opener.end()
                if opener.fault is None:
                    self._over().end(opened)
                else:
                    self._fault(opener.fault, opened)
            elif self._parts is not None:
                self._keep(body)
                self._open_reply()
            elif self._passes:
                self._over().end(body)
        except Exception:  # noqa: BLE001  see `whole`
            self._fail()

    def broken(self, error: UpstreamError) -> None:
        """See `ResponseHandler`."""
        try:
            if self._parts is not None:  # its head had come, but has been withheld
                error = _CUT
            self._over().broken(error)
        except Exception:  # noqa: BLE001  see `whole`
            self._fail()

    # -- a stream

    def _begin_stream(self, head: ResponseHead, body: bytes) -> None:
        opener = self._opener = StreamOpener(self._key)
        opened = opener.feed(body) if body else b""
        if opener.fault is not None:
            self._fault(opener.fault)
        elif opener.ended:
            handler = self._over()
            self.inner.drain()
            handler.whole(opened_head(head, EVENT_STREAM), opened)
        else:
            self.outer.handler.head(opened_head(head, EVENT_STREAM), opened)

    def _end_stream(self, opened: bytes) -> None:
        """End behind the sealed terminator: nothing that follows it counts."""
        handler = self._over()
        self.inner.drain()
        handler.end(opened)

    def _fault(self, fault: StreamFault, opened: bytes = b"") -> None:
        """Break off at a fault; what was opened before it is the instance's, and passes.

        Before commit it does not: another instance is to answer whole.
        """
        if opened and self.outer.handler is not self._first:
            self.outer.handler.body(opened)
            if self.outer.transport is None:
                return
        self._counts.stream_fault(fault)
        self._break(_TRUNCATED if fault is StreamFault.TRUNCATED else _INVALID)

    # -- a plain reply

    def _keep(self, data: bytes) -> None:
        """Keep a part of a reply, unless it becomes too large."""
        if self._parts is None or not data:
            return
        self._size += len(data)
        if self._size > self._limit:
            self._refuse()
            return
        self._parts.append(data)
        self._held(len(data))

    def _open_reply(self) -> None:
        """Open the reply, which is complete, unless it was too large."""
        if self._parts is None or self.outer.transport is None:
            return
        blob, self._parts = b"".join(self._parts), None
        if len(blob) > LARGE:
            opening = self._opening = self._open_large(blob, self._key, self._limit)
            opening.addCallbacks(self._opened, self._unopened)
            return
        try:
            opened = open_reply(blob, self._key, self._limit)
        except ReplyError:
            self._refuse()
        else:
            self._reply(opened)

    def _opened(self, opened: bytes) -> None:
        self._opening = None
        try:
            self._reply(opened)
        except Exception:  # noqa: BLE001  see `whole`
            self._fail()

    def _unopened(self, failure: Failure) -> None:
        self._opening = None
        if failure.check(CancelledError):
            return
        try:
            failure.trap(ReplyError)
            self._refuse()
        except Exception:  # noqa: BLE001  see `whole`
            self._fail()

    def _reply(self, opened: bytes) -> None:
        assert self._head is not None
        self._over().whole(opened_head(self._head, JSON, len(opened)), opened)

    # -- the end

    def _is_sealed(self, head: ResponseHead) -> bool:
        """Return whether a head is that of a sealed answer: of the kind that was asked for."""
        kind = EVENT_STREAM if self._streams else OCTETS
        return head.status == _OK and head.content_type == kind and not head.coded

    def _refuse(self) -> None:
        self._break(_INVALID)

    def _break(self, error: UpstreamError) -> None:
        handler = self._over()
        self.inner.abort()
        handler.broken(error)

    def _over(self) -> ResponseHandler:
        """Release what the answer needed, and return the handler that learns of its end."""
        self.outer.transport = None
        self.outer.reused = self.inner.reused
        self._close()
        return self.outer.handler

    def _close(self) -> None:
        """Take nothing more, count what was not sealed, and cancel what is under way."""
        self.inner.handler = DISCARD
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
        self._parts, self._passes = None, False
        opener, self._opener = self._opener, None
        if opener is not None:
            for kind, times in opener.plain.items():
                self._counts.stream_fault(kind, times)

    def _fail(self) -> None:
        """Handle an exception: the answer must not look complete."""
        self._failures.report("A sealed answer failed because of an exception in the router")
        handler, self.outer.transport = self.outer.handler, None
        self._opener = self._parts = self._opening = None
        self._passes = False
        self.inner.handler = DISCARD
        self.inner.abort()
        handler.broken(_FAILED)
