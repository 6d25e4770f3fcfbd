"""Semantic checks of a request head, before anything else handles it (RFC 9110, RFC 9112).

The parser has checked the syntax. What remains are the rules that a proxy must enforce strictly,
because router and upstream could otherwise interpret one request differently (request smuggling,
RFC 9112 §11.2).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct, structs

from autopilot.http.error_bodies import SUPPORTED_METHODS
from autopilot.http.head_gate import HeadGate
from autopilot.http.headers import Named
from autopilot.http.resource_ledger import Admission
from autopilot.routing.router_error import RouterError

_ABSOLUTE = re.compile(rb"https?://[^/?#@]+(/[^#]*)?\Z", re.IGNORECASE)
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?\Z")
_HASH = ord("#")  # an int: `in` finds it in bytes at a third of the cost

# The registered methods (RFC 9110 §16.1.1); a 501 tells that no path has any other.
METHODS = frozenset(
    b"ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT CONNECT COPY DELETE GET HEAD LABEL LINK LOCK MERGE"
    b" MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE OPTIONS ORDERPATCH PATCH POST PRI"
    b" PROPFIND PROPPATCH PUT QUERY REBIND REPORT SEARCH TRACE UNBIND UNCHECKOUT UNLINK UNLOCK"
    b" UPDATE UPDATEREDIRECTREF VERSION-CONTROL".split()
)
_USUAL_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS", b"POST"})
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
UNKNOWN_METHOD = RouterError(501, "method_not_allowed", "The request method is not known.")
UNSUPPORTED_METHOD = RouterError(
    405, "method_not_allowed", "No resource supports this method.", allow=SUPPORTED_METHODS
)

_MAX_KNOWN_HOSTS = 256
_LONGEST_KNOWN_HOST = 256
_known_hosts: set[bytes] = set()
"""Valid ``Host`` values; most requests to a router share one."""


class Head(Struct, frozen=True, gc=False):
    """The facts of a valid head that later steps need; ``target`` is in origin form.

    ``path`` and ``query`` are its parts. ``length`` is that of the body, ``None`` if it is chunked.
    ``needs_body``: the body is part of what the request asks for, because it is for the relay.
    """

    target: bytes
    path: bytes
    query: bytes
    length: int | None
    continue_expected: bool
    needs_body: bool

    def __repr__(self) -> str:
        return f"Head(continue_expected={self.continue_expected})"


def check(
    method: bytes,
    raw_target: bytes,
    version: bytes,
    named: Named,
    max_body: int,
    gate: HeadGate,
    admission: Admission,
) -> Head | RouterError:
    """Return the facts of a request head, or the error if it is not valid or not admitted.

    If an error follows the admission, the caller drops its charge.
    """
    if method not in _USUAL_METHODS or version != b"HTTP/1.1":
        error = method_error(method) or _version_error(version)
        if error is not None:
            return error
    known = raw_target in gate.relayed  # the usual target, whose form need not be looked at
    target = raw_target if known else _origin_form(method, raw_target)
    if target is None:
        return _bad("the request target is not a path")
    hosts = named.get(b"host", ())
    usual = len(hosts) == 1 and hosts[0] in _known_hosts
    if not usual and (error := _host_error(version, hosts)) is not None:
        return error
    length = _length(version, named)
    if isinstance(length, RouterError):
        return length
    path, query = target, b""
    if not known:
        path, _, query = target.partition(b"?")
    relayed = method == b"POST" and (known or path in gate.relayed)
    if relayed or admission.excess:
        error = gate.refusal(path, named, length, max_body, admission)
        if error is not None:
            return error
    head = Head(target, path, query, length, False, relayed or gate.awaits_bodies)
    return head if b"expect" not in named else _expecting(head, version, named[b"expect"])


def _expecting(head: Head, version: bytes, expect: Sequence[bytes]) -> Head | RouterError:
    """Return the facts of a head with an ``Expect`` field, or the error if it cannot be met."""
    if any(value.strip().lower() != b"100-continue" for value in expect):
        return RouterError(417, "bad_request", "The only supported expectation is 100-continue.")
    # An HTTP/1.0 client's expectation is ignored, and without a body 100 (Continue) may be omitted
    # (RFC 9110 §10.1.1).
    expected = version == b"HTTP/1.1" and head.length != 0
    return structs.replace(head, continue_expected=expected)


def method_error(method: bytes) -> RouterError | None:
    """Return the error for a method that no resource of the router can have."""
    if method == b"CONNECT":
        return UNSUPPORTED_METHOD
    if method in METHODS:
        return None
    return UNKNOWN_METHOD if TOKEN.fullmatch(method) else _bad("its method is not a token")


def _version_error(version: bytes) -> RouterError | None:
    if version in (b"HTTP/1.1", b"HTTP/1.0"):
        return None
    return RouterError(505, "bad_request", "Only HTTP/1.1 and HTTP/1.0 are supported.")


def _origin_form(method: bytes, target: bytes) -> bytes | None:
    """Return the target in origin form, or None if it is neither a path nor an http URL.

    A client that takes the router for a proxy sends the absolute form (RFC 9112 §3.2.2); only its
    path counts, as the destination comes from the configuration alone. ``OPTIONS`` may ask for the
    whole server (RFC 9112 §3.2.4).
    """
    if target.startswith(b"/"):
        return None if _HASH in target else target
    if target == b"*" and method == b"OPTIONS":
        return target
    absolute = _ABSOLUTE.match(target)
    return (absolute.group(1) or b"/") if absolute else None


def _host_error(version: bytes, hosts: Sequence[bytes]) -> RouterError | None:
    """Return an error unless there is exactly one valid ``Host`` field (RFC 9112 §3.2)."""
    if len(hosts) > 1 or (not hosts and version == b"HTTP/1.1"):
        return _bad("it must have exactly one Host field")
    for host in hosts:
        if _HOST.match(host.strip()) is None:
            return _bad("its Host field is not a host")
        if len(host) <= _LONGEST_KNOWN_HOST:
            if len(_known_hosts) >= _MAX_KNOWN_HOSTS:
                _known_hosts.clear()
            _known_hosts.add(host)
    return None


def _length(version: bytes, named: Named) -> int | RouterError | None:
    """Return the declared body length, None for a chunked body, or the error.

    A message with both framings, a repeated one, or chunked under HTTP/1.0 is ambiguous and
    therefore rejected (RFC 9112 §6.1 and §6.3).
    """
    lengths = named.get(b"content-length", ())
    if b"transfer-encoding" in named:
        codings = named[b"transfer-encoding"]
        if lengths or version != b"HTTP/1.1" or len(codings) > 1:
            return _bad("its framing is ambiguous")
        if codings[0].strip().lower() != b"chunked":
            return RouterError(501, "bad_request", "The only supported transfer coding is chunked.")
        return None
    if not lengths:
        return 0
    value = lengths[0].strip()
    if len(lengths) > 1 or not value.isdigit() or len(value) > 18:
        return _bad("its Content-Length is not one decimal number")
    return int(value)


def _bad(reason: str) -> RouterError:
    """Return the 400 error of a malformed head."""
    return RouterError(400, "bad_request", f"The request is not valid: {reason}.")
