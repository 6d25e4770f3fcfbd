"""All routes in the code, so that tests cover future routes too."""

from __future__ import annotations

from autopilot.http.dialect import Dialect
from autopilot.upstream.pool import Origin
from autopilot.web.app import WebApp
from autopilot.web.endpoint import RELAYED
from tests.unit.relay.routers import ORIGINS

METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE")


def relayed() -> list[tuple[bytes, Dialect, Origin]]:
    """Return the relayed routes with their upstream paths."""
    return [(path, dialect, ORIGINS[dialect]) for path, dialect in RELAYED.items()]


def pages() -> dict[bytes, frozenset[bytes]]:
    """Yield each route that the router answers itself, with an example and its methods."""
    found: dict[bytes, frozenset[bytes]] = {}
    for rule in WebApp.app.url_map.iter_rules():
        path = rule.rule.replace("<path:name>", "plain").encode()
        assert b"<" not in path, f"{rule.rule} needs an example"
        methods = frozenset(method.encode() for method in rule.methods or ())
        found[path] = found.get(path, frozenset()) | methods
    return found


def every() -> list[bytes]:
    """Yield an example of each route."""
    return [*RELAYED, *pages()]
