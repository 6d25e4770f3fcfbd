"""A strict parser of upstream requests (RFC 9110, 9112), independent of the router.

There is one correct framing of a relayed request: one ``Host``, one ``Content-Length``, and that
many bytes. A second parser, h11, must find the same end, because two servers must never disagree
about it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import h11

_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) (/[!-~]*) HTTP/1\.1\Z")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t -~\x80-\xff]*)\Z")
_SENTINEL = b"GET /behind HTTP/1.1\r\nHost: h\r\n\r\n"


class Request(NamedTuple):
    """One request with its exact bytes."""

    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @property
    def meaning(self) -> tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]:
        """The content without the order of fields and the case of their names."""
        fields = sorted((name.lower(), value) for name, value in self.fields)
        return self.method, self.target, fields, self.body


def requests(wire: bytes) -> tuple[list[Request], bytes]:
    """Return the complete requests and the remaining bytes; raise for malformed ones."""
    found = []
    while b"\r\n\r\n" in wire:
        head, _, rest = wire.partition(b"\r\n\r\n")
        request, length = _request(head)
        if len(rest) < length:
            break
        whole = wire[: len(head) + 4 + length]
        found.append(request._replace(body=rest[:length]))
        assert _as_h11_reads(whole) == found[-1].body, whole
        wire = rest[length:]
    return found, wire


def _request(head: bytes) -> tuple[Request, int]:
    first, *lines = head.split(b"\r\n")
    line = _LINE.match(first)
    assert line, first
    fields = []
    for each in lines:
        field = _FIELD.match(each)
        assert field, each
        fields.append((field[1], field[2].rstrip(b" \t")))
    named = [name.lower() for name, _ in fields]
    assert named.count(b"host") == named.count(b"content-length") == 1, head
    assert b"transfer-encoding" not in named, head
    length = next(value for name, value in fields if name.lower() == b"content-length")
    assert re.fullmatch(rb"[0-9]{1,9}", length), length
    return Request(line[1], line[2], tuple(fields), b""), int(length)


def _as_h11_reads(whole: bytes) -> bytes:
    """Return the body if h11 also parses ``whole`` as exactly one request."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(whole + _SENTINEL)
    body = b""
    assert isinstance(connection.next_event(), h11.Request)
    while isinstance(event := connection.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert connection.trailing_data == (_SENTINEL, False)
    return body
