"""What the upstream gets, read by the letter of RFC 9110 and 9112 and by nothing of the router's.

There is one right way to frame a relayed request: one ``Host``, one ``Content-Length``, that many
bytes. A second parser, h11, has to see the same end: two servers must never disagree about it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import h11

_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) (/[!-~]*) HTTP/1\.1\Z")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t -~\x80-\xff]*)\Z")
_SENTINEL = b"GET /behind HTTP/1.1\r\nHost: h\r\n\r\n"


class Request(NamedTuple):
    """One request of these very bytes."""

    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @property
    def meaning(self) -> tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]:
        """What does not depend on the order of fields or on the spelling of their names."""
        fields = sorted((name.lower(), value) for name, value in self.fields)
        return self.method, self.target, fields, self.body


def requests(wire: bytes) -> tuple[list[Request], bytes]:
    """The requests that are complete, and what follows them; what is malformed is an error."""
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
    """The body, if h11 too takes all of ``whole`` for one request, and nothing behind it."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(whole + _SENTINEL)
    body = b""
    assert isinstance(connection.next_event(), h11.Request)
    while isinstance(event := connection.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert connection.trailing_data == (_SENTINEL, False)
    return body
