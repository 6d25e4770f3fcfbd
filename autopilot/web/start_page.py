"""The page at ``/``: the addresses to configure in clients, as JSON or, for a browser, as HTML.

The addresses are those by which the page itself was requested, so they are right from wherever that
is, behind a proxy too. Nothing of a request is repeated but a valid host and port.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

import msgspec
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from autopilot.web.relay_resource import method_not_allowed
from autopilot.web.start_document import NAME, StartDocument
from autopilot.web.twisted_response import refuse

if TYPE_CHECKING:
    from twisted.web.server import Request

_HOST = re.compile(
    rb"(?P<host>[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
)
_PREFIX = re.compile(rb"(?:/[A-Za-z0-9._~%-]+)*")
_LONGEST_ACCEPT = 1024
"""Bytes of ``Accept`` that are parsed; a browser sends 200."""

Address = tuple[str, int]
"""A host, an IPv6 one without brackets, and a port."""


class StartPage(Resource):
    """``GET /``.

    ``trusts`` returns whether the router believes the forwarding fields of a peer, and ``aliases``
    the names of which the first is the model of the examples. ``admin`` returns the open addresses
    of the status page; without it the page is below this one.
    """

    isLeaf = True

    def __init__(
        self,
        version: str,
        trusts: Callable[[str], bool],
        aliases: Callable[[], Sequence[str]],
        admin: Callable[[], Sequence[Address]] | None = None,
    ) -> None:
        super().__init__()
        self._version = version
        self._trusts = trusts
        self._aliases = aliases
        self._document = StartDocument(version)
        self._admin = admin

    def render(self, request: Request) -> int | bytes:
        """See `IResource`."""
        if request.method not in (b"GET", b"HEAD"):
            refuse(request, method_not_allowed("GET", "HEAD"))
            return NOT_DONE_YET
        facts = self._facts(request)
        if _prefers_html(request):
            # Another text could contain the document's own placeholders.
            alias = next(filter(str.isascii, self._aliases()), None)
            body, content_type = self._document.render(facts, alias), b"text/html; charset=utf-8"
            request.setHeader(b"Content-Security-Policy", self._document.policy)
            request.setHeader(b"Referrer-Policy", b"no-referrer")
            request.setHeader(b"X-Content-Type-Options", b"nosniff")
        else:
            body, content_type = msgspec.json.encode(facts), b"application/json"
        request.setHeader(b"Content-Type", content_type)
        request.setHeader(b"Content-Length", b"%d" % len(body))
        request.setHeader(b"Vary", b"Accept")
        request.setHeader(b"Cache-Control", b"no-store")
        return body

    def _facts(self, request: Request) -> Mapping[str, str]:
        facts = {"name": NAME, "version": self._version}
        hosts = request.requestHeaders.getRawHeaders(b"host", ())
        named = _HOST.fullmatch(hosts[0].strip()) if len(hosts) == 1 else None
        prefix = request.path.removesuffix(b"/")
        if named is None or _PREFIX.fullmatch(prefix) is None:
            return facts
        scheme = "https" if self._is_secure(request) else "http"
        base = f"{scheme}://{named[0].decode('ascii')}{prefix.decode('ascii')}"
        facts |= {"openai_base_url": f"{base}/v1", "anthropic_base_url": base}
        if self._admin is None:
            return facts | {"status": f"{base}/status"}
        own = getattr(request.getHost(), "host", "")
        for host, port in self._admin():
            reached = reachable(host, named["host"].decode("ascii"), own)
            if reached is not None:
                return facts | {"status": f"http://{reached}:{port}/status"}
        return facts

    def _is_secure(self, request: Request) -> bool:
        """Return whether the client speaks TLS, to the router or to a trusted proxy."""
        if request.isSecure():
            return True
        protocols = b",".join(request.requestHeaders.getRawHeaders(b"x-forwarded-proto", ()))
        if protocols.partition(b",")[0].strip().lower() != b"https":
            return False
        return self._trusts(getattr(request.getClientAddress(), "host", ""))


def reachable(bound: str, named: str, own: str) -> str | None:
    """Return the host for URLs of a listener, or None if a client may not reach it.

    The listener is ``bound`` to an address. The client used ``named`` as the router's host, and its
    connection arrived at the address ``own``. If these differ, something is in between, such as a
    proxy or a container's published port, and the listener may not be reachable that way.
    """
    here, there = _address(own), _address(bound)
    if here is None or there is None:
        return None
    by_name = named.lower() == "localhost"
    asked = here if by_name and here.is_loopback else _address(named.strip("[]"))
    if asked is None:
        return None
    if there.is_loopback:
        return _literal(there) if here.is_loopback and asked.is_loopback else None
    if asked != here:
        return None
    every = there.is_unspecified and there.version >= here.version  # :: accepts IPv4 too
    return _literal(here) if every or there == here else None


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address in ``text``, an IPv4-mapped one as IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _literal(address: IPv4Address | IPv6Address) -> str:
    """Return an address as the host of a URL."""
    return f"[{address}]" if address.version == 6 else str(address)


def _prefers_html(request: Request) -> bool:
    """Return whether the client prefers HTML to JSON, as browsers do."""
    accept = ",".join(
        value.decode("latin-1") for value in request.requestHeaders.getRawHeaders(b"accept", ())
    )
    if len(accept) > _LONGEST_ACCEPT:
        return False
    accepted = parse_accept_header(accept, MIMEAccept)
    return accepted.quality("text/html") > accepted.quality("application/json")
