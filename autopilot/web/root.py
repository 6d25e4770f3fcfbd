"""The resource tree: the relay leaves set in ahead of Klein's pages.

Routing through Klein costs more than relaying a request, so the four paths that carry traffic are
found here by one look-up; everything else is Klein's. The tree works at any depth of another site.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from autopilot.http import error_bodies
from autopilot.http.request_id import request_id
from autopilot.web.cors import ORIGIN_NOT_ALLOWED, Cors
from autopilot.web.endpoint import RELAYED, Endpoint
from autopilot.web.relay_resource import RelayResource
from autopilot.web.twisted_response import refuse

if TYPE_CHECKING:
    from twisted.web.resource import IResource
    from twisted.web.server import Request

    from autopilot.http.headers import Field
    from autopilot.relay.proxy import Proxy

# They ask for no key, so they are for pages of their own origin alone.
_FOR_OPERATORS = frozenset({b"metrics", b"status"})


class RootResource(Resource):
    """The root of the router's resources, with or without relay leaves.

    ``endpoints`` are what the leaves lead to, by path: a channel of the router's own takes requests
    to them directly.
    """

    def __init__(self, pages: IResource, gateway: Proxy | None) -> None:
        super().__init__()
        self._pages = pages
        self._nothing = _Nothing()
        self._cors: Cors | None = None
        self.endpoints: Mapping[bytes, Endpoint] = (
            {path: Endpoint(gateway, dialect, path) for path, dialect in RELAYED.items()}
            if gateway is not None
            else {}
        )
        self._leaves = {
            path.strip(b"/"): RelayResource(endpoint) for path, endpoint in self.endpoints.items()
        }

    def share_with(self, cors: Cors | None) -> None:
        """Share responses with pages of these origins from now on."""
        self._cors = cors
        for endpoint in self.endpoints.values():
            endpoint.cors = cors

    def getChildWithDefault(self, path: bytes, request: Request) -> IResource:
        """The leaf of the whole remaining path, else the pages, which route by themselves."""
        assert request.postpath is not None and request.prepath is not None
        _prepare(request)
        if self._cors is not None and path.partition(b".")[0] not in _FOR_OPERATORS:
            origin = request.getHeader(b"origin")
            _add(request, self._cors.fields(origin))
            if origin is not None and _is_preflight(request):
                return Preflight(self._cors, origin)
        rest = b"/".join([path, *request.postpath])
        # As it was written: a proxy in front may let `/v1%2Fchat` pass as some other path.
        written = request.path.rsplit(b"/", 1 + len(request.postpath))[1:]
        leaf = self._leaves.get(b"/".join(written))
        if leaf is not None:
            request.prepath += request.postpath
            request.postpath = []
            return leaf
        # Klein would take `//v1` for `/v1`; a proxy in front may have let it pass as another path.
        if not path or not _is_text(rest):
            return self._nothing
        request.prepath.pop()
        request.postpath.insert(0, path)
        # No page depends on it, and Klein fails where a host is no name in the DNS, as `a..b`.
        request.requestHeaders.setRawHeaders(b"Host", [b"localhost"])
        return self._pages

    def render(self, request: Request) -> int | bytes:
        """The tree itself, mounted under a prefix and asked for without a slash."""
        _prepare(request)
        return self._nothing.render(request)


class Preflight(Resource):
    """Answers a browser that asks whether it may send a request, to whatever path."""

    isLeaf = True

    def __init__(self, cors: Cors, origin: bytes) -> None:
        super().__init__()
        self._cors = cors
        self._origin = origin

    def render(self, request: Request) -> int:
        """See `IResource`."""
        if not self._cors.allows(self._origin):
            refuse(request, ORIGIN_NOT_ALLOWED)
            return NOT_DONE_YET
        names = request.getHeader(b"access-control-request-headers")
        private = request.getHeader(b"access-control-request-private-network") == b"true"
        for name, _ in self._cors.fields(self._origin):
            request.responseHeaders.removeHeader(name)
        _add(request, self._cors.preflight(self._origin, names, private=private))
        request.setResponseCode(204)
        request.finish()
        return NOT_DONE_YET


class _Nothing(Resource):
    """There is nothing here."""

    isLeaf = True

    def render(self, request: Request) -> int:
        """See `IResource`."""
        refuse(request, error_bodies.NOT_FOUND)
        return NOT_DONE_YET


def _prepare(request: Request) -> None:
    """What every response has, whoever writes it, and what none has."""
    given = request.getHeader(b"x-request-id")
    identity = request_id(None if given is None else given.decode("latin-1"))
    request.setHeader(b"x-request-id", identity.encode("ascii"))
    request.responseHeaders.removeHeader(b"Server")


def _is_preflight(request: Request) -> bool:
    asked = request.getHeader(b"access-control-request-method")
    return request.method == b"OPTIONS" and asked is not None


def _add(request: Request, fields: Sequence[Field]) -> None:
    for name, value in fields:
        request.responseHeaders.addRawHeader(name, value)


def _is_text(path: bytes) -> bool:
    """Whether Klein can route it; anything else it refuses in words of its own."""
    try:
        path.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
