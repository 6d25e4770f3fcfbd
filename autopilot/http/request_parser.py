"""Parser of HTTP/1.1 requests over llhttp, with limits on the size of their parts.

It has no access to connections, time or responses. It turns a request that cannot be accepted into
an error and parses nothing after it (RFC 9112 §11.2: what follows an error could be smuggled).
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from io import BytesIO
from typing import TYPE_CHECKING

from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserUpgrade,
    HttpRequestParser,
)
from msgspec import Struct
from twisted.logger import Logger

from autopilot.http import error_bodies, request_checks
from autopilot.http.error_bodies import too_large
from autopilot.http.head_gate import HeadGate
from autopilot.http.headers import Field, RequestHeaders, read_request_headers
from autopilot.http.request_line import is_http, last_method, method_fault
from autopilot.http.resource_ledger import Admission, Charge, ResourceLedger
from autopilot.routing.router_error import RouterError

if TYPE_CHECKING:
    from autopilot.http.limits import Limits

_HEAD_TOO_LARGE = RouterError(
    431, "request_head_too_large", "The request head is larger than 64 KiB or has over 100 fields."
)
_NOT_HTTP = RouterError(400, "bad_request", "The request is not valid HTTP/1.1.")
_NO_HEADERS = RequestHeaders((), {}, b"")
_SMALL_BODY = 65536
"""Bytes of a body that is discarded rather than the connection closed."""
_HTTP_1_1, _LINE_END = b"HTTP/1.1", b" HTTP/1.1\r\n"
_VERSIONS = {"1.1": _HTTP_1_1, "1.0": b"HTTP/1.0"}


class Phase(Enum):
    """The part of a message that the parser expects next."""

    IDLE = "a request"
    HEAD = "the rest of a head"
    BODY = "the rest of a body"


# Looking a member up through its enum costs more than all else in a callback.
_IDLE, _HEAD, _BODY = Phase.IDLE, Phase.HEAD, Phase.BODY


class ArrivedRequest(Struct, frozen=True, gc=False):
    """A complete request, and whether the connection persists after it (RFC 9112 §9.3).

    If nothing reads its body, a request is complete with its head, and ``body`` is empty. Who
    handles the request releases its ``charge``, which one for the relay or with a body has.
    """

    method: bytes
    target: bytes
    path: bytes
    query: bytes
    version: bytes
    headers: RequestHeaders
    body: bytes
    persistent: bool
    charge: Charge | None = None

    def __repr__(self) -> str:
        return f"ArrivedRequest({self.method!r}, persistent={self.persistent})"


class _RejectedError(Exception):
    """Stops llhttp; the error for the client is kept by the parser."""


class RequestParser:
    """Parses the requests of one connection in sequence.

    The owner takes complete requests from ``arrived``. ``error`` is set when a request was
    rejected; parsing then stops. ``continue_expected``: the client waits for a 100 (Continue)
    before it sends the body of the current request. ``body_read``: the bytes of that body so far.
    ``discarding``: the body is that of a request that has arrived without it. ``limits`` may be
    replaced between two requests.
    """

    _log = Logger()

    def __init__(
        self,
        limits: Limits,
        gate: HeadGate | None = None,
        admission: Admission | None = None,
    ) -> None:
        """Without a ``gate`` each request is admitted, and arrives with its body."""
        self.limits = limits
        self._gate = HeadGate(awaits_bodies=True) if gate is None else gate
        self._admission = Admission(ResourceLedger(), "") if admission is None else admission
        self._parser = HttpRequestParser(self)
        self._declining = False
        self._read = b""
        self._fresh = True
        self._begun = 0
        self._reading = 0
        self._head_read = 0
        self._head_at_most = 0
        self.body_read = self._body_length = self._framing_read = 0
        self._body: bytes | BytesIO = b""
        self._method = self._target = self._path = self._query = self._version = b""
        self._headers = _NO_HEADERS
        self.fields: list[Field] = []
        self.arrived: deque[ArrivedRequest] = deque()
        self.error: RouterError | None = None
        self.phase = _IDLE
        self.continue_expected = self.discarding = self._last = False

    @property
    def path(self) -> bytes:
        """The path of the latest request, as far as it has arrived."""
        return self._target.partition(b"?")[0]

    @property
    def body_left(self) -> int:
        """The bytes of the body that are still to come; 0 if its head does not say how many."""
        return max(0, self._body_length - self.body_read) if self.phase is _BODY else 0

    def feed(self, data: bytes) -> None:
        """Parse more bytes, unless an earlier request was rejected."""
        while self.error is None:
            in_head, body_read = self.phase is not _BODY, self.body_read
            if self.phase is not _HEAD:
                self._read, self._begun, self._fresh = data, 0, in_head
            elif not self.fields:
                self._read += data
            self._reading = size = len(data)
            self._head_at_most += size
            try:
                self._parser.feed_data(data)
            except HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                self._decline_upgrade()
                continue
            except HttpParserError as error:
                self._stop(error)
            if in_head and self.phase is not _BODY and not self.arrived:
                self._head_read += size
                if self._head_read > self.limits.head_bytes:
                    self._reject(_HEAD_TOO_LARGE)
            elif self.phase is _BODY:
                self._count_framing(0 if self.body_read > body_read else size)
                self._charge_body()
            if self.phase is not _HEAD:
                self._read = b""
            return

    def _stop(self, error: HttpParserError) -> None:
        """Handle an exception of llhttp, unless one of its callbacks has rejected the request."""
        if isinstance(error, HttpParserInvalidMethodError):
            self._judge_method()
        elif not isinstance(error, HttpParserCallbackError):
            self._reject(_NOT_HTTP)
        elif self.error is None:
            self._log.failure("The request parser failed")
            self._reject(error_bodies.INTERNAL)

    def _judge_method(self) -> None:
        """Reject the method that stopped llhttp, once it is complete.

        Until then llhttp stops at each further read, and the deadline of the head applies.
        """
        read = self._read
        if self._begun > 1 or not self._fresh:
            read = last_method(read) if self._fresh else b""
            if not read:  # behind a body from an earlier read, the place is not known
                self._reject(request_checks.UNKNOWN_METHOD)
                return
        error = method_fault(read, _NOT_HTTP)
        if error is not None:
            self._reject(error)

    def _count_framing(self, read: int) -> None:
        """Bound the bytes between body bytes: chunk extensions and trailers (RFC 9112 §7.1).

        llhttp accepts them without a limit. ``read`` is 0 if the latest read had body bytes.
        """
        self._framing_read = self._framing_read + read if read else 0
        if self._framing_read > self.limits.head_bytes:
            self._reject(_NOT_HTTP)

    def _charge_body(self) -> None:
        """Charge what has arrived of a body, and reject the request if that does not fit."""
        if self.discarding or not self.body_read:
            return
        if (error := self._admission.grow(self.body_read)) is not None:
            self._reject(error)

    def drop(self) -> None:
        """Drop every request that has arrived, in whole or in part; none will be handled."""
        self._admission.drop()
        self._body = b""
        while self.arrived:
            charge = self.arrived.popleft().charge
            if charge is not None:
                charge.release()

    def _decline_upgrade(self) -> None:
        """Continue in HTTP/1.1 after a request with an ``Upgrade`` field.

        A server may ignore the field (RFC 9110 §7.8), but llhttp stops at the end of the head and
        leaves the rest to the other protocol. A new parser receives a made-up head with the same
        framing and no ``Upgrade``; the rest follows.
        """
        framing = b"Content-Length: 0\r\n"
        for name in (b"content-length", b"transfer-encoding"):
            for value in self._headers.named.get(name, ()):
                framing = b"%b: %b\r\n" % (name, value)
        self._parser = HttpRequestParser(self)
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % framing)

    def _reject(self, error: RouterError) -> _RejectedError:
        if self.error is None:
            self.error = error
            self._admission.drop()
            self._body = b""
        return _RejectedError()

    # -- llhttp's callbacks

    def on_message_begin(self) -> None:
        """See `HttpRequestParser`."""
        if self._declining:
            return
        self._begun += 1
        self._target, self.fields, self._body = b"", [], b""
        self._head_read = self.body_read = self._framing_read = 0
        self._head_at_most = self._reading
        self.phase = _HEAD

    def on_url(self, url: bytes) -> None:
        """See `HttpRequestParser`."""
        if not self._declining:
            self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """See `HttpRequestParser`; called for trailers too, which are dropped."""
        if self.phase is _HEAD:
            self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        """See `HttpRequestParser`."""
        if self._declining:  # the artificial head of `_decline_upgrade`
            self._declining = False
            return
        limits, parser = self.limits, self._parser
        # `_head_at_most` also counts bytes behind the head in the same read. Only if that bound is
        # exceeded is the exact size worth its sum over all fields.
        if len(self.fields) > limits.head_fields or (
            self._head_at_most > limits.head_bytes and self._head_size > limits.head_bytes
        ):
            raise self._reject(_HEAD_TOO_LARGE)
        method = self._method = parser.get_method()
        first = self._fresh and self._begun == 1
        # The usual end of a request line, which stands nowhere before it: llhttp formats a text for
        # its version, and `is_http` is a call.
        end = len(method) + 1 + len(self._target)
        if first and self._read[end : end + len(_LINE_END)] == _LINE_END:
            self._version = _HTTP_1_1
        else:
            if not is_http(self._read, method, self._target, first=first):
                raise self._reject(_NOT_HTTP)
            version = parser.get_http_version()
            self._version = _VERSIONS.get(version) or b"HTTP/" + version.encode("ascii")
        self._headers = headers = read_request_headers(self.fields)
        head = request_checks.check(
            self._method,
            self._target,
            self._version,
            headers.named,
            limits.body_bytes,
            self._gate,
            self._admission,
        )
        if isinstance(head, RouterError):
            raise self._reject(head)
        self._target, self._path, self._query = head.target, head.path, head.query
        self.continue_expected = head.continue_expected
        self._body_length = head.length or 0
        self.phase = _BODY
        if not head.needs_body:
            self._arrive_without_body(head)
        self._declining = self._parser.should_upgrade()

    def _arrive_without_body(self, head: request_checks.Head) -> None:
        """Hand over a request at its head, and discard its body.

        The connection persists only if the body is small and known to follow: a client that expects
        a 100 (Continue) may leave it out (RFC 9110 §10.1.1). A chunked body may prove too large.
        """
        self._last = head.continue_expected or (head.length or 0) > _SMALL_BODY
        self.on_message_complete()
        self.phase, self.discarding, self.continue_expected = _BODY, True, False

    @property
    def _head_size(self) -> int:
        """The size of the head in bytes, in the usual form of one space after each colon."""
        line = len(self._parser.get_method()) + len(self._target) + len("  HTTP/1.1\r\n\r\n")
        return line + sum(len(name) + len(value) + len(": \r\n") for name, value in self.fields)

    def on_body(self, data: bytes) -> None:
        """See `HttpRequestParser`."""
        self.body_read += len(data)
        if self.discarding:
            if self.body_read > _SMALL_BODY:
                raise self._reject(too_large(_SMALL_BODY))
            return
        if self.body_read > self.limits.body_bytes:
            raise self._reject(too_large(self.limits.body_bytes))
        body = self._body
        if not body:
            self._body = data
        elif isinstance(body, bytes):
            # The buffer grows by an eighth at a time, and its value is not a copy. A list of pieces
            # would take twenty times the bytes of chunks of two.
            self._body = joined = BytesIO()
            joined.write(body)
            joined.write(data)
        else:
            body.write(data)

    def on_message_complete(self) -> None:
        """See `HttpRequestParser`."""
        if self._declining:  # llhttp stops at an upgrade as if the message ended there
            return
        self.phase = _IDLE
        if self.discarding:
            self.discarding = False
            return
        admission, body = self._admission, self._body
        charge, read = admission.charge, self.body_read
        if read and (charge is None or charge.held_bytes < read):
            if (error := admission.grow(read)) is not None:
                raise self._reject(error)
            charge = admission.charge
        self._body, admission.charge = b"", None
        # Close after every HTTP/1.0 request, also with `keep-alive`: such a client cannot read
        # chunks, so only the end of the connection ends a response of unknown length (RFC 9112
        # §6.3).
        persistent = (
            self._version == _HTTP_1_1 and self._parser.should_keep_alive() and not self._last
        )
        # The parser that replaced another in `_decline_upgrade` has not seen the Connection fields.
        named = self._headers.named
        if b"connection" in named:
            for value in named[b"connection"]:
                persistent = persistent and b"close" not in value.lower()
        self.arrived.append(
            ArrivedRequest(
                self._method,
                self._target,
                self._path,
                self._query,
                self._version,
                self._headers,
                body if isinstance(body, bytes) else body.getvalue(),
                persistent,
                charge,
            )
        )
