"""Checks of a request line that llhttp does not make, on the bytes that it has parsed.

llhttp also accepts the lines of RTSP and ICE, and reports only the number of their version; and it
does not tell a malformed method from an unknown one.
"""

from __future__ import annotations

import re

from httptools import HttpParserError, HttpRequestParser

from autopilot.http.request_checks import METHODS, TOKEN, UNKNOWN_METHOD, UNSUPPORTED_METHOD
from autopilot.routing.router_error import RouterError

_EMPTY_LINES = b"\r\n"  # may precede a request line (RFC 9112 §2.2)
_BLANKS = re.compile(rb" +")
_LONGEST_METHOD = 64


def is_http(read: bytes, method: bytes, target: bytes, *, first: bool) -> bool:
    """Return whether the request line for ``target`` in ``read`` names HTTP as its protocol.

    ``first``: the line is at the beginning. Otherwise it is behind a pipelined request, at a place
    that is not known; it is not HTTP if ``read`` has what looks like such a line of another
    protocol.
    """
    if b" RTSP/" not in read and b" ICE/" not in read:
        return True
    if first:
        line, _, _ = read.lstrip(_EMPTY_LINES).partition(b"\r")
        return _BLANKS.sub(b" ", line).startswith(b"%b %b HTTP/" % (method, target))
    read = _BLANKS.sub(b" ", read)
    return not any(b" %b %b/" % (target, other) in read for other in (b"RTSP", b"ICE"))


def method_fault(read: bytes, invalid: RouterError) -> RouterError | None:
    """Return the error for the method at the beginning of ``read``, which llhttp does not know.

    ``None``: it is not complete. ``invalid`` is the error for what is not a token (RFC 9110 §9.1).
    """
    read = read.lstrip(_EMPTY_LINES)
    token = TOKEN.match(read)
    if token is None:
        return invalid if read else None
    method = token[0]
    if len(method) == len(read) and len(method) <= _LONGEST_METHOD:
        return None
    if len(method) > _LONGEST_METHOD or read[len(method)] == ord(" "):
        return UNSUPPORTED_METHOD if method in METHODS else UNKNOWN_METHOD
    return invalid


def last_method(read: bytes) -> bytes:
    """Return ``read`` from the method on at which llhttp stops; it must begin with a request.

    llhttp does not report the place, so the shortest beginning that it does not accept is searched.
    """
    shortest, longest = 1, len(read)
    while shortest < longest:
        middle = (shortest + longest) // 2
        if _is_accepted(read[:middle]):
            shortest = middle + 1
        else:
            longest = middle
    start = shortest - 1
    while start > 0 and TOKEN.match(read, start - 1, start):
        start -= 1
    return read[start:]


def _is_accepted(read: bytes) -> bool:
    try:
        HttpRequestParser(object()).feed_data(read)
    except HttpParserError:
        return False
    return True
