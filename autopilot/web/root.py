"""The root of the resource tree: the relay's leaves, then Klein's pages.

Klein's routing costs more than relaying a request, so one look-up here finds the four relayed
paths, and Klein routes the others. The tree can be mounted at any depth of another site.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from autopilot.http.dialect import error_dialect
from autopilot.http.head_gate import HeadGate
from autopilot.http.private_gate import HEADER
from autopilot.http.request_checks import method_error
from autopilot.http.request_id import REQUEST_ID, request_id
from autopilot.http.resource_ledger import ResourceLedger
from autopilot.web.cors import Cors
from autopilot.web.endpoint import RELAYED, Endpoint
from autopilot.web.not_found import not_found
from autopilot.web.relay_resource import RelayResource, response_id
from autopilot.web.twisted_response import refuse

if TYPE_CHECKING:
    from twisted.web.resource import IResource
    from twisted.web.server import Request

    from autopilot.http.dialect import Dialect
    from autopilot.http.headers import Field
    from autopilot.http.key_gate import KnownKeys
    from autopilot.observability.refusals import Refused
    from autopilot.relay.proxy import Proxy
    from autopilot.routing.private_mode import PrivateMode
    from autopilot.routing.router_error import RouterError
    from autopilot.web.turns import Turns

# These require no key, so only pages of the router's own origin may read them.
_API = b"/v1/"
_FOR_OPERATORS = frozenset({b"metrics", b"status"})


class RootResource(Resource):
    """The root of the router's resources, with relay leaves if there is a proxy.

    ``endpoints`` are the leaves' endpoints by path; the router's own channel calls them directly.
    ``start`` is the page at ``/``. ``turns`` limits the pipelines of Twisted's own channel.
    """

    def __init__(
        self,
        pages: IResource,
        proxy: Proxy | None,
        start: IResource | None = None,
        ledger: ResourceLedger | None = None,
        turns: Turns | None = None,
    ) -> None:
        """Connections of a tree without a proxy are counted in ``ledger``."""
        super().__init__()
        if ledger is None:
            ledger = ResourceLedger() if proxy is None else proxy.ledger
        self.ledger = ledger
        self._turns = turns
        self._pages = pages
        self._start = start
        self._refused = None if proxy is None else proxy.refused
        self._not_found = _NotFound(self._refused)
        self._cors: Cors | None = None
        relayed, name = (RELAYED, proxy.pseudonym) if proxy is not None else ({}, b"")
        self.gate = HeadGate(frozenset(relayed), name)
        self.endpoints: Mapping[bytes, Endpoint] = (
            {path: Endpoint(proxy, dialect, path, self.gate) for path, dialect in RELAYED.items()}
            if proxy is not None
            else {}
        )
        self._leaves = {
            path.strip(b"/"): RelayResource(endpoint) for path, endpoint in self.endpoints.items()
        }

    def set_cors(self, cors: Cors | None) -> None:
        """Share responses with pages of these origins from now on (None: of no other origin)."""
        self._cors = cors
        for endpoint in self.endpoints.values():
            endpoint.cors = cors

    def know_keys(self, keys: KnownKeys | None) -> None:
        """Refuse every key but these from now on (None: accept all)."""
        self.gate.keys.known = keys

    def require_key(self, dialects: Container[Dialect]) -> None:
        """Require a key from now on of requests to the endpoints of these dialects."""
        self.gate.keys.paths = frozenset(
            path for path, endpoint in self.endpoints.items() if endpoint.dialect in dialects
        )

    def set_private(self, mode: PrivateMode) -> None:
        """Refuse from now on what cannot be private in this mode."""
        self.gate.private.set_mode(mode, self.endpoints)

    def getChildWithDefault(self, path: bytes, request: Request) -> IResource:
        """Return the leaf for the whole remaining path, perhaps for a later turn."""
        leaf = self._leaf(path, request)
        return leaf if self._turns is None else self._turns.take(request, leaf)

    def _leaf(self, path: bytes, request: Request) -> IResource:
        """Return the leaf for the whole remaining path, else the pages, which route it further."""
        assert request.postpath is not None and request.prepath is not None
        prepare(request)
        # Twisted's own channel accepts any method; the router's has asked for it already.
        if (error := method_error(request.method)) is not None:
            below = b"/" + b"/".join([path, *request.postpath])
            return _Refusal(error, error_dialect(below) if self.endpoints else None)
        if self._cors is not None and path.partition(b".")[0] not in _FOR_OPERATORS:
            origin = request.getHeader(b"origin")
            _add(request, self._cors.fields(origin))
            if origin is not None and self._cors.allows(origin) and _is_preflight(request):
                return Preflight(self._cors, origin)
        rest = b"/".join([path, *request.postpath])
        # Compare the path undecoded: a proxy in front may have applied the rules of another path
        # to `/v1%2Fchat`.
        undecoded = request.path.rsplit(b"/", 1 + len(request.postpath))[1:]
        leaf = self._leaves.get(b"/".join(undecoded))
        if leaf is not None:
            request.prepath += request.postpath
            request.postpath = []
            return leaf
        if request.method == b"POST" and (error := self._not_private(b"/" + rest, request)):
            return _Refusal(error, error_dialect(b"/" + rest))
        if self._start is not None and not rest:
            return self._start
        # Klein would route `//v1` as `/v1`, which a proxy in front may treat as another path.
        if not path or not _is_utf8(rest):
            return self._not_found
        request.prepath.pop()
        request.postpath.insert(0, path)
        # Klein raises on a Host that is not a DNS name, such as `a..b`; no page depends on Host.
        request.requestHeaders.setRawHeaders(b"Host", [b"localhost"])
        return self._pages

    def _not_private(self, path: bytes, request: Request) -> RouterError | None:
        """Return the error of a private ``POST`` to what may be an API that is not relayed.

        Its client must not take the refusal for a wrong path, and try the request elsewhere.
        """
        if self._refused is None or not path.startswith(_API):
            return None
        asked = {HEADER: request.requestHeaders.getRawHeaders(HEADER) or ()}
        error = self.gate.private.refusal(path, asked)
        if error is not None:
            self._refused("", error, response_id(request))
        return error

    def render(self, request: Request) -> int | bytes:
        """Respond 404 to the mount point itself, requested without a trailing slash."""
        prepare(request)
        leaf: IResource = self._not_found
        if self._turns is not None:
            leaf = self._turns.take(request, leaf)
        response: int | bytes = leaf.render(request)
        return response


class Preflight(Resource):
    """The response to a CORS preflight request of an allowed origin, for any path."""

    isLeaf = True

    def __init__(self, cors: Cors, origin: bytes) -> None:
        super().__init__()
        self._cors = cors
        self._origin = origin

    def render(self, request: Request) -> int:
        """See `IResource`."""
        names = request.getHeader(b"access-control-request-headers")
        private = request.getHeader(b"access-control-request-private-network") == b"true"
        for name, _ in self._cors.fields(self._origin):
            request.responseHeaders.removeHeader(name)
        _add(request, self._cors.preflight(self._origin, names, private=private))
        request.setResponseCode(204)
        request.finish()
        return NOT_DONE_YET


class _Refusal(Resource):
    """The response of a path that has only an error."""

    isLeaf = True

    def __init__(self, error: RouterError, dialect: Dialect | None) -> None:
        super().__init__()
        self._error = error
        self._dialect = dialect

    def render(self, request: Request) -> int:
        """See `IResource`."""
        refuse(request, self._error, self._dialect)
        return NOT_DONE_YET


class _NotFound(Resource):
    """The 404 response to a path that Klein does not see."""

    isLeaf = True

    def __init__(self, refused: Refused | None) -> None:
        """``refused``: of the port for clients."""
        super().__init__()
        self._refused = refused

    def render(self, request: Request) -> int:
        """See `IResource`."""
        assert request.postpath is not None and request.prepath is not None
        path = b"/" + b"/".join([*request.prepath[-1:], *request.postpath])
        clients = self._refused is not None
        error = not_found(path, clients=clients)
        refuse(request, error, error_dialect(path) if clients else None)
        if self._refused is not None and request.method == b"POST":
            self._refused("", error, response_id(request))
        return NOT_DONE_YET


def prepare(request: Request) -> None:
    """Set the fields of every response, and remove Twisted's ``Server``."""
    identity = request_id(request.requestHeaders.getRawHeaders(REQUEST_ID, ()))
    request.setHeader(REQUEST_ID, identity.encode("ascii"))
    request.responseHeaders.removeHeader(b"Server")


def _is_preflight(request: Request) -> bool:
    method = request.getHeader(b"access-control-request-method")
    return request.method == b"OPTIONS" and method is not None


def _add(request: Request, fields: Sequence[Field]) -> None:
    for name, value in fields:
        request.responseHeaders.addRawHeader(name, value)


def _is_utf8(path: bytes) -> bool:
    """Return whether Klein can decode the path; if not, it would respond with its own error."""
    try:
        path.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
