"""The Klein application of everything that is not relayed: models, health, metrics, status."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import msgspec
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from autopilot.feeds.polling import CATALOG
from autopilot.http import error_bodies
from autopilot.http.dialect import error_dialect
from autopilot.observability.metrics import CONTENT_TYPE
from autopilot.observability.refusals import Refused, ignore
from autopilot.routing.router_error import RouterError
from autopilot.routing.selector import Mode
from autopilot.routing.suggest import hint
from autopilot.web.not_found import ON_ADMIN_PORT, ON_API_PORT, not_found
from autopilot.web.relay_resource import method_not_allowed, response_id
from autopilot.web.shared_body import PIECE_BYTES, SharedBody
from autopilot.web.status.events import EventsLeaf
from autopilot.web.status.page import POLICY
from autopilot.web.status.parents_pages import NoAnswerError
from autopilot.web.status.requests import Shown

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure
    from twisted.web.iweb import IRequest
    from twisted.web.resource import IResource

    from autopilot.feeds.model_list import ModelDocuments
    from autopilot.feeds.readiness import Readiness
    from autopilot.http.dialect import Dialect
    from autopilot.routing.catalog import Catalog
    from autopilot.web.status.page import Pages, StatusPage
    from autopilot.web.status.updates import LiveUpdates

_T = TypeVar("_T")
_R = TypeVar("_R")
Soon: TypeAlias = _T | Deferred[_T]

_JSON = b"application/json"
_NO_ANSWER = RouterError(
    503,
    "not_ready",
    "The parent process of this worker did not answer it in time.",
    retry_after=1,
)
_NOT_READY = RouterError(
    503, "not_ready", "The model catalog has not been fetched yet.", retry_after=1
)


@dataclass(frozen=True, slots=True)
class PageSources:
    """The callables and objects from which the pages take what they show."""

    catalog: Callable[[], Catalog | None]
    documents: ModelDocuments
    readiness: Callable[[], Readiness]
    operators: Pages
    updates: LiveUpdates
    clock: IReactorTime
    refreshed_in: Callable[[str], int] = lambda feed: 1
    """Returns the seconds until a feed's next refresh is expected."""
    refused: Refused = ignore
    """Called for requests to paths that do not exist, if they may have been meant for the relay."""


