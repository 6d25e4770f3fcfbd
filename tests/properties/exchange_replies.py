"""The responses of the machine's upstreams, and the meaning of each piece.

Nothing is parsed: the machine knows the meaning of the bytes that it chose.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import NamedTuple

from tests.unit.relay import upstreams
from tests.unit.relay.upstreams import JSON, SSE

HTML = b"text/html"


class Means(Enum):
    """The meaning of a piece of an event stream."""

    NOTHING = "a comment"
    EMPTY = "an event with nothing of the answer"
    CONTENT = "part of the answer"
    FINISH = "the answer is complete"
    DONE = "the stream is over"
    ERROR = "an event that reports an error"
    OWN_ERROR = "an event that blames the request"
    GAVE_UP = "the engine gave up"
    INVALID = "an event that cannot be read"
    BARE_ERROR = "an error outside of any event"


class Piece(NamedTuple):
    """One event, comment or bare line. ``generation`` is the id of its answer."""

    data: bytes
    means: Means
    generation: str = ""
    role: bool = False


class Event(NamedTuple):
    """A piece at its position in a response body."""

    start: int
    end: int
    piece: Piece


_ROLE = Piece(upstreams.ROLE, Means.EMPTY, "1", role=True)
_LONG = Piece(b":" + b"x" * 140_000 + b"\n\n", Means.NOTHING)

GAVE_UP = Piece(upstreams.STOP.replace(b'"stop"', b'"abort"'), Means.GAVE_UP, "1")

COMMON = {
    "token": (Piece(upstreams.TOKEN, Means.CONTENT, "1"),),
    "role": (_ROLE,),
    "stop": (Piece(upstreams.STOP, Means.FINISH, "1"),),
    "done": (Piece(upstreams.DONE, Means.DONE),),
}
RARE = {
    "comment": (Piece(b": ping\n\n", Means.NOTHING),),
    "failed": (Piece(b'data: {"error":{"message":"out of memory"}}\n\n', Means.ERROR),),
    "refused": (Piece(b'data: {"error":{"message":"long","code":400}}\n\n', Means.OWN_ERROR),),
    "abort": (GAVE_UP,),
    "odd": (Piece(b"data: {\n\n", Means.INVALID),),
    "foreign": (Piece(upstreams.TOKEN.replace(b'"1"', b'"2"'), Means.CONTENT, "2"),),
    "note": (Piece(b'{"fine":true}\n', Means.EMPTY),),
    "bare error": (Piece(b'{"error":"boom"}\n', Means.BARE_ERROR),),
}
# Enough empty events, and a comment long enough, to exceed the limit of held bytes.
LARGE = {"many roles": (_ROLE,) * 64, "long comments": (_LONG,) * 2}
PIECES = COMMON | RARE | LARGE

TAILS = {
    "error tail": Piece(b'{"error":"boom"}', Means.BARE_ERROR),
    "tail": Piece(b'{"fine":true}', Means.EMPTY),
}
"""Lines without a line end: only the end of the response completes them."""


class Framing(Enum):
    """The delimiter of a response's body."""

    CHUNKED = "the last chunk"
    LENGTH = "its length"
    CLOSE = "the end of the connection"


class Reply(NamedTuple):
    """A response head, and the whole body unless it is a stream.

    ``says`` is the meaning of the document in the contract's terms; ``keep``: the connection may be
    reused.
    """

    status: int
    kind: bytes
    document: bytes = b""
    says: str = ""
    fails: str = ""
    retry_after: int | None = None
    framing: Framing = Framing.CHUNKED
    keep: bool = True

    @property
    def streams(self) -> bool:
        """Whether the body is an event stream."""
        return self.kind == SSE

    @property
    def shaped(self) -> bytes:
        """The document as a client can read it: the words of ``detail`` in an ``error`` as well."""
        if not self.document.startswith(b'{"detail":') or len(self.document) > 65536:
            return self.document
        kind = {401: "authentication_error", 429: "rate_limit_error"}.get(
            self.status, "server_error" if self.status >= 500 else "invalid_request_error"
        )
        words = json.loads(self.document)["detail"]
        member = b',"error":{"type":"%b","message":"%b","param":null,"code":null}}'
        return self.document[:-1] + member % (kind.encode(), words.encode())

    @property
    def wire(self) -> bytes:
        """The bytes of the head."""
        lines = [b"HTTP/1.1 %d Some Reason" % self.status]
        if self.status != 204:
            lines.append(b"Content-Type: " + self.kind)
            if self.framing is Framing.CHUNKED:
                lines.append(b"Transfer-Encoding: chunked")
            elif self.framing is Framing.LENGTH:
                lines.append(b"Content-Length: %d" % len(self.document))
        if self.retry_after is not None:
            lines.append(b"Retry-After: %d" % self.retry_after)
        if not self.keep:
            lines.append(b"Connection: close")
        return b"\r\n".join([*lines, b"", b""])


