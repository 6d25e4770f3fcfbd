"""Tests of future changes to the utilization feed, which the router tolerates."""

from __future__ import annotations

import math
from itertools import product

from autopilot.http.fetch_error import OK
from stub_backend.feed_drift import OLD, halved, rebuilt
from tests.unit.feeds.drifting import ALIAS, PRIVATE, DriftTestCase, Records, copied

_UTILIZATION = ("utilization_current", "utilization_5m", "utilization_15m", "utilization_1h")
_RATIOS = ("rate_limit_ratio_5m", "rate_limit_ratio_15m", "rate_limit_ratio_1h")


class LoadDriftTests(DriftTestCase):
    """Changes of the utilization feed."""

    def reread(self, records: Records) -> None:
        """Serve these records at the next refresh."""
        self.fetched(self.entries, records)
        self.refresh(catalog_too=False)
        self.assertEqual(self.seen[-1], ("utilization", OK, 0))

    def test_null_columns(self) -> None:
        """With every nullable column null, all models count as full, and none is lost."""
        records = copied(self.records)
        for each, column in product(records, _UTILIZATION + _RATIOS):
            each[column] = None
        self.reread(records)
        self.assertEqual(sorted(self.names), sorted(self.plan(ALIAS)))
        self.assertEqual(len(self.names), 60)
        self.assertTrue(all(ranked.free < 1e-9 for ranked in self.plane.snapshot.ranking))

    def test_absent_columns(self) -> None:
        """A record needs a name and an instance count only, and is matched by its name."""
        needed = ("name", "active_instance_count")
        self.reread([{name: each[name] for name in needed} for each in self.records])
        self.assertEqual(len(self.names), 60)

    def test_beyond_one(self) -> None:
        """Excessive counters make a model full, not negative."""
        records = copied(self.records)
        for each, column in product(records, _UTILIZATION):
            each[column] = 3.7
        self.reread(records)
        self.assertEqual({ranked.free for ranked in self.plane.snapshot.ranking}, {0.0})
        self.assertTrue(all(math.isfinite(r.score) for r in self.plane.snapshot.ranking))

    def test_another_build(self) -> None:
        """Unknown, missing and outdated members do not change the order."""
        before = self.names
        self.fetched(rebuilt(copied(self.entries), "id"), rebuilt(copied(self.records), "name"))
        self.refresh()
        self.assertEqual((self.names, self.code), (before, None))

    def test_old_timestamps(self) -> None:
        """Old timestamps have no effect on the choice; the age of the measurements shows them."""
        before = self.names
        self.reread([each | {"timestamp": OLD} for each in self.records])
        self.assertEqual((self.names, self.code), (before, None))
        snapshot = self.plane.snapshot
        assert snapshot.measured_at is not None and snapshot.utilization_at is not None
        self.assertGreater(snapshot.utilization_at - snapshot.measured_at, 86_400.0)

    def test_odd_timestamps(self) -> None:
        """The format of timestamps has no effect either; only what is a time has an age."""
        before = self.names
        for timestamp, read in (
            (None, False),
            (1771393340, False),
            ("2026-02-18T05:48:08+00:00", True),
            ("yesterday", False),
        ):
            self.reread([each | {"timestamp": timestamp} for each in self.records])
            self.assertEqual(self.names, before, timestamp)
            self.assertEqual(self.plane.snapshot.measured_at is not None, read, timestamp)

    def test_only_private(self) -> None:
        """Without public chutes the alias has no candidates, and the refresh succeeds."""
        self.reread([each for each in self.records if each["name"] == PRIVATE])
        self.assertEqual((self.names, self.code), ([], "snapshot_empty"))

    def test_private_namesakes(self) -> None:
        """A private chute is never ranked, even if the catalog lists it."""
        best = self.names[0]
        chute = next(each["chute_id"] for each in self.entries if each["id"] == best)
        hidden = [e | ({"name": PRIVATE} if e["chute_id"] == chute else {}) for e in self.records]
        self.reread(hidden)
        self.assertEqual((len(self.names), best in self.names), (59, False))

    def test_no_instances(self) -> None:
        """A model without instances drops out, and returns with its first instance."""
        best = self.names[0]

        def with_active(count: int) -> Records:
            changed = {"active_instance_count": count}
            return [e | (changed if e["name"] == best else {}) for e in self.records]

        self.reread(with_active(0))
        self.assertNotIn(best, self.names)
        self.reread(with_active(1))
        self.assertIn(best, self.names)

    def test_feeds_disagree(self) -> None:
        """Models in both feeds stay ranked, in order."""
        before = self.names
        self.fetched(self.entries[::2], self.records)
        self.refresh()
        listed = {each["id"] for each in self.entries[::2]}
        self.assertEqual(self.names, [name for name in before if name in listed])
        self.fetched(self.entries, self.records[::2])
        self.refresh()
        measured = {each["name"] for each in self.records[::2]}
        self.assertEqual(self.names, [name for name in before if name in measured])

    def test_nothing_in_common(self) -> None:
        """Without common models the alias has no candidates, but direct names are served."""
        self.fetched(halved(self.entries, "id"), halved(self.records, "name"))
        self.refresh()
        self.assertEqual((self.names, self.code), ([], "snapshot_empty"))
        name = self.listing[0]["id"]
        self.assertEqual(self.plan(name), [name])
