"""What a request head must look like before anything else is done with it (RFC 9110, RFC 9112).

The parser has settled the syntax. What is left are the rules a proxy must not be lax about, because
the two sides of it would otherwise read one request differently.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from autopilot.http.error_bodies import too_large
from autopilot.http.fields import Named
from autopilot.routing.router_error import RouterError

_ABSOLUTE = re.compile(rb"https?://[^/?#@]+(/[^#]*)?\Z", re.IGNORECASE)
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?\Z")


class Head(NamedTuple):
    """What it takes to go on.

    ``target`` is in origin form; ``length`` is the declared one, ``None`` for a chunked body.
    """

    target: bytes
    length: int | None
    continue_expected: bool

    def __repr__(self) -> str:
        return f"Head(length={self.length}, continue_expected={self.continue_expected})"


def check(
    method: bytes,
    raw_target: bytes,
    version: bytes,
    named: Named,
    max_body: int,
) -> Head | RouterError:
    """Read a request head, or say why it is refused."""
    if method == b"CONNECT":
        return RouterError(405, "method_not_allowed", "This server is not a tunnel.")
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        return RouterError(505, "bad_request", "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    target = _origin_form(raw_target)
    if target is None:
        return _bad("the request target is not a path")
    wrong_host = _wrong_host(version, named.get(b"host", ()))
    if wrong_host is not None:
        return wrong_host
    length = _length(version, named)
    if isinstance(length, RouterError):
        return length
    if length is not None and length > max_body:
        return too_large(max_body)
    expect = named.get(b"expect")
    if expect is None:
        return Head(target, length, False)
    if any(value.strip().lower() != b"100-continue" for value in expect):
        return RouterError(417, "bad_request", "The only expectation met here is 100-continue.")
    return Head(target, length, version == b"HTTP/1.1" and length != 0)


def _origin_form(target: bytes) -> bytes | None:
    """A proxied client may send the whole URL; only its path means anything here."""
    if target.startswith(b"/"):
        return None if b"#" in target else target
    absolute = _ABSOLUTE.match(target)
    return (absolute.group(1) or b"/") if absolute else None


def _wrong_host(version: bytes, hosts: Sequence[bytes]) -> RouterError | None:
    if len(hosts) > 1 or (not hosts and version == b"HTTP/1.1"):
        return _bad("it must have exactly one Host field")
    if hosts and not _is_host(hosts[0]):
        return _bad("its Host field is not a host")
    return None


@lru_cache(maxsize=256)
def _is_host(value: bytes) -> bool:
    """Whether a ``Host`` field names one; nearly all requests to a router say the same."""
    return _HOST.match(value.strip()) is not None


def _length(version: bytes, named: Named) -> int | RouterError | None:
    """The declared body length; ``None`` for a chunked body. Never both, never twice."""
    lengths = named.get(b"content-length", ())
    codings = named.get(b"transfer-encoding")
    if codings:
        if lengths or version != b"HTTP/1.1" or len(codings) > 1:
            return _bad("its framing is ambiguous")
        if codings[0].strip().lower() != b"chunked":
            return RouterError(
                501, "bad_request", "The only transfer coding understood is chunked."
            )
        return None
    if not lengths:
        return 0
    value = lengths[0].strip()
    if len(lengths) > 1 or not value.isdigit() or len(value) > 18:
        return _bad("its Content-Length cannot be read")
    return int(value)


def _bad(why: str) -> RouterError:
    return RouterError(400, "bad_request", f"The request is not valid: {why}.")
