"""Tests of the totals of several processes, as a scraper reads them."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from autopilot.observability import merge
from autopilot.observability.account_limits import AccountLimits
from autopilot.observability.instruments import Counter, Histogram, Readings
from autopilot.observability.key_counts import KeyCounts
from autopilot.observability.merge import BY_WORKER, SUMMED, Counted, Totals
from autopilot.observability.metrics import Gauges, Metrics
from autopilot.observability.records import Outcome, RequestRecord
from autopilot.routing.account_limits import QUOTA_TOTAL
from autopilot.routing.usage import Usage
from tests.unit.observability.records import record, refused
from tests.unit.relay.profiled import calls

PREFIX = "chutes_autopilot_"
Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def process(number: int = 0, *records: RequestRecord) -> Metrics:
    """Return the metrics of a process whose gauges read this number."""
    metrics = Metrics("1.2.3")
    metrics.watch(Gauges(*[lambda: number] * 9))
    accounts = AccountLimits(lambda: 0.0)
    metrics.instruments += accounts.instruments()
    metrics.instruments += KeyCounts().instruments(lambda: ["p"] * bool(number))
    if number:
        accounts.note(b"client", {QUOTA_TOTAL: b"%d" % number}, 0.0)
    for each in records:
        metrics.request(each, ("m", "n"))
    return metrics


def series(text: bytes) -> Series:
    """Return each sample of an exposition by its name and labels; a name has one family."""
    families = list(text_string_to_metric_families(text.decode()))
    names = [family.name for family in families]
    assert len(names) == len(set(names)), names
    return {
        (sample.name.removeprefix(PREFIX), tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


class MergedMetricsTests(SynchronousTestCase):
    """The metrics of a parent with the totals of its workers."""

    def setUp(self) -> None:
        """Create a parent, and two workers that have served requests."""
        self.parent = process()
        self.first = process(3, record(), record(failovers=("status_503",)), refused())
        self.second = process(
            5,
            record(usage=Usage(9, 4, 2, 1), cost_picodollars=10**12, ttfb_ms=20.0),
            record(outcome=Outcome.CLIENT_GONE, model="n"),
        )

    def totals(self, *workers: Metrics) -> Totals:
        """Return the totals of these workers, whose numbers count from 1."""
        totals = Totals()
        for number, worker in enumerate(workers, 1):
            totals.add(worker.counted(), number)
        return totals

    def merged(self, *workers: Metrics) -> Series:
        """Return the samples of the parent of these workers."""
        return series(self.parent.text(self.totals(*workers)))

    def test_as_one_process(self) -> None:
        """Counters and histograms are those of one process that served all of the requests."""
        one = process(
            0,
            record(),
            record(failovers=("status_503",)),
            refused(),
            record(usage=Usage(9, 4, 2, 1), cost_picodollars=10**12, ttfb_ms=20.0),
            record(outcome=Outcome.CLIENT_GONE, model="n"),
        )
        counted = {
            key: value
            for key, value in series(one.text()).items()
            if key[0].endswith(("_total", "_bucket", "_count", "_sum")) and "process" not in key[0]
        }
        merged = self.merged(self.first, self.second)
        self.assertGreater(len(counted), 60)
        for key, value in counted.items():
            self.assertAlmostEqual(merged[key], value, msg=str(key))

    def test_the_parents_own(self) -> None:
        """What the parent counts itself, such as refreshes of the feeds, is in the totals."""
        self.parent.refresh("models", "ok", 2)
        self.second.refresh("models", "ok", 3)
        merged = self.merged(self.first, self.second)
        self.assertEqual(merged["feed_rejected_records_total", (("feed", "models"),)], 5)

    def test_gauges(self) -> None:
        """Gauges are summed, or by worker, or the parent's, and each metric is one of these."""
        merged = self.merged(self.first, self.second)
        self.assertEqual(merged["requests_active", ()], 8)
        self.assertEqual(merged["buffered_bytes", ()], 8)
        for name in ("cooling_models", "sticky_entries", "quota_limit"):
            self.assertNotIn((name, ()), merged)
            self.assertEqual(
                [merged[name, (("worker", worker),)] for worker in ("1", "2")], [3, 5], name
            )
        for name in ("ready_snapshot_age_seconds", "ready_candidates", "ready_allowlist_size"):
            self.assertEqual(merged[name, ()], 0)
        self.assertEqual(merged["build_info", (("version", "1.2.3"),)], 1)
        self.assertEqual(
            {dict(labels)["worker"] for name, labels in merged if name == "process_open_fds"},
            {"parent", "1", "2"},
        )
        alone = series(self.parent.text())
        self.assertGreater(
            merged["process_resident_memory_bytes", ()],
            2 * alone["process_resident_memory_bytes", ()],
        )

    def test_every_gauge_has_a_rule(self) -> None:
        """No name in the rules is one that no metric has."""
        names = {each.name for each in self.first.registry.collect()} | {
            each.name for each in self.first.instruments if isinstance(each, Readings)
        }
        self.assertEqual((SUMMED | BY_WORKER) - names, {"process_cpu_seconds_total"})
        readings = {each.name for each in self.first.instruments if isinstance(each, Readings)}
        self.assertEqual(readings - BY_WORKER, set())

    def test_same_names(self) -> None:
        """A parent has the metrics of a process, each once, whatever has been reported."""
        alone = {name for name, _ in series(self.parent.text())}
        self.assertEqual(alone - {name for name, _ in self.merged(self.first)}, set())

    def test_ended_worker(self) -> None:
        """What a worker had counted stays when it has ended; its gauges do not."""
        totals = Totals()
        totals.keep(self.first.counted())
        kept = totals.copy()
        kept.add(self.second.counted(), 1)
        merged = series(self.parent.text(kept))
        self.assertEqual(merged["requests_total", (("status", "200"),)], 4)
        self.assertEqual(merged["attempts_count", ()], 4)
        self.assertEqual(merged["requests_active", ()], 5)
        self.assertEqual(merged["sticky_entries", (("worker", "1"),)], 5)
        cpu = self.second.counted().gauges["process_cpu_seconds_total"][0][1]
        # That of the worker that has ended, of the one that runs, and of the parent.
        self.assertGreater(merged["process_cpu_seconds_total", ()], 2 * cpu)
        again = series(self.parent.text(totals))
        self.assertEqual(again["requests_total", (("status", "200"),)], 2)
        self.assertEqual(again["requests_active", ()], 0)

    def test_rolling_restart(self) -> None:
        """Two processes of one number are counted both; a series has one sample."""
        totals = Totals()
        totals.add(self.second.counted(), 1)
        totals.add(self.first.counted(), 1)
        merged = series(self.parent.text(totals))
        self.assertEqual(merged["requests_active", ()], 8)
        self.assertEqual(merged["sticky_entries", (("worker", "1"),)], 5)
        self.assertEqual(totals.by_worker["process_max_fds"][1:], [])

    def test_another_version(self) -> None:
        """Metrics that another version of the router has otherwise are left out."""
        totals = self.totals(self.first)
        other = Counted(
            {f"{PREFIX}selection_total": [(("m", 200, "new"), 7)], "new_total": [((), 1)]},
            {f"{PREFIX}attempts": ([1, 2], 3.0)},
            {"new": [({}, 1.0)]},
        )
        totals.add(other, 2)
        self.assertEqual(
            series(self.parent.text(totals))["attempts_count", ()],
            self.merged(self.first)["attempts_count", ()],
        )
        self.assertEqual(
            series(self.parent.text(totals))[
                "selection_total", (("model", "m"), ("status", "200"))
            ],
            2,
        )

    def test_bounded(self) -> None:
        """The series of workers that have ended do not fill the memory, and none is lost."""
        self.patch(merge, "_MOST_SERIES", 10)
        totals = Totals()
        for worker in range(7):
            pairs: list[tuple[tuple[str | int, ...], int]] = [
                ((f"m{worker}-{place}", 200), 1) for place in range(7)
            ]
            totals.keep(Counted({"selection": pairs}, {}, {}))
        self.assertEqual(len(totals.counters["selection"]), 11)
        self.assertEqual(sum(totals.counters["selection"].values()), 49)

    def test_cost(self) -> None:
        """The page of 64 workers costs little more than that of one: their samples by worker."""
        counted = self.first.counted()

        def cost(workers: int) -> int:
            totals = Totals()
            for worker in range(workers):
                totals.add(counted, worker)
            self.parent.text(totals)
            return calls(self.parent.text, totals)

        one, many = cost(1), cost(64)
        by_worker = sum(len(counted.gauges.get(name, ())) for name in BY_WORKER)
        self.assertLess(many - one, 63 * by_worker * 60)
        self.assertLess(many, 30_000)

    def test_without_a_worker(self) -> None:
        """Instruments without totals of their own are written as they are."""
        totals = Totals()
        counter, histogram = Counter("a_total", "A."), Histogram("b", "B.", (1.0,))
        for each in (counter, histogram):
            self.assertEqual(each.exposition(totals), each.exposition())
