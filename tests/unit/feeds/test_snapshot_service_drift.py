"""Tests of future changes to the platform's feeds, which the router tolerates."""

from __future__ import annotations

from typing import Any

from autopilot.routing.requirements import Needs
from autopilot.routing.routing_state import RoutingState
from stub_backend.feed_drift import renamed
from tests.unit.feeds.drifting import ALIAS, PRIVATE, DriftTestCase, copied

_DESCRIPTION = ("context_length", "max_output_length", "input_modalities", "supported_features")


class CatalogDriftTests(DriftTestCase):
    """Changes of the catalog."""

    def test_size(self) -> None:
        """The invented platform has the real one's size and proportions."""
        self.assertEqual((len(self.entries), len(self.records)), (61, 60 + 36 + 442))
        private = sum(each["name"] == PRIVATE for each in self.records)
        self.assertEqual((private, len(self.names), self.code), (442, 60, None))

    def test_externally_backed(self) -> None:
        """A model without load is listed and accepted by name, but never ranks."""
        external = next(each for each in self.entries if each["owned_by"] == "chutes")
        self.assertNotIn("max_model_len", external)
        self.assertIn(external, self.listing)
        self.assertEqual(self.plan(external["id"]), [external["id"]])
        self.assertNotIn(external["id"], self.plan(ALIAS))

    def test_all_externally_backed(self) -> None:
        """If no model has a load, the alias has no candidates, and the error says so."""
        external = [each for each in self.entries if each["owned_by"] == "chutes"]
        self.fetched(external, self.records)
        self.refresh()
        self.assertEqual((self.names, self.code), ([], "snapshot_empty"))
        self.assertEqual(self.plan(ALIAS), "no_candidates")
        self.assertEqual(self.plan(external[0]["id"]), [external[0]["id"]])

    def test_nothing_but_ids(self) -> None:
        """An entry needs nothing but its id, and is then matched by name."""
        before = self.names
        self.fetched([{"id": each["id"]} for each in self.entries], self.records)
        self.refresh()
        self.assertEqual((self.names, self.code), (before, None))
        self.assertEqual(self.plan(ALIAS, Needs(images=True, tools=True)), before)

    def test_unknown_keys_and_types(self) -> None:
        """Unknown members, and known ones of another type, do not cost a model its place."""
        before = self.names

        def strange(each: dict[str, Any], number: int) -> None:
            each["of_next_year"] = {"deep": [number, {"x": None}]}
            each["price"] = "on request"
            for name in _DESCRIPTION:
                each[name] = {"value": each.get(name)}

        self.fetched(self.changed(strange), self.records)
        self.refresh()
        self.assertEqual((self.names, self.code), (before, None))
        self.assertEqual(self.listing[0]["price"], "on request")

    def test_absent_is_unknown(self) -> None:
        """Models without stated features meet every need; others must state the feature."""
        with_images = self.plan(ALIAS, Needs(images=True))
        bare = [e["id"] for e in self.entries if "input_modalities" not in e]
        bare = [name for name in bare if name in self.names]
        self.assertTrue(bare)
        self.assertTrue(set(bare) < set(with_images) < set(self.names))

    def test_both_spellings(self) -> None:
        """A schema is supported under either spelling of its feature."""
        misspelt = [
            each["id"]
            for each in self.entries
            if "structured_output" in each.get("supported_features", ())
        ]
        self.assertEqual(len(misspelt), 2)
        self.assertTrue(set(misspelt) <= set(self.plan(ALIAS, Needs(json_schema=True))))

    def test_ids_without_organisation(self) -> None:
        """An id without a slash is an id."""
        plain = next(each["id"] for each in self.entries if "/" not in each["id"])
        self.assertIn(plain, self.names)
        self.assertEqual(self.plan(plain), [plain])
        self.assertEqual(self.plan(f"{plain},{self.names[0]}"), [plain, self.names[0]])

    def test_created_moves(self) -> None:
        """An entry's time has no effect, except in the listing."""
        before = self.names
        self.fetched(self.changed(lambda each, _: each.update(created=2_000_000_000)), self.records)
        self.refresh()
        self.assertEqual(self.names, before)
        self.assertEqual({each["created"] for each in self.listing}, {2_000_000_000})

    def test_roots_repeat(self) -> None:
        """The name of the weights is not a model's name, even if several models share it."""
        self.fetched(self.changed(lambda each, _: each.update(root="acme/base")), self.records)
        self.refresh()
        self.assertEqual(len(self.names), 60)
        self.assertEqual(self.plan("acme/base"), "unknown_model")

    def test_shrinks(self) -> None:
        """The remaining three models are candidates; other names are unknown."""
        before = self.names
        kept = [each for each in self.entries if each["id"] in before[:3]]
        self.fetched(kept, self.records)
        self.refresh()
        self.assertEqual((self.names, self.code), (before[:3], None))
        self.assertEqual(self.plan(before[5]), "unknown_model")
        remembered = RoutingState(remembered=before[5], cooling=frozenset(before[:3]))
        self.assertEqual(self.plan(ALIAS, recall=remembered), before[:3])

    def test_vanishes_and_returns(self) -> None:
        """An empty catalog takes effect, and so does the next one."""
        before = self.names
        self.fetched([], self.records)
        self.refresh()
        self.assertEqual(self.code, "allowlist_empty")
        self.assertTrue(all(name.endswith("-TEE") for name in self.names))
        self.fetched(self.entries, self.records)
        self.refresh()
        self.assertEqual((self.names, self.code), (before, None))


class NamesDriftTests(DriftTestCase):
    """Every name changes between two refreshes."""

    def setUp(self) -> None:
        """Replace all models in both feeds."""
        super().setUp()
        self.before = self.names
        self.new = renamed(copied(self.entries), "id"), renamed(copied(self.records), "name")

    def check_new(self) -> None:
        """Assert that only the new names are known, in the old order."""
        self.assertEqual(self.names, [f"{name}-next" for name in self.before])
        self.assertEqual(self.plan(self.before[0]), "unknown_model")
        self.assertEqual(self.code, None)

    def test_together(self) -> None:
        """Both feeds change at once."""
        self.fetched(*self.new)
        self.refresh()
        self.check_new()

    def test_catalog_first(self) -> None:
        """Until the loads follow there are no candidates, and the router reports that."""
        self.fetched(self.new[0], self.records)
        self.refresh()
        self.assertEqual((self.names, self.code), ([], "snapshot_empty"))
        self.fetched(*self.new)
        self.refresh(catalog_too=False)
        self.check_new()

    def test_load_first(self) -> None:
        """Until the catalog follows there are no candidates, and the catalog is the reason."""
        self.fetched(self.entries, self.new[1])
        self.refresh(catalog_too=False)
        self.assertEqual((self.names, self.code), ([], "snapshot_empty"))
        self.fetched(*self.new)
        self.refresh()
        self.check_new()

    def test_same_chutes(self) -> None:
        """If only names change, the chute ids keep the current loads usable."""
        entries = self.changed(lambda each, _: each.update(id=each["id"] + "-v2"))
        self.fetched(entries, self.records)
        self.refresh()
        self.assertEqual(self.names, [f"{name}-v2" for name in self.before])
