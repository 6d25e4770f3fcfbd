"""Parser of HTTP/1.1 responses over llhttp, for the responses of one upstream connection.

The upstream is not trusted: a head that cannot be relayed safely (conflicting framing, an upgrade
that the router did not request, fields without end) makes the response malformed and never leaves
the parser.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import chain

from httptools import HttpParserCallbackError, HttpResponseParser
from msgspec import Struct
from twisted.logger import Logger

from autopilot.http.headers import BODILESS, Field
from autopilot.http.json_end import JsonEnd
from autopilot.routing.account_limits import LIMIT_FIELDS, LONGEST_LIMIT
from autopilot.routing.retry_policy import is_json

MAX_HEAD_BYTES = 65536
MAX_HEAD_FIELDS = 256
_NO_CODING = frozenset({b"", b"identity"})
_VERSIONS = frozenset({"1.1", "1.0"})
_USUAL_START = b"HTTP/1.1 "
# llhttp rejects control bytes in fields but accepts them in a reason phrase, where RFC 9112 §4
# allows only HTAB.
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

# Without the calls by which `_content_type` finds the same.
_USUAL_TYPES = {
    b"application/json": "application/json",
    b"application/json; charset=utf-8": "application/json",
    b"text/event-stream": "text/event-stream",
    b"text/event-stream; charset=utf-8": "text/event-stream",
}


class ResponseHead(Struct, frozen=True, gc=False):
    """A final response head, its fields in wire order and spelling.

    ``length`` is the declared body length in bytes, ``None`` if the body is chunked or ends with
    the connection. ``content_type`` is lower case and without parameters. ``coded``: the body has a
    content coding, although none was asked for. ``dated``: it has a ``Date``. ``limits``: the
    values of the fields that state limits of the account, by lower-case name, if there are any.
    """

    status: int
    reason: bytes
    fields: Sequence[Field]
    content_type: str
    length: int | None
    coded: bool = False
    dated: bool = False
    limits: Mapping[bytes, bytes] | None = None

    def __repr__(self) -> str:
        return f"ResponseHead({self.status}, {self.content_type!r}, length={self.length})"

    def field(self, name: bytes) -> str | None:
        """Return the first value of the field with this lower-case name."""
        for key, value in self.fields:
            if key.lower() == name:
                return value.decode("latin-1")
        return None


class _MalformedResponseError(Exception):
    """Stops llhttp at a response that must not be relayed."""


class ResponseParser:
    """Parses the responses of one connection; `expect` begins each.

    After each ``parse`` the owner checks ``complete`` and ``malformed`` and calls `take`. ``parse``
    is llhttp's own method, so that a chunk costs no further call; the owner passes any exception
    from it to `stop`. ``parts`` are body bytes that the owner has not taken yet. ``flowing``: the
    owner has the head and the response has not ended, so ``parts`` is all there is to take; this
    is the usual case for a chunk of a stream. ``until_close``: only the end of the connection ends
    the body. ``head_read``: what the owner has read before the head was complete, because llhttp
    takes a head of RTSP or ICE for one of HTTP. ``reusable``: the connection may carry another
    response. ``failed``: an exception in the router's own code, already logged, stopped the parser.
    """

    __slots__ = (
        "__weakref__",
        "_fields",
        "_interim",
        "_json",
        "_parser",
        "_reason",
        "_taken",
        "_unread",
        "complete",
        "failed",
        "flowing",
        "head",
        "head_read",
        "malformed",
        "parse",
        "parts",
        "reusable",
        "until_close",
    )

    _log = Logger()

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self.parse: Callable[[bytes], None] = self._parser.feed_data
        self.expect()

    def expect(self) -> None:
        """Reset: the next bytes belong to another response."""
        self.head: ResponseHead | None = None
        self.complete = self.malformed = self.failed = False
        self.until_close = self.flowing = self.reusable = self._taken = False
        self.parts: list[bytes] = []
        self.head_read = b""
        self._interim = False
        self._fields: list[Field] = []
        self._reason = b""
        self._unread = 0
        self._json: JsonEnd | None = None

    def stop(self, error: Exception) -> None:
        """Handle an exception from ``parse``; no later byte of the connection can be trusted."""
        if isinstance(error, HttpParserCallbackError) and not isinstance(
            error.__context__, _MalformedResponseError
        ):
            self._log.failure("The response parser failed")
            self.failed = True
        self.malformed = not self.complete
        self.flowing = self.reusable = False

    @property
    def ends_with_connection(self) -> bool:
        """Whether the body is complete if the connection ends now (RFC 9112 §6.3 and §8).

        Of JSON the framing does not tell that, but the document does.
        """
        return self.until_close and (self._json is None or self._json.reached)

    def take(self, read: int) -> tuple[ResponseHead | None, bytes]:
        """Return the head, once, and the body bytes that have not been taken yet.

        ``read`` is the size of the last read. Bytes that belong to neither are counted and bounded.
        """
        if not self.parts:
            self._unread += read
            if self._unread > MAX_HEAD_BYTES and not self.complete:
                # llhttp bounds neither a head nor chunk extensions and trailers (RFC 9112 §7.1).
                self.malformed, self.flowing = True, False
        head = None if self._taken else self.head
        if head is not None:
            self._taken = True
            self.flowing = not (self.complete or self.malformed)
        parts = self.parts
        if len(parts) == 1:
            return head, parts.pop()
        return head, self.take_body() if parts else b""

    def take_body(self) -> bytes:
        """Return the body bytes that have not been taken yet."""
        parts, self.parts = self.parts, []
        return b"".join(parts)

    # -- llhttp's callbacks: an exception in any of them makes the response malformed

    def on_message_begin(self) -> None:
        """See `HttpResponseParser`."""
        if self.complete:  # unsolicited bytes (RFC 9112 §9.2): the connection must not be reused
            self.reusable = False

    def on_status(self, status: bytes) -> None:
        """See `HttpResponseParser`; the reason phrase may arrive in parts."""
        self._reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        """See `HttpResponseParser`; called for trailers too, which are dropped."""
        if self.head is None:  # an endless head ends in `take`
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """See `HttpResponseParser`; an interim head is discarded (RFC 9110 §15.2)."""
        if self.complete:
            return
        status = self._parser.get_status_code()
        if not 200 <= status <= 599:
            self._discard_head(status)
            return
        # A head is part of what was read. Its size is needed only if that is more, or not known.
        short = 0 < len(self.head_read) <= MAX_HEAD_BYTES
        if len(self._fields) > MAX_HEAD_FIELDS or not (short or self._head_size <= MAX_HEAD_BYTES):
            raise _MalformedResponseError("head too large")
        self.head = head = self._read_head(status)
        if self.until_close and not head.coded and is_json(head.content_type):
            self._json = JsonEnd()
        self._unread = 0

    def _discard_head(self, status: int) -> None:
        """Discard an interim head, which must not be that of an upgrade."""
        if not 100 <= status < 200:
            raise _MalformedResponseError("not a final status")
        if status == 101:
            raise _MalformedResponseError("unsolicited upgrade")
        self._reason, self._fields, self._interim = b"", [], True

    @property
    def _head_size(self) -> int:
        return len(self._reason) + sum(map(len, chain.from_iterable(self._fields)))

    def on_body(self, data: bytes) -> None:
        """See `HttpResponseParser`; ``data`` is without the framing of chunks."""
        if self.head is None:
            # llhttp parses the body that a 1xx declares, although none has one (RFC 9112 §6.3).
            raise _MalformedResponseError("interim response with a body")
        if not self.complete:
            self._unread = 0
            self.parts.append(data)
            if self._json is not None:
                self._json.feed(data)

    def on_message_complete(self) -> None:
        """See `HttpResponseParser`; also called after an interim response."""
        if self.head is not None and not self.complete:
            self.complete, self.flowing = True, False
            # A body that a faulty server sends behind one of these would be the next response.
            self.reusable = self._parser.should_keep_alive() and self.head.status not in BODILESS

    def _is_http(self) -> bool:
        """Return whether the head names HTTP/1 as its protocol, as far as that is known.

        Behind an interim response its place is not known: nothing may look like another protocol.
        """
        if self._parser.get_http_version() not in _VERSIONS:
            return False
        read = self.head_read
        if self._interim and (b"\nRTSP/" in read or b"\nICE/" in read):
            return False
        return not read or read.lstrip(b"\r\n").startswith(b"HTTP/")

    def _read_head(self, status: int) -> ResponseHead:  # noqa: C901  a call costs each response
        """Return the head if its framing is unambiguous (RFC 9112 §6.3)."""
        # The usual head is known by its first bytes: llhttp formats a text for its version.
        usual = self.head_read[: len(_USUAL_START)] == _USUAL_START and not self._interim
        if not (usual or self._is_http()):
            raise _MalformedResponseError("another protocol")
        self.head_read = b""
        reason = self._reason
        if reason != b"OK" and _CONTROL.search(reason):
            raise _MalformedResponseError("control bytes in the reason phrase")
        length: int | None = None
        chunked = False
        content_type = ""
        coded = dated = False
        limits: dict[bytes, bytes] = {}
        for name, value in self._fields:
            lower = name.lower()
            if lower == b"content-length":
                length = int(value)  # llhttp accepts only digits, and the field only once
            elif lower == b"transfer-encoding":
                if chunked or value.lower() != b"chunked":
                    raise _MalformedResponseError("unsupported framing")
                chunked = True
            elif lower == b"content-type":
                content_type = _USUAL_TYPES.get(value) or _content_type(value)
            elif lower == b"content-encoding":
                coded = coded or value.strip().lower() not in _NO_CODING
            elif lower == b"date":
                dated = True
            elif lower in LIMIT_FIELDS and len(value) <= LONGEST_LIMIT:
                limits[lower] = value
        length = 0 if status in BODILESS else length
        self.until_close = length is None and not chunked
        fields = self._fields
        return ResponseHead(
            status, reason, fields, content_type, length, coded, dated, limits or None
        )


def _content_type(value: bytes) -> str:
    """Return a media type in lower case and without parameters."""
    return value.partition(b";")[0].strip().lower().decode("latin-1")
