"""Tests of what a client's spelling of a model means."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.names import Named, catalog_name, resolve
from autopilot.routing.selector import Mode

CATALOG = Catalog.of([Model("acme/A-TEE", "id-a"), Model("odd:latency"), Model("odd:THINKING")])


class ResolveTests(SynchronousTestCase):
    """The model meant, and the name that goes up."""

    def test_direct(self) -> None:
        """The platform's suffixes stay as they were written; the rest is the catalog's name."""
        for name, expected in (
            ("acme/A-TEE", Named("acme/A-TEE", "", "acme/A-TEE")),
            ("ACME/a", Named("acme/A-TEE", "", "acme/A-TEE")),
            ("acme/a:THINKING", Named("acme/A-TEE", ":THINKING", "acme/A-TEE:THINKING")),
            ("acme/a :Latency", Named("acme/A-TEE", " :Latency", "acme/A-TEE :Latency")),
            (
                "acme/a:THINKING:latency",
                Named("acme/A-TEE", ":THINKING:latency", "acme/A-TEE:THINKING:latency"),
            ),
            ("id-a", Named("acme/A-TEE", "", "id-a")),
            ("id-a:THINKING", Named("acme/A-TEE", ":THINKING", "id-a:THINKING")),
            ("odd:latency", Named("odd:latency", "", "odd:latency")),
            ("odd:THINKING", Named("odd:THINKING", "", "odd:THINKING")),
            ("odd:thinking", Named("odd:THINKING", "", "odd:THINKING")),
        ):
            self.assertEqual(resolve(name, CATALOG), expected)

    def test_item(self) -> None:
        """An item of a list may have :THINKING, but no order of its own."""
        expected = Named("acme/A-TEE", ":THINKING", "acme/A-TEE:THINKING")
        self.assertEqual(resolve("acme/a:THINKING", CATALOG, Mode.LIST), expected)
        self.assertEqual(resolve("id-a", CATALOG, Mode.LIST), Named("acme/A-TEE", "", "id-a"))
        self.assertIsNone(resolve("acme/A-TEE:latency", CATALOG, Mode.LIST))
        self.assertIsNone(resolve("acme/A-TEE:THINKING:latency", CATALOG, Mode.LIST))

    def test_nothing(self) -> None:
        """Other suffixes, and suffixes in another order, are parts of a name."""
        for name in (
            *("nope", "nope:latency", "acme/A-TEE:premium", "acme/A-TEE:latency:THINKING"),
            *("acme/A-TEE:thinking", "acme/A-TEE:THINKING:THINKING", ":THINKING", ""),
        ):
            self.assertIsNone(resolve(name, CATALOG), name)

    def test_catalog_name(self) -> None:
        """What is not in the catalog is its own name."""
        for name in ("acme/A-TEE", "acme/a", "id-a", "id-a:latency", "acme/A-TEE:THINKING"):
            self.assertEqual(catalog_name(name, CATALOG), "acme/A-TEE")
        self.assertEqual(catalog_name("nope", CATALOG), "nope")
