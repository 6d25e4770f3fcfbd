"""From bytes to requests: llhttp, and the limits that hold while a request arrives.

It knows nothing of connections, time or answers. Its owner makes the request objects; what cannot
be accepted becomes a refusal, after which nothing more is read.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserUpgrade,
    HttpRequestParser,
)
from twisted.logger import Logger

from autopilot.relay.admission import too_large
from autopilot.routing.refusal import Refusal
from autopilot.web import errors, target
from autopilot.web.target import Head

if TYPE_CHECKING:
    from twisted.web.server import Request

    from autopilot.web.limits import Limits

Field = tuple[bytes, bytes]

_HEAD_TOO_LARGE = Refusal(
    431, "request_head_too_large", "The request head is larger than 64 KiB or has over 100 fields."
)
_UNKNOWN_METHOD = Refusal(501, "method_not_allowed", "The request method is not known.")
_NOT_HTTP = Refusal(400, "bad_request", "The request is not valid HTTP/1.1.")


class Arrived(NamedTuple):
    """A request that has arrived whole, and whether another one may follow it."""

    request: Request
    method: bytes
    target: bytes
    version: bytes
    persistent: bool


class Owner(Protocol):
    """Who reads requests."""

    def begun(self) -> None:
        """The first byte of a request arrived."""

    def admit(self, fields: list[Field], head: Head) -> Request:
        """A head arrived: the request its body goes to."""


class _RefusedError(Exception):
    """Stops the parser; the refusal itself is kept by the reader."""


class RequestReader:
    """Reads the requests of one connection, one after the other.

    ``arrived`` are the requests that are complete, for the owner to take; ``refusal`` is why
    nothing more is read; ``under_way`` says whether part of a request has been read.
    """

    _log = Logger()

    def __init__(self, limits: Limits, owner: Owner) -> None:
        self._limits = limits
        self._owner = owner
        self._parser = HttpRequestParser(self)
        self._request: Request | None = None
        self._declining = False
        self._head_read = 0
        self._body_read = 0
        self._method = self._target = self._version = b""
        self.fields: list[Field] = []
        self.arrived: deque[Arrived] = deque()
        self.refusal: Refusal | None = None
        self.under_way = False

    @property
    def in_body(self) -> bool:
        """Whether a head was admitted whose body is not complete yet."""
        return self._request is not None

    @property
    def path(self) -> bytes:
        """The path of the request read last, as far as it is known."""
        return self._target.partition(b"?")[0]

    def feed(self, data: bytes) -> None:
        """Read on, unless something was refused."""
        if self.refusal is not None:
            return
        in_head = self._request is None
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
            return
        except HttpParserInvalidMethodError:
            self._refuse(_UNKNOWN_METHOD)
        except HttpParserCallbackError:
            if self.refusal is None:
                self._log.failure("a request could not be read")
                self._refuse(errors.INTERNAL)
        except HttpParserError:
            self._refuse(_NOT_HTTP)
        if in_head and self._request is None and not self.arrived:
            self._head_read += len(data)
            if self._head_read > self._limits.head_bytes:
                self._refuse(_HEAD_TOO_LARGE)

    def _decline_upgrade(self, rest: bytes) -> None:
        """Go on in HTTP/1.1 with a client that asked for another protocol in passing.

        The parser has stopped at the end of the head, since it takes what follows for the other
        protocol. A new one, told of the same framing without the wish to upgrade, reads on.
        """
        framing = b"Content-Length: 0\r\n"
        for name, value in self.fields:
            if name.lower() in (b"content-length", b"transfer-encoding"):
                framing = b"%b: %b\r\n" % (name, value)
        self._parser = HttpRequestParser(self)
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % framing)
        self.feed(rest)

    def _refuse(self, refusal: Refusal) -> _RefusedError:
        if self.refusal is None:
            self.refusal = refusal
        return _RefusedError()

    # -- llhttp's callbacks

    def on_message_begin(self) -> None:
        """See `HttpRequestParser`."""
        if self._declining:
            return
        self._target, self.fields = b"", []
        self._head_read = self._body_read = 0
        self.under_way = True
        self._owner.begun()

    def on_url(self, url: bytes) -> None:
        """See `HttpRequestParser`."""
        if not self._declining:
            self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """See `HttpRequestParser`; trailers come this way too, and are dropped."""
        if self._request is None:
            self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        """See `HttpRequestParser`."""
        if self._declining:  # this is the head that `_decline_upgrade` made up
            self._declining = False
            return
        if len(self.fields) > self._limits.head_fields or self._head_size > self._limits.head_bytes:
            raise self._refuse(_HEAD_TOO_LARGE)
        self._method = self._parser.get_method()
        self._version = b"HTTP/" + self._parser.get_http_version().encode("ascii")
        head = target.check(
            self._method, self._target, self._version, self.fields, self._limits.body_bytes
        )
        if isinstance(head, Refusal):
            raise self._refuse(head)
        self._target = head.target
        self._declining = self._parser.should_upgrade()
        self._request = self._owner.admit(self.fields, head)

    @property
    def _head_size(self) -> int:
        """The size of the head as it is usually written."""
        line = len(self._parser.get_method()) + len(self._target) + len("  HTTP/1.1\r\n\r\n")
        return line + sum(len(name) + len(value) + len(": \r\n") for name, value in self.fields)

    def on_body(self, data: bytes) -> None:
        """See `HttpRequestParser`."""
        self._body_read += len(data)
        if self._body_read > self._limits.body_bytes:
            raise self._refuse(too_large(self._limits.body_bytes))
        assert self._request is not None
        self._request.handleContentChunk(data)

    def on_message_complete(self) -> None:
        """See `HttpRequestParser`."""
        if self._declining:  # so it seems to a parser that stops here
            return
        request, self._request = self._request, None
        assert request is not None
        self.under_way = False
        self.arrived.append(
            Arrived(request, self._method, self._target, self._version, self._persistent)
        )

    @property
    def _persistent(self) -> bool:
        """Whether the client may send another request.

        An HTTP/1.0 client never: it cannot read chunks, so only the end of the connection tells it
        where a response of unknown length ends. The fields are asked as well as the parser, which
        has not seen them when it took over from one that met a wish to upgrade.
        """
        closing = any(
            b"close" in value.lower()
            for name, value in self.fields
            if name.lower() == b"connection"
        )
        return self._version == b"HTTP/1.1" and self._parser.should_keep_alive() and not closing
