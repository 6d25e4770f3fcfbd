"""Tests of the model list."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from autopilot.feeds.model_list import ModelDocuments, model_document, models_document
from autopilot.feeds.parsers import parse_catalog
from autopilot.routing.catalog import Catalog

_FIRST = b'{"id": "acme/A", "price": 1.0, "later": {"x":  [1e400]} }'
_SECOND = b'{"id":"acme/B"}'
_ALIASES = ("chutesai/AutoPilot", "auto")


def _catalog() -> Catalog:
    body = b'{"data":[' + _FIRST + b"," + _SECOND + b"]}"
    return Catalog.of(parse_catalog(body).models)


class ModelsDocumentTests(SynchronousTestCase):
    """The list and its entries."""

    def test_aliases_first(self) -> None:
        """Aliases come first and look like models, then the catalog in its order."""
        document = json.loads(models_document(_catalog(), _ALIASES, 1700000000))
        self.assertEqual(document["object"], "list")
        ids = [entry["id"] for entry in document["data"]]
        self.assertEqual(ids, [*_ALIASES, "acme/A", "acme/B"])
        expected = {
            "id": "chutesai/AutoPilot",
            "object": "model",
            "created": 1700000000,
            "owned_by": "chutes-autopilot",
        }
        self.assertEqual(document["data"][0], expected)

    def test_entries_untouched(self) -> None:
        """The platform's entries are included byte for byte."""
        self.assertTrue(
            models_document(_catalog(), _ALIASES, 1).endswith(_FIRST + b"," + _SECOND + b"]}")
        )

    def test_empty_catalog(self) -> None:
        """With an empty catalog only the aliases are listed."""
        empty = Catalog.of(())
        self.assertEqual(len(json.loads(models_document(empty, _ALIASES, 1))["data"]), 2)
        self.assertEqual(models_document(empty, (), 1), b'{"object":"list","data":[]}')

    def test_alias_hides_model(self) -> None:
        """No id is listed twice: a name that is an alias means the alias."""
        document = json.loads(models_document(_catalog(), ("acme/B",), 1))
        owners = {entry["id"]: entry.get("owned_by") for entry in document["data"]}
        self.assertEqual(owners, {"acme/B": "chutes-autopilot", "acme/A": None})
        self.assertEqual(len(document["data"]), 2)

    def test_one_model(self) -> None:
        """A model yields its own bytes, an alias its own entry, another name None."""
        catalog = _catalog()
        self.assertEqual(model_document(catalog, _ALIASES, 1, "acme/A"), _FIRST)
        self.assertEqual(
            json.loads(model_document(catalog, _ALIASES, 1, "auto") or b"")["id"], "auto"
        )
        self.assertIsNone(model_document(catalog, _ALIASES, 1, "acme/C"))


class ModelDocumentsTests(SynchronousTestCase):
    """The list cached between requests."""

    def test_once_per_catalog(self) -> None:
        """The list is encoded once per catalog."""
        documents = ModelDocuments(_ALIASES, 1)
        catalog, other = _catalog(), Catalog.of(())
        listing = documents.listing(catalog)
        self.assertEqual(listing, models_document(catalog, _ALIASES, 1))
        self.assertIs(documents.listing(catalog), listing)
        self.assertEqual(documents.listing(other), models_document(other, _ALIASES, 1))
        self.assertEqual(documents.listing(catalog), listing)

    def test_for_codex(self) -> None:
        """The list for Codex has an empty member first, and the rest byte for byte."""
        documents, catalog = ModelDocuments(_ALIASES, 1), _catalog()
        listing = documents.listing(catalog)
        got = documents.listing_for_codex(catalog)
        self.assertIs(documents.listing_for_codex(catalog), got)
        self.assertEqual(json.loads(got)["models"], [])
        self.assertTrue(got.endswith(listing.removeprefix(b"{")))

    def test_entry(self) -> None:
        """Single entries come from the given catalog."""
        documents = ModelDocuments(_ALIASES, 1)
        self.assertEqual(documents.entry(_catalog(), "acme/B"), _SECOND)
        self.assertIsNone(documents.entry(Catalog.of(()), "acme/B"))
