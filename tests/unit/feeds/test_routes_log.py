"""Tests of the lines about routes beside the catalog."""

from __future__ import annotations

from twisted.internet.testing import EventLoggingObserver
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from autopilot.feeds.routes_log import RoutesLog
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.routes import Route

_BOTH = (
    "ROUTES_FILE: the catalog has a model of the name of the route 'acme/A'; requests with that"
    " name get the route"
)
_ABSENT = (
    "ROUTES_FILE: the catalog does not have 'acme/gone' of the route 'r'; the route goes without it"
)

_UNMATCHED = (
    "ROUTES_FILE: the catalog has no model that matches 'none*' of the route 'r'; the route goes"
    " without it"
)


def _catalog(*names: str) -> Catalog:
    return Catalog.of(map(Model, names))


class RoutesLogTests(SynchronousTestCase):
    """What is logged after a refresh or a reload."""

    def setUp(self) -> None:
        """Observe the log."""
        self.observer = EventLoggingObserver()
        globalLogPublisher.addObserver(self.observer)
        self.addCleanup(globalLogPublisher.removeObserver, self.observer)
        self.log = RoutesLog()

    def logged(self, catalog: Catalog | None, *routes: Route, forwards: bool = False) -> list[str]:
        """Return the new lines about these routes."""
        before = len(list(self.observer))
        self.log.note(catalog, {each.name: each for each in routes}, forwards=forwards)
        events = list(self.observer)[before:]
        self.assertTrue(all(event["log_level"] is LogLevel.warn for event in events))
        return [str(formatEvent(event)) for event in events]

    def test_before_the_catalog(self) -> None:
        """Without a catalog, and with an empty one, nothing can be said."""
        route = Route("acme/A", ("acme/gone",))
        self.assertEqual(self.logged(None, route), [])
        self.assertEqual(self.logged(_catalog(), route), [])

    def test_names_of_both(self) -> None:
        """A route over a model has one line, also if the model comes later or again."""
        route = Route("acme/A", ("acme/A",))
        self.assertEqual(self.logged(_catalog("acme/B", "x"), Route("r", ("x",))), [])
        self.assertEqual(self.logged(_catalog("acme/A"), route), [_BOTH])
        self.assertEqual(self.logged(_catalog("acme/A", "acme/B"), route), [])
        self.logged(_catalog("acme/B"), route)
        self.assertEqual(self.logged(_catalog("acme/A"), route), [_BOTH])
        # A name in another case is another name, which the route does not hide.
        self.assertEqual(self.logged(_catalog("acme/a"), Route("acme/A", ("acme/a",))), [])

    def test_names_of_neither(self) -> None:
        """A name that the catalog lacks has one line, unless such names are sent as they are."""
        route = Route("r", ("acme/gone", "acme/A", "*A"))
        catalog = _catalog("acme/A")
        self.assertEqual(self.logged(catalog, route, forwards=True), [])
        self.assertEqual(self.logged(catalog, route), [_ABSENT])
        self.assertEqual(self.logged(_catalog("acme/A", "b"), route), [])
        self.assertEqual(self.logged(_catalog("acme/A", "acme/gone"), route), [])
        self.assertEqual(self.logged(catalog, route), [_ABSENT])

    def test_patterns_without_a_match(self) -> None:
        """A pattern is never sent as it is, so it has a line in either case."""
        catalog, route = _catalog("acme/A"), Route("r", ("none*", "acme*"))
        self.assertEqual(self.logged(catalog, route), [_UNMATCHED])
        self.assertEqual(self.logged(_catalog("acme/A"), route, forwards=True), [])
        self.assertEqual(self.logged(_catalog("acme/A", "none"), route), [])

    def test_the_same(self) -> None:
        """A refresh of the other feed, with the same catalog and routes, costs nothing."""
        catalog, routes = _catalog("acme/A"), {"acme/A": Route("acme/A", ("acme/A",))}
        before = len(list(self.observer))
        for _ in range(3):
            self.log.note(catalog, routes, forwards=False)
        self.assertEqual(len(list(self.observer)) - before, 1)
