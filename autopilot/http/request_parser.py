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
from autopilot.http.headers import Field, RequestHeaders, read_request_headers
from autopilot.http.key_gate import KeyGate
from autopilot.routing.router_error import RouterError

if TYPE_CHECKING:
    from autopilot.http.limits import Limits

_HEAD_TOO_LARGE = RouterError(
    431, "request_head_too_large", "The request head is larger than 64 KiB or has over 100 fields."
)
_UNKNOWN_METHOD = RouterError(501, "method_not_allowed", "The request method is not known.")
_NOT_HTTP = RouterError(400, "bad_request", "The request is not valid HTTP/1.1.")
_NO_HEADERS = RequestHeaders((), {}, b"")
_VERSIONS = {"1.1": b"HTTP/1.1", "1.0": b"HTTP/1.0"}


class Phase(Enum):
    """The part of a message that the parser expects next."""

    IDLE = "a request"
    HEAD = "the rest of a head"
    BODY = "the rest of a body"


# Looking a member up through its enum costs more than all else in a callback.
_IDLE, _HEAD, _BODY = Phase.IDLE, Phase.HEAD, Phase.BODY


class ArrivedRequest(Struct, frozen=True, gc=False):
    """A complete request, and whether the connection persists after it (RFC 9112 §9.3)."""

    method: bytes
    target: bytes
    path: bytes
    query: bytes
    version: bytes
    headers: RequestHeaders
    body: bytes
    persistent: bool

    def __repr__(self) -> str:
        return f"ArrivedRequest({self.method!r}, persistent={self.persistent})"


class _RejectedError(Exception):
    """Stops llhttp; the error for the client is kept by the parser."""


class RequestParser:
    """Parses the requests of one connection in sequence.

    The owner takes complete requests from ``arrived``. ``error`` is set when a request was
    rejected; parsing then stops. ``continue_expected``: the client waits for a 100 (Continue)
    before it sends the body of the current request. ``body_read``: the bytes of that body so far.
    ``limits`` may be replaced between two requests.
    """

    _log = Logger()

    def __init__(self, limits: Limits, gate: KeyGate | None = None) -> None:
        """Without a ``gate`` no request needs a key."""
        self.limits = limits
        self._gate = KeyGate() if gate is None else gate
        self._parser = HttpRequestParser(self)
        self._declining = False
        self._reading = 0
        self._head_read = 0
        self._head_at_most = 0
        self.body_read = self._framing_read = 0
        self._body: bytes | BytesIO = b""
        self._method = self._target = self._version = b""
        self._headers = _NO_HEADERS
        self.fields: list[Field] = []
        self.arrived: deque[ArrivedRequest] = deque()
        self.error: RouterError | None = None
        self.phase = _IDLE
        self.continue_expected = False

    @property
    def path(self) -> bytes:
        """The path of the latest request, as far as it has arrived."""
        return self._target.partition(b"?")[0]

    def feed(self, data: bytes) -> None:
        """Parse more bytes, unless an earlier request was rejected."""
        while self.error is None:
            in_head, body_read = self.phase is not _BODY, self.body_read
            self._reading = len(data)
            self._head_at_most += len(data)
            try:
                self._parser.feed_data(data)
            except HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                self._decline_upgrade()
                continue
            except HttpParserInvalidMethodError:
                self._reject(_UNKNOWN_METHOD)
            except HttpParserCallbackError:
                if self.error is None:
                    self._log.failure("The request parser failed")
                    self._reject(error_bodies.INTERNAL)
            except HttpParserError:
                self._reject(_NOT_HTTP)
            if in_head and self.phase is not _BODY and not self.arrived:
                self._head_read += len(data)
                if self._head_read > self.limits.head_bytes:
                    self._reject(_HEAD_TOO_LARGE)
            elif self.phase is _BODY:
                self._count_framing(0 if self.body_read > body_read else len(data))
            return

    def _count_framing(self, read: int) -> None:
        """Bound the bytes between body bytes: chunk extensions and trailers (RFC 9112 §7.1).

        llhttp accepts them without a limit. ``read`` is 0 if the latest read had body bytes.
        """
        self._framing_read = self._framing_read + read if read else 0
        if self._framing_read > self.limits.head_bytes:
            self._reject(_NOT_HTTP)

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
        return _RejectedError()

    # -- llhttp's callbacks

    def on_message_begin(self) -> None:
        """See `HttpRequestParser`."""
        if self._declining:
            return
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
        self._method = parser.get_method()
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
        )
        if isinstance(head, RouterError):
            raise self._reject(head)
        self._target = head.target
        self._declining = self._parser.should_upgrade()
        self.continue_expected = head.continue_expected
        self.phase = _BODY

    @property
    def _head_size(self) -> int:
        """The size of the head in bytes, in the usual form of one space after each colon."""
        line = len(self._parser.get_method()) + len(self._target) + len("  HTTP/1.1\r\n\r\n")
        return line + sum(len(name) + len(value) + len(": \r\n") for name, value in self.fields)

    def on_body(self, data: bytes) -> None:
        """See `HttpRequestParser`."""
        self.body_read += len(data)
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
        body, self._body = self._body, b""
        path, _, query = self._target.partition(b"?")
        # Close after every HTTP/1.0 request, also with `keep-alive`: such a client cannot read
        # chunks, so only the end of the connection ends a response of unknown length (RFC 9112
        # §6.3).
        persistent = self._version == b"HTTP/1.1" and self._parser.should_keep_alive()
        # The parser that replaced another in `_decline_upgrade` has not seen the Connection fields.
        for value in self._headers.named.get(b"connection", ()):
            persistent = persistent and b"close" not in value.lower()
        self.arrived.append(
            ArrivedRequest(
                self._method,
                self._target,
                path,
                query,
                self._version,
                self._headers,
                body if isinstance(body, bytes) else body.getvalue(),
                persistent,
            )
        )