_CAPACITY = b'{"detail":"Infrastructure is at maximum capacity, try again later"}'
_NO_TARGET = b'{"detail":"exhausted all available targets to no avail"}'
_CONTEXT = b'{"error":{"message":"This model\'s maximum context length is 10 tokens"}}'
_ENGINE = b'{"error":{"message":"busy"}}'
_OTHER = b'{"detail":"no"}'
_PAGE = b"<html>no</html>"

REPLIES = {
    "stream": Reply(200, SSE),
    "document": Reply(200, JSON, b'{"choices":[{"message":{"content":"hi"}}]}'),
    "failed document": Reply(200, JSON, b'{"error":"boom"}', fails="error_event"),
    "aborted document": Reply(
        200, JSON, b'{"choices":[{"finish_reason":"abort"}]}', fails="gave_up"
    ),
    "page": Reply(200, HTML, b"<html>yes</html>"),
    "nothing": Reply(200, JSON),
    "204": Reply(204, HTML, framing=Framing.LENGTH),
    "302": Reply(302, HTML, _PAGE),
    "400": Reply(400, JSON, _OTHER),
    "400 context exceeded": Reply(400, JSON, _CONTEXT, "context exceeded"),
    "401": Reply(401, JSON, _OTHER),
    "404": Reply(404, HTML, _PAGE),
    "404 model not found": Reply(404, JSON, b'{"detail":"model not found: a"}', "model not found"),
    "408": Reply(408, HTML, _PAGE),
    "408, and closes": Reply(408, JSON, _OTHER, keep=False),
    "429": Reply(429, HTML, _PAGE),
    "429 at capacity": Reply(429, JSON, _CAPACITY, "at capacity"),
    "429 at capacity, at length": Reply(
        429, JSON, b'%b,"pad":"%b"}' % (_CAPACITY[:-1], b"x" * 70_000), "at capacity"
    ),
    "429, again in 0 s": Reply(429, JSON, _OTHER, retry_after=0),
    "429, again in 2 s": Reply(429, JSON, _OTHER, retry_after=2),
    "500": Reply(500, JSON, b'{"error":"no"}'),
    "429 of the engine": Reply(429, JSON, _ENGINE, "an error of its own"),
    "429 of the engine, again in 2 s": Reply(
        429, JSON, _ENGINE, "an error of its own", retry_after=2
    ),
    "429 of the engine, again in 6 s": Reply(
        429, JSON, _ENGINE, "an error of its own", retry_after=6
    ),
    "500 of the engine": Reply(500, JSON, _ENGINE, "an error of its own"),
    "500 with a detail": Reply(500, JSON, _OTHER, "something in its detail"),
    "522": Reply(522, HTML, _PAGE),
    "529": Reply(529, JSON, _OTHER),
    "500 no target left": Reply(500, JSON, _NO_TARGET, "no target left"),
    "500, again in 5 s": Reply(500, HTML, _PAGE, retry_after=5),
    "500, again in 6 s": Reply(500, HTML, _PAGE, retry_after=6),
    "502": Reply(502, HTML, _PAGE),
    "503": Reply(503, HTML, _PAGE),
    "504": Reply(504, JSON, _OTHER),
}
