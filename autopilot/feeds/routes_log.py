"""The log's lines about routes beside the catalog: names that both have, and names of neither.

The file of routes is checked without the catalog, which changes while the router runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from twisted.logger import Logger

from autopilot.routing.patterns import is_pattern
from autopilot.routing.routes import models_of

if TYPE_CHECKING:
    from autopilot.routing.catalog import Catalog
    from autopilot.routing.routes import Route


class RoutesLog:
    """Warns of each once. It is to be called after each refresh of the catalog and each reload."""

    _log = Logger()

    def __init__(self) -> None:
        self._catalog: Catalog | None = None
        self._routes: Mapping[str, Route] = {}
        self._reported: frozenset[str] = frozenset()

    def note(self, catalog: Catalog | None, routes: Mapping[str, Route], *, forwards: bool) -> None:
        """Log what is new since the last call; ``forwards``: unknown names are sent as they are."""
        if not catalog or (catalog is self._catalog and routes is self._routes):
            return
        self._catalog, self._routes = catalog, routes
        lines = tuple(_lines(catalog, routes, forwards))
        for line in lines:
            if line not in self._reported:
                self._log.warn("{text}", text=line)
        # What is right again in between is reported anew.
        self._reported = frozenset(lines)


def _lines(catalog: Catalog, routes: Mapping[str, Route], forwards: bool) -> Iterator[str]:
    for name, route in routes.items():
        if name in catalog:
            yield (
                f"ROUTES_FILE: the catalog has a model of the name of the route {name!a}; requests"
                " with that name get the route"
            )
        for each in models_of(route, catalog, forwarded=forwards).unknown:
            absent = "has no model that matches" if is_pattern(each) else "does not have"
            yield (
                f"ROUTES_FILE: the catalog {absent} {each!a} of the route {name!a}; the route goes"
                " without it"
            )
