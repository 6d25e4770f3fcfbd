"""Tests of the catalog's index by name and by chute."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.steps import STEP

A = Model("acme/A", chute_id="id-a")
B = Model("acme/B", chute_id="id-b", tee=True)


class CatalogTests(SynchronousTestCase):
    """Indexing the entries of the feed."""

    def test_order_and_index(self) -> None:
        """Entries keep the feed's order and are found by name and by chute."""
        catalog = Catalog.of([B, A])
        self.assertEqual(list(catalog.models.items()), [("acme/B", B), ("acme/A", A)])
        self.assertEqual(dict(catalog.by_chute), {"id-b": "acme/B", "id-a": "acme/A"})
        self.assertEqual(len(catalog), 2)
        self.assertIn("acme/A", catalog)
        self.assertNotIn("acme/a", catalog)

    def test_an_empty_catalog_is_false(self) -> None:
        """A catalog without models counts as none."""
        self.assertFalse(Catalog.of([]))
        self.assertTrue(Catalog.of([A]))

    def test_a_model_without_a_chute(self) -> None:
        """A model without a chute id is found by its name only."""
        catalog = Catalog.of([Model("x"), A])
        self.assertIn("x", catalog)
        self.assertEqual(dict(catalog.by_chute), {"id-a": "acme/A"})

    def test_the_first_of_two_entries_of_one_name_counts(self) -> None:
        """The second entry of a name changes nothing, and its chute is not indexed either."""
        catalog = Catalog.of([A, Model("acme/A", chute_id="id-z", tee=True)])
        self.assertIs(catalog.models["acme/A"], A)
        self.assertEqual(dict(catalog.by_chute), {"id-a": "acme/A"})

    def test_the_first_of_two_entries_of_one_chute_counts(self) -> None:
        """Two names on one chute are both listed; the chute leads to the first."""
        catalog = Catalog.of([A, Model("acme/C", chute_id="id-a")])
        self.assertEqual(list(catalog.models), ["acme/A", "acme/C"])
        self.assertEqual(catalog.by_chute["id-a"], "acme/A")

    def test_it_cannot_be_changed(self) -> None:
        """A request keeps the catalog that it started with: the catalog is read-only."""
        catalog = Catalog.of([A])
        with self.assertRaises(TypeError):
            catalog.models["x"] = B  # type: ignore[index]
        with self.assertRaises(TypeError):
            catalog.by_chute["x"] = "y"  # type: ignore[index]
        with self.assertRaises(TypeError):
            catalog.near["x"] = "y"  # type: ignore[index]

    def test_the_name_meant(self) -> None:
        """A name is found as listed, by its chute, in another case, without -TEE, by THUDM."""
        catalog = Catalog.of([A, Model("zai-org/GLM-5-TEE", "id-g"), Model("Solo-TEE")])
        for name, expected in (
            ("acme/A", "acme/A"),
            ("id-a", "acme/A"),
            ("ACME/a", "acme/A"),
            ("ID-A", None),
            ("zai-org/GLM-5", "zai-org/GLM-5-TEE"),
            ("THUDM/GLM-5-TEE", "zai-org/GLM-5-TEE"),
            ("THUDM/GLM-5", "zai-org/GLM-5-TEE"),
            ("thudm/glm-5-tee", "zai-org/GLM-5-TEE"),
            ("Zai-Org/glm-5-tee", "zai-org/GLM-5-TEE"),
            ("solo", "Solo-TEE"),
            ("GLM-5-TEE", None),
            ("acme/A-TEE", None),
            ("THUDM/A", None),
            ("thudm/solo", None),
            ("", None),
        ):
            self.assertEqual(catalog.find(name), expected, name)

    def test_a_listed_name_comes_first(self) -> None:
        """A name that is listed means itself, whatever else is spelled nearly so."""
        names = ["acme/M", "acme/m", "acme/M-TEE", "id-a"]
        catalog = Catalog.of([*map(Model, names), A])
        self.assertEqual([catalog.find(name) for name in names], names)

    def test_case_alone_comes_first(self) -> None:
        """A difference in case alone counts before any other, even if several names remain."""
        one = Catalog.of(map(Model, ("acme/m-TEE", "acme/M", "THUDM/x", "zai-org/x")))
        self.assertEqual((one.find("ACME/m"), one.find("thudm/X")), ("acme/M", "THUDM/x"))
        two = Catalog.of(map(Model, ("acme/M", "acme/m", "Acme/M-TEE")))
        self.assertIsNone(two.find("ACME/M"))
        self.assertEqual(two.find("acme/m-tee"), "Acme/M-TEE")

    def test_several_names(self) -> None:
        """A spelling that several names share means none of them."""
        catalog = Catalog.of(map(Model, ("a/X-TEE", "A/x-TEE", "zai-org/y-TEE", "zai-org/Y-tee")))
        for name in ("a/x-tee", "a/x", "THUDM/y", "zai-org/y"):
            self.assertIsNone(catalog.find(name), name)
        catalog = Catalog.of(map(Model, ("zai-org/y", "THUDM/y-TEE")))
        self.assertIsNone(catalog.find("thudm/Y"))

    def test_a_large_catalog(self) -> None:
        """A catalog that takes several steps is indexed whole, with a pause after each step."""
        count = 2 * STEP + 1
        models = [Model(f"acme/M{place}-TEE", f"id-{place}") for place in range(count)]
        catalog = Catalog.of(models)
        for place in (0, STEP - 1, STEP, STEP + 1, count - 1):
            name = f"acme/M{place}-TEE"
            for spelling in (name, name.lower(), f"Acme/m{place}", f"id-{place}"):
                self.assertEqual(catalog.find(spelling), name)
        # Two while the entries are indexed by name, two while the spellings are.
        self.assertEqual(sum(1 for _ in Catalog.steps_of(models)), 4)

    def test_larger_context(self) -> None:
        """Only models with a known larger context are larger than a known one."""
        lengths = {"a": 5, "b": 5, "c": 6, "d": None, "e": 4, "f": 7}
        catalog = Catalog.of(Model(name, context_length=n) for name, n in lengths.items())
        self.assertEqual(catalog.larger_context("a"), {"c", "f"})
        self.assertEqual(catalog.larger_context("e"), {"a", "b", "c", "f"})
        for name in ("d", "f", "unlisted"):
            self.assertEqual(catalog.larger_context(name), frozenset())

    def test_larger_or_unknown(self) -> None:
        """Models that are known to read as little, and the model itself, are left out."""
        lengths = {"a": 5, "b": 5, "c": 6, "d": None, "e": 4}
        catalog = Catalog.of(Model(name, context_length=n) for name, n in lengths.items())
        others = ("a", "b", "c", "d", "e", "unlisted")
        found = catalog.larger_or_unknown("a", others)
        self.assertEqual(found, {"c", "d", "unlisted"})
        for name in ("d", "unlisted"):
            found = catalog.larger_or_unknown(name, others)
            self.assertEqual(found, set(others) - {name})
        self.assertEqual(catalog.larger_or_unknown("a", ("b",)), frozenset())

    def test_the_entry_text_is_not_shown(self) -> None:
        """The representation leaves out the entry's JSON text."""
        self.assertNotIn("secret", repr(Model("m", raw=b"secret")))
