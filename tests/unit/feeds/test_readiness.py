"""Tests of readiness for every combination of the feeds' states."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from autopilot.feeds.parsers import parse_catalog, parse_utilization
from autopilot.feeds.polling import FeedStatus
from autopilot.feeds.readiness import FeedReport, FeedState, Readiness, readiness
from autopilot.routing.catalog import Catalog
from autopilot.routing.ranking import rank
from autopilot.routing.snapshot import Snapshot
from tests.unit.feeds.records import catalog_body, entry, record, utilization_body

NOW = 10_000.0
CATALOG_LIMIT = 900.0
UTILIZATION_LIMIT = 60.0

_CATALOG = Catalog.of(parse_catalog(catalog_body(entry("a"))).models)
_RANKING = rank(parse_utilization(utilization_body(record("a"))).loads, _CATALOG)

# How old each feed's data is in each state; None: never fetched. The empty ones are old as well.
_CATALOG_AGES = {"absent": None, "empty": 901.0, "fresh": 900.0, "stale": 900.5}
_UTILIZATION_AGES = {"absent": None, "empty": 61.0, "fresh": 60.0, "stale": 60.5}


def _at(age: float | None) -> float | None:
    return None if age is None else NOW - age


def _snapshot(catalog: str, utilization: str) -> Snapshot:
    catalogs = {"absent": None, "empty": Catalog.of(())}
    return Snapshot(
        catalog=catalogs.get(catalog, _CATALOG),
        ranking=_RANKING if utilization in ("fresh", "stale") else (),
        catalog_at=_at(_CATALOG_AGES[catalog]),
        utilization_at=_at(_UTILIZATION_AGES[utilization]),
    )


def _judge(
    catalog: str, utilization: str, draining: bool = False, served: bool = True
) -> Readiness:
    statuses = (
        FeedStatus("catalog", size=61, last_error="status 502"),
        FeedStatus("utilization", size=538),
    )
    snapshot = _snapshot(catalog, utilization)
    return readiness(snapshot, statuses, NOW, UTILIZATION_LIMIT, CATALOG_LIMIT, draining, served)


def _expected(catalog: str, utilization: str, draining: bool, served: bool) -> str | None:
    if draining:
        return "draining"
    if not served:
        return "no_workers"
    by_catalog = {
        "absent": "missing_allowlist",
        "empty": "allowlist_empty",
        "stale": "stale_allowlist",
    }
    by_utilization = {
        "absent": "missing_snapshot",
        "empty": "snapshot_empty",
        "stale": "stale_snapshot",
    }
    return by_catalog.get(catalog) or by_utilization.get(utilization)


class ReadinessTests(SynchronousTestCase):
    """The table of codes."""

    def test_every_combination(self) -> None:
        """Draining takes precedence over workers, these over the catalog, it over utilization."""
        ready = 0
        for case in product(_CATALOG_AGES, _UTILIZATION_AGES, (False, True), (False, True)):
            catalog, utilization, draining, served = case
            judged = _judge(catalog, utilization, draining, served)
            code = _expected(catalog, utilization, draining, served)
            self.assertEqual(judged.code, code, case)
            self.assertEqual(judged.status, 200 if code is None else 503, case)
            self.assertEqual([str(feed.state) for feed in judged.feeds], [catalog, utilization])
            ready += judged.status == 200
        self.assertEqual(ready, 1)

    def test_feeds(self) -> None:
        """Each feed is reported with state, age, limit, size and last error."""
        judged = _judge("stale", "absent")
        expected = (
            FeedReport("catalog", FeedState.STALE, 900_500, 900_000, 61, "status 502"),
            FeedReport("utilization", FeedState.ABSENT, None, 60_000, 538, None),
        )
        self.assertEqual(judged.feeds, expected)

    def test_report_not_ready(self) -> None:
        """The 503 body has an error object of type not_ready, and the feeds beside it."""
        report = json.loads(json.dumps(_judge("fresh", "stale").report()))
        error = report["error"]
        self.assertEqual(sorted(error), ["code", "message", "param", "type"])
        self.assertEqual((error["type"], error["code"]), ("not_ready", "stale_snapshot"))
        self.assertIsNone(error["param"])
        self.assertEqual(sorted(report["feeds"]), ["catalog", "utilization"])
        expected = {
            "state": "stale",
            "age_ms": 60_500,
            "limit_ms": 60_000,
            "size": 538,
            "last_error": None,
            "data_age_ms": None,
        }
        self.assertEqual(report["feeds"]["utilization"], expected)

    def test_old_data(self) -> None:
        """Old data that was fetched just now is reported, and the router is ready all the same."""
        snapshot = replace(_snapshot("fresh", "fresh"), measured_at=NOW - 86_400.5)
        statuses = FeedStatus("catalog"), FeedStatus("utilization")
        judged = readiness(snapshot, statuses, NOW, UTILIZATION_LIMIT, CATALOG_LIMIT, False)
        self.assertEqual(judged.status, 200)
        self.assertEqual([each.data_age_ms for each in judged.feeds], [None, 86_400_500])
        feeds: Any = judged.report()["feeds"]
        self.assertEqual(feeds["utilization"]["data_age_ms"], 86_400_500)

    def test_report_ready(self) -> None:
        """The 200 body has the number of candidates and the feeds, and no error."""
        report = _judge("fresh", "fresh").report()
        self.assertEqual(sorted(report), ["candidates", "feeds", "status"])
        self.assertEqual((report["status"], report["candidates"]), ("ready", 1))

    def test_messages_differ(self) -> None:
        """Each reason has a message of its own."""
        messages = {
            _judge(catalog, utilization, draining).message
            for catalog, utilization, draining in product(
                _CATALOG_AGES, _UTILIZATION_AGES, (False, True)
            )
        }
        self.assertEqual(len(messages), 8)

    def test_private(self) -> None:
        """Where every request is private, nothing attestable is a reason, after all others."""
        statuses = (FeedStatus("catalog"), FeedStatus("utilization"))
        for catalog, utilization in product(_CATALOG_AGES, _UTILIZATION_AGES):
            snapshot = _snapshot(catalog, utilization)
            judged = readiness(
                snapshot,
                statuses,
                NOW,
                UTILIZATION_LIMIT,
                CATALOG_LIMIT,
                False,
                unattestable="no collateral",
            )
            expected = _expected(catalog, utilization, False, True) or "private_unready"
            self.assertEqual((judged.status, judged.code), (503, expected))
            self.assertEqual(
                judged.message
                == "Every request has to be private, and nothing is attestable: no collateral.",
                expected == "private_unready",
            )

    def test_never_negative(self) -> None:
        """A clock reading before the arrival of the data yields age zero."""
        snapshot = _snapshot("fresh", "fresh")
        statuses = (FeedStatus("catalog"), FeedStatus("utilization"))
        judged = readiness(snapshot, statuses, NOW - 5000, 60.0, 900.0, False)
        self.assertEqual([feed.age_ms for feed in judged.feeds], [0, 0])
