"""One HTTP/1.1 response after another out of bytes, read by llhttp.

Nothing the upstream sends is trusted: a head that cannot be relayed safely (conflicting framing, an
upgrade nobody asked for, endless fields) makes the response malformed, and is never handed out.
"""

from __future__ import annotations

import re

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from autopilot.upstream.types import ResponseHead

MAX_HEAD_BYTES = 65536
MAX_HEAD_FIELDS = 256
_BODILESS = frozenset({204, 304})
_VERSIONS = frozenset({"1.1", "1.0"})
# The parser sees to it that there are none in fields; it lets them stand in a reason phrase.
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class ResponseParser:
    """Feed it bytes, then look at ``complete`` and ``malformed``, and :meth:`take` what arrived.

    ``flowing`` says that the last bytes were of the body and nothing else, the usual case; then
    :meth:`body` is all there is to take. ``until_close`` says that only the end of the connection
    ends the body; ``reusable`` that the response was whole, that nothing followed it and that the
    connection may carry another one.
    """

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self.expect()

    def expect(self) -> None:
        """Begin anew: what comes next is another response."""
        self.head: ResponseHead | None = None
        self.complete = False
        self.malformed = False
        self.until_close = False
        self._announced = False
        self._chunks: list[bytes] = []
        self._fields: list[tuple[bytes, bytes]] = []
        self._reason = b""
        self._unread = 0
        self._head_size = 0
        self._surplus = False
        self._keep = False

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another response after this one."""
        return self.complete and self._keep and not self._surplus

    def feed(self, data: bytes) -> None:
        """More bytes of the connection."""
        self._unread += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self.malformed = not self.complete
            self._surplus = True
        if self._chunks:
            self._unread = 0
        elif self._unread > MAX_HEAD_BYTES and not self.complete:
            # A head without end; or chunk extensions or trailers, of any length to the parser.
            self.malformed = True

    @property
    def flowing(self) -> bool:
        """Whether the head is known and the end is still to come."""
        return self._announced and not (self.complete or self.malformed)

    def body(self) -> bytes:
        """The body bytes not taken before."""
        chunks = self._chunks
        if len(chunks) == 1:
            return chunks.pop()
        self._chunks = []
        return b"".join(chunks)

    def take(self) -> tuple[ResponseHead | None, bytes]:
        """The head, if it is new, and the body bytes not taken before."""
        head = None if self._announced else self.head
        self._announced = self.head is not None
        return head, self.body()

    # -- what llhttp calls; an exception in any of them makes the response malformed

    def on_message_begin(self) -> None:
        """A response begins, perhaps behind one that is over."""
        if self.complete:
            self._surplus = True

    def on_status(self, status: bytes) -> None:
        """The reason phrase, or part of it."""
        self._head_size += len(status)
        self._reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field of the head, or a trailer: those end here."""
        if self.head is not None:
            return
        if len(self._fields) >= MAX_HEAD_FIELDS:
            raise ValueError("too many response fields")
        self._head_size += len(name) + len(value)
        if self._head_size > MAX_HEAD_BYTES:
            raise ValueError("too large a response head")
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is whole; one of an interim response is forgotten (RFC 9110, 15.2)."""
        if self.complete:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            if status == 101:
                raise ValueError("unasked upgrade")
            self._reason, self._fields = b"", []
            return
        if not 200 <= status <= 599:
            raise ValueError("no final status")
        self.head = self._read_head(status)
        self._unread = 0

    def on_body(self, data: bytes) -> None:
        """Body bytes, their framing taken off; an interim response has none (RFC 9112, 6.3)."""
        if self.head is None:  # the parser reads one after most 1xx that announce it
            raise ValueError("an interim response with a body")
        if not self.complete:
            self._chunks.append(data)

    def on_message_complete(self) -> None:
        """The response, or an interim one, is over."""
        if self.head is not None and not self.complete:
            self.complete = True
            self._keep = self._parser.should_keep_alive()

    def _read_head(self, status: int) -> ResponseHead:
        """The head, if its framing is beyond doubt (RFC 9112, section 6.3)."""
        if self._parser.get_http_version() not in _VERSIONS:
            raise ValueError("another protocol")
        if _CONTROL.search(self._reason):
            raise ValueError("control bytes in the reason phrase")
        length: int | None = None
        chunked = False
        content_type = ""
        for name, value in self._fields:
            match name.lower():
                case b"content-length":
                    length = int(value)  # the parser let nothing but digits pass, and only once
                case b"transfer-encoding":
                    if chunked or value.lower() != b"chunked":
                        raise ValueError("unreadable framing")
                    chunked = True
                case b"content-type":
                    content_type = value.partition(b";")[0].strip().lower().decode("latin-1")
        if status in _BODILESS:
            length = 0
        self.until_close = length is None and not chunked
        return ResponseHead(status, self._reason, tuple(self._fields), content_type, length)