class WebApp:
    """The pages of one listening port: those for clients, those for operators, or both."""

    app = Klein()
    app.url_map.merge_slashes = False
    app.url_map.redirect_defaults = False
    _log = Logger()

    def __init__(self, sources: PageSources, *, for_clients: bool, for_operators: bool) -> None:
        self._sources = sources
        self._for_clients = for_clients
        self._for_operators = for_operators
        self._events = EventsLeaf(sources.updates)

    @app.route("/healthz", methods=["GET"])
    def healthz(self, request: IRequest) -> bytes:
        """Respond 200 while the process serves."""
        return _answer(request, b"ok\n", b"text/plain; charset=utf-8")

    @app.route("/readyz", methods=["GET"])
    def readyz(self, request: IRequest) -> bytes:
        """Respond with the readiness (contract §9)."""
        readiness = self._sources.readiness()
        request.setResponseCode(readiness.status)
        if readiness.status == 503:
            for name, value in error_bodies.error_fields(self._not_ready(readiness.awaits)):
                request.setHeader(name, value)
        return _answer(request, msgspec.json.encode(readiness.report()), _JSON)

    @app.route("/v1/models", methods=["GET"])
    def models(self, request: IRequest) -> bytes | IResource:
        """Respond with the catalog as last fetched, preceded by the aliases."""
        catalog = self._catalog()
        if isinstance(catalog, RouterError):
            return _refuse(request, catalog)
        documents = self._sources.documents
        codex = b"client_version" in request.args
        listing = documents.listing_for_codex if codex else documents.listing
        return self._shared(request, [listing(catalog)], _JSON)

    @app.route("/v1/models/<path:name>", methods=["GET"])
    def model(self, request: IRequest, name: str) -> bytes:
        """Respond with one entry of the catalog."""
        catalog = self._catalog()
        if isinstance(catalog, RouterError):
            return _refuse(request, catalog)
        entry = self._sources.documents.entry(catalog, name)
        if entry is None:
            near = hint(name, catalog, frozenset(), Mode.DIRECT)
            # The requested name is not echoed: it is the client's own text.
            message = f"There is no model of this name{near}."
            return _refuse(request, RouterError(404, "unknown_model", message, "model"))
        return _answer(request, entry, _JSON)

    def _catalog(self) -> Catalog | RouterError:
        if not self._for_clients:
            return ON_API_PORT
        catalog = self._sources.catalog()
        return self._not_ready(CATALOG) if catalog is None else catalog

    def _shared(
        self, request: IRequest, parts: Sequence[bytes], content_type: bytes
    ) -> bytes | IResource:
        """Respond with a body that is shared with other requests, without a copy if it is long."""
        length = sum(map(len, parts))
        if length <= PIECE_BYTES:
            return _answer(request, b"".join(parts), content_type)
        _set_fields(request, length, content_type)
        return SharedBody(self._sources.clock, parts)

    def _not_ready(self, awaits: str | None) -> RouterError:
        """Return the error whose Retry-After is the missing feed's next refresh."""
        if awaits is None:
            return _NOT_READY
        return replace(_NOT_READY, retry_after=self._sources.refreshed_in(awaits))

    @app.route("/metrics", methods=["GET"])
    def metrics(self, request: IRequest) -> Soon[bytes | IResource]:
        """Respond with the metrics in Prometheus' text format."""
        if not self._for_operators:
            return _refuse(request, ON_ADMIN_PORT)
        return _once(
            self._sources.operators.metrics(),
            lambda text: self._shared(request, [text], CONTENT_TYPE.encode("ascii")),
        )

    @app.route("/status.json", methods=["GET"])
    def status_json(self, request: IRequest) -> Soon[bytes | IResource]:
        """Respond with the status report as JSON."""
        if not self._for_operators:
            return _refuse(request, ON_ADMIN_PORT)
        return self._sources.operators.json().addCallback(
            lambda slices: self._shared(request, slices, _JSON)
        )

    @app.route("/status", methods=["GET"])
    def status(self, request: IRequest) -> Soon[bytes | IResource]:
        """Respond with the status page; ``?show=failures`` lists only the requests that failed."""
        if not self._for_operators:
            return _refuse(request, ON_ADMIN_PORT)
        return _once(self._sources.operators.page(), lambda page: self._status(request, page))

    def _status(self, request: IRequest, page: StatusPage) -> bytes | IResource:
        shown = Shown.of(cast("Any", request).args)
        body = page.view(shown).document
        request.setHeader(b"Content-Security-Policy", POLICY)
        request.setHeader(b"Referrer-Policy", b"no-referrer")
        request.setHeader(b"Cache-Control", b"no-store")
        return self._shared(_without_sniffing(request), [body], b"text/html; charset=utf-8")

    @app.route("/status/events", methods=["GET"])
    def status_events(self, request: IRequest) -> bytes | IResource:
        """Respond with the event stream that keeps the page current."""
        if not self._for_operators:
            return _refuse(request, ON_ADMIN_PORT)
        return self._events

    @app.route("/status/page.css", methods=["GET"])
    @app.route("/status/page.js", methods=["GET"])
    @app.route("/status/icon.svg", methods=["GET"])
    def status_asset(self, request: IRequest) -> bytes:
        """Respond with the page's style sheet, script or icon."""
        if not self._for_operators:
            return _refuse(request, ON_ADMIN_PORT)
        name = request.path.rpartition(b"/")[2].decode("ascii")
        return self._sources.operators.assets[name].render(cast("Any", _without_sniffing(request)))

    @app.handle_errors(HTTPException)
    def http_error(self, request: IRequest, failure: Failure) -> bytes:
        """Respond to an unknown path, or to a method that the path does not support."""
        error: Any = failure.value
        path = b"/" + b"/".join(cast("Any", request).postpath)
        if isinstance(error, MethodNotAllowed):
            allowed = sorted(error.valid_methods or ())
            return _refuse(request, method_not_allowed(*allowed))
        refused = not_found(path, clients=self._for_clients)
        if self._for_clients and request.method == b"POST":
            # Most are meant for a path of the relay: a base URL is wrong.
            self._sources.refused("", refused, response_id(cast("Any", request)))
        return _refuse(request, refused, error_dialect(path) if self._for_clients else None)

    @app.handle_errors(NoAnswerError)
    def no_answer(self, request: IRequest, failure: Failure) -> bytes:
        """Respond that the process that has the answer did not give it in time."""
        return _refuse(request, _NO_ANSWER)

    @app.handle_errors(Exception)
    def internal_error(self, request: IRequest, failure: Failure) -> bytes:
        """Log a bug in a page, and respond with an error that does not describe it."""
        self._log.failure("Internal error in a page; please report it", failure)
        return _refuse(request, error_bodies.INTERNAL)


def _once(value: _T | Deferred[_T], respond: Callable[[_T], _R]) -> _R | Deferred[_R]:
    """Respond with a value once it is there, which it usually is."""
    return value.addCallback(respond) if isinstance(value, Deferred) else respond(value)


def _answer(request: IRequest, body: bytes, content_type: bytes) -> bytes:
    _set_fields(request, len(body), content_type)
    return body


def _set_fields(request: IRequest, length: int, content_type: bytes) -> None:
    request.setHeader(b"Content-Type", content_type)
    request.setHeader(b"Content-Length", b"%d" % length)


def _without_sniffing(request: IRequest) -> IRequest:
    """Make browsers trust the ``Content-Type`` instead of guessing from the body."""
    request.setHeader(b"X-Content-Type-Options", b"nosniff")
    return request


def _refuse(request: IRequest, error: RouterError, dialect: Dialect | None = None) -> bytes:
    request.setResponseCode(error.status, error_bodies.reason_phrase(error.status))
    for name, value in error_bodies.error_fields(error):
        request.setHeader(name, value)
    return _answer(request, error_bodies.error_body(error, dialect), _JSON)
