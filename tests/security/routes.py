"""All routes there are, as the code has them: a rule must hold on each, also on those to come."""

from __future__ import annotations

from autopilot.http.dialect import Dialect
from autopilot.upstream.pool import Origin
from autopilot.web.app import WebApp
from autopilot.web.endpoint import RELAYED
from tests.unit.relay.routers import ORIGINS

METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE")


def relayed() -> list[tuple[bytes, Dialect, Origin]]:
    """The routes that lead upstream, and where each leads."""
    return [(path, dialect, ORIGINS[dialect]) for path, dialect in RELAYED.items()]


def pages() -> dict[bytes, frozenset[bytes]]:
    """The routes that are answered here, an example of each, and by which methods."""
    found: dict[bytes, frozenset[bytes]] = {}
    for rule in WebApp.app.url_map.iter_rules():
        path = rule.rule.replace("<path:name>", "plain").encode()
        assert b"<" not in path, f"give {rule.rule} an example"
        methods = frozenset(method.encode() for method in rule.methods or ())
        found[path] = found.get(path, frozenset()) | methods
    return found


def every() -> list[bytes]:
    """An example of each route."""
    return [*RELAYED, *pages()]
