"""From bytes to requests: llhttp, and the limits that hold while a request arrives.

It knows nothing of connections, time or answers. What cannot be accepted becomes a refusal, after
which nothing more is read.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserUpgrade,
    HttpRequestParser,
)
from twisted.logger import Logger

from autopilot.http import error_bodies, request_checks
from autopilot.http.fields import Named, by_name
from autopilot.http.headers import Field
from autopilot.http.request_checks import Head
from autopilot.relay.config import too_large
from autopilot.routing.router_error import RouterError

if TYPE_CHECKING:
    from autopilot.http.limits import Limits

_HEAD_TOO_LARGE = RouterError(
    431, "request_head_too_large", "The request head is larger than 64 KiB or has over 100 fields."
)
_UNKNOWN_METHOD = RouterError(501, "method_not_allowed", "The request method is not known.")
_NOT_HTTP = RouterError(400, "bad_request", "The request is not valid HTTP/1.1.")
_VERSIONS = {"1.1": b"HTTP/1.1", "1.0": b"HTTP/1.0"}


class Phase(Enum):
    """What a reader waits for."""

    IDLE = "a request"
    HEAD = "the rest of a head"
    BODY = "the rest of a body"


class Arrived(NamedTuple):
    """A request that has arrived whole, and whether another one may follow it."""

    method: bytes
    target: bytes
    version: bytes
    fields: list[Field]
    named: Named
    body: bytes
    persistent: bool

    def __repr__(self) -> str:
        return f"Arrived({self.method!r}, persistent={self.persistent})"


class _RefusedError(Exception):
    """Stops the parser; the refusal itself is kept by the reader."""


class RequestParser:
    """Reads the requests of one connection, one after the other.

    ``arrived`` are the requests that are complete, for the owner to take; ``refusal`` is why
    nothing more is read; ``phase`` says what is read next, ``continue_expected`` whether the
    client waits for an invitation to send the body at hand. ``limits`` may be replaced between two
    requests.
    """

    _log = Logger()

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._parser = HttpRequestParser(self)
        self._declining = False
        self._reading = 0
        self._head_read = 0
        self._head_at_most = 0
        self._body_read = self._framing_read = 0
        self._body: list[bytes] = []
        self._method = self._target = self._version = b""
        self._named: Named = {}
        self.fields: list[Field] = []
        self.arrived: deque[Arrived] = deque()
        self.refusal: RouterError | None = None
        self.phase = Phase.IDLE
        self.continue_expected = False

    @property
    def path(self) -> bytes:
        """The path of the request read last, as far as it is known."""
        return self._target.partition(b"?")[0]

    def feed(self, data: bytes) -> None:
        """Read on, unless something was refused."""
        if self.refusal is not None:
            return
        in_head, body_read = self.phase is not Phase.BODY, self._body_read
        self._reading = len(data)
        self._head_at_most += len(data)
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
                self._refuse(error_bodies.INTERNAL)
        except HttpParserError:
            self._refuse(_NOT_HTTP)
        if in_head and self.phase is not Phase.BODY and not self.arrived:
            self._head_read += len(data)
            if self._head_read > self.limits.head_bytes:
                self._refuse(_HEAD_TOO_LARGE)
        elif self.phase is Phase.BODY:
            self._count_framing(0 if self._body_read > body_read else len(data))

    def _count_framing(self, read: int) -> None:
        """Bound what comes between body bytes: chunk extensions and trailers have no end of theirs.

        ``read`` is 0 when body bytes came.
        """
        self._framing_read = self._framing_read + read if read else 0
        if self._framing_read > self.limits.head_bytes:
            self._refuse(_NOT_HTTP)

    def _decline_upgrade(self, rest: bytes) -> None:
        """Go on in HTTP/1.1 with a client that asked for another protocol in passing.

        The parser has stopped at the end of the head, since it takes what follows for the other
        protocol. A new one, told of the same framing without the wish to upgrade, reads on.
        """
        framing = b"Content-Length: 0\r\n"
        for name in (b"content-length", b"transfer-encoding"):
            for value in self._named.get(name, ()):
                framing = b"%b: %b\r\n" % (name, value)
        self._parser = HttpRequestParser(self)
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % framing)
        self.feed(rest)

    def _refuse(self, refusal: RouterError) -> _RefusedError:
        if self.refusal is None:
            self.refusal = refusal
        return _RefusedError()

    # -- llhttp's callbacks

    def on_message_begin(self) -> None:
        """See `HttpRequestParser`."""
        if self._declining:
            return
        self._target, self.fields, self._body = b"", [], []
        self._head_read = self._body_read = self._framing_read = 0
        self._head_at_most = self._reading
        self.phase = Phase.HEAD

    def on_url(self, url: bytes) -> None:
        """See `HttpRequestParser`."""
        if not self._declining:
            self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """See `HttpRequestParser`; trailers come this way too, and are dropped."""
        if self.phase is Phase.HEAD:
            self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        """See `HttpRequestParser`."""
        if self._declining:  # this is the head that `_decline_upgrade` made up
            self._declining = False
            return
        limits, parser = self.limits, self._parser
        if self._is_large:
            raise self._refuse(_HEAD_TOO_LARGE)
        self._method = parser.get_method()
        version = parser.get_http_version()
        self._version = _VERSIONS.get(version) or b"HTTP/" + version.encode("ascii")
        self._named = by_name(self.fields)
        head = request_checks.check(
            self._method, self._target, self._version, self._named, limits.body_bytes
        )
        if isinstance(head, RouterError):
            raise self._refuse(head)
        self._take(head)

    def _take(self, head: Head) -> None:
        self._target = head.target
        self._declining = self._parser.should_upgrade()
        self.continue_expected = head.continue_expected
        self.phase = Phase.BODY

    @property
    def _is_large(self) -> bool:
        """Whether the head is over a limit; its size is counted as it is usually written."""
        limits = self.limits
        if len(self.fields) > limits.head_fields:
            return True
        if self._head_at_most <= limits.head_bytes:
            return False
        line = len(self._parser.get_method()) + len(self._target) + len("  HTTP/1.1\r\n\r\n")
        fields = sum(len(name) + len(value) + len(": \r\n") for name, value in self.fields)
        return line + fields > limits.head_bytes

    def on_body(self, data: bytes) -> None:
        """See `HttpRequestParser`."""
        self._body_read += len(data)
        if self._body_read > self.limits.body_bytes:
            raise self._refuse(too_large(self.limits.body_bytes))
        self._body.append(data)

    def on_message_complete(self) -> None:
        """See `HttpRequestParser`."""
        if self._declining:  # so it seems to a parser that stops here
            return
        self.phase = Phase.IDLE
        body, self._body = self._body, []
        self.arrived.append(
            Arrived(
                self._method,
                self._target,
                self._version,
                self.fields,
                self._named,
                body[0] if len(body) == 1 else b"".join(body),
                self._persistent,
            )
        )

    @property
    def _persistent(self) -> bool:
        """Whether the client may send another request.

        An HTTP/1.0 client never: it cannot read chunks, so only the end of the connection tells it
        where a response of unknown length ends. The fields are asked as well as the parser, which
        has not seen them when it took over from one that met a wish to upgrade.
        """
        if self._version != b"HTTP/1.1" or not self._parser.should_keep_alive():
            return False
        said = self._named.get(b"connection")
        return said is None or not any(b"close" in value.lower() for value in said)
