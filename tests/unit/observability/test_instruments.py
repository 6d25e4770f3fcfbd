"""Tests of the counters and histograms."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Counter as LibraryCounter
from prometheus_client import Histogram as LibraryHistogram
from twisted.trial.unittest import SynchronousTestCase

from autopilot.observability import instruments
from autopilot.observability.instruments import Counter, Histogram, Instrument, Readings, Sums

BOUNDS = (0.05, 1, 2.5, 600)
values = st.one_of(st.sampled_from(BOUNDS), st.floats(0, 1e6), st.integers(0, 10))


def by_us(*counted: Instrument) -> str:
    """Return the exposition of the router's instruments."""
    return "".join(each.exposition() for each in counted)


def by_the_library(count: Callable[[CollectorRegistry], None]) -> str:
    """Return the exposition of the library's instruments, without creation times."""
    registry = CollectorRegistry()
    count(registry)
    text = generate_latest(registry).decode()
    return "\n".join(line for line in text.split("\n") if "_created" not in line)


class CountingTests(SynchronousTestCase):
    """The exposition equals that of the library's own instruments."""

    @given(st.lists(st.tuples(st.text(max_size=3), st.integers(0, 599), st.integers(0, 9))))
    def test_labelled(self, counted: list[tuple[str, int, int]]) -> None:
        """Counters with labels of any text."""
        ours = Counter("made_total", 'Things\nmade with "\\".', "of", "status")
        for of, status, number in counted:
            ours.values[of, status] += number

        def count(registry: CollectorRegistry) -> None:
            theirs = LibraryCounter(
                "made_total", 'Things\nmade with "\\".', ["of", "status"], registry=registry
            )
            for of, status, number in counted:
                theirs.labels(of, status).inc(number)

        self.assertEqual(by_us(ours), by_the_library(count))

    def test_unit(self) -> None:
        """Values are counted in whole parts, and written in units: nothing is lost in sums."""
        counter = Counter("cost_total", "Cost.", "of", unit=10**12)
        for _ in range(10):
            counter.values["a",] += 100_000_000_000
        counter.values["b",] += 1
        self.assertEqual(
            counter.exposition().splitlines()[2:],
            ['cost_total{of="a"} 1.0', 'cost_total{of="b"} 1e-12'],
        )

    @given(st.lists(st.tuples(st.text(max_size=1), st.integers(0, 9), st.integers(0, 9))))
    def test_sums(self, counted: list[tuple[str, int, int]]) -> None:
        """Sums over labels, over some values, and over all, at every scrape."""
        of = Counter("ends_total", "Ends.", "of", "status")
        by_status = Sums("statuses_total", "Ends.", of, {"as": 1})
        small = Sums("small_total", "Small.", of, {}, last=range(3))
        for name, status, number in [("", 0, 0), *counted]:
            by_us(by_status, small)
            of.values[name, status] += number

        def count(registry: CollectorRegistry) -> None:
            statuses = LibraryCounter("statuses_total", "Ends.", ["as"], registry=registry)
            few = LibraryCounter("small_total", "Small.", registry=registry)
            for _, status, number in [("", 0, 0), *counted]:
                statuses.labels(status).inc(number)
                few.inc(number if status < 3 else 0)

        self.assertEqual(by_us(by_status, small), by_the_library(count))

    @given(st.lists(st.integers(0, 2**40)))
    def test_unlabelled(self, counted: list[int]) -> None:
        """Counters without labels, which exist from the start."""
        ours = Counter("bytes_total", "Bytes.")
        for number in counted:
            ours.values[()] += number

        def count(registry: CollectorRegistry) -> None:
            theirs = LibraryCounter("bytes_total", "Bytes.", registry=registry)
            for number in counted:
                theirs.inc(number)

        self.assertEqual(by_us(ours), by_the_library(count))

    @given(st.lists(values))
    def test_histogram(self, observed: list[float]) -> None:
        """Histograms, in which a value on a bound belongs to that bucket."""
        ours = Histogram("took_seconds", "Time.", BOUNDS)
        for value in observed:
            ours.observe(value)

        def count(registry: CollectorRegistry) -> None:
            theirs = LibraryHistogram("took_seconds", "Time.", buckets=BOUNDS, registry=registry)
            for value in observed:
                theirs.observe(value)

        self.assertEqual(by_us(ours), by_the_library(count))

    def test_readings(self) -> None:
        """Gauges that are read at each scrape; a label without text is left out."""
        values: dict[tuple[str, str], float] = {}
        ours = Readings("left", "The rest.", ("of", "scope"), values.items)
        self.assertEqual(by_us(ours), "# HELP left The rest.\n# TYPE left gauge\n")
        values.update({("a", "b"): 1, ("", "b"): 2.5, ("", ""): float("inf")})
        self.assertEqual(
            by_us(ours).splitlines()[2:],
            ['left{of="a",scope="b"} 1.0', 'left{scope="b"} 2.5', "left +Inf"],
        )

    def test_work(self) -> None:
        """What a sample's line has before its number is made once, not at each scrape."""
        ours = Counter("made_total", "Things.", "of", "status")
        with patch.object(instruments, "_series", wraps=instruments._series) as made:
            for place in range(2000):
                ours.values[f"m{place}", 200] += 1
            first = ours.exposition()
            ours.values["m7", 200] += 1_000_000
            second = ours.exposition()
        self.assertEqual(made.call_count, 2000)
        self.assertEqual(first.count("\n"), 2002)
        self.assertEqual(
            second,
            first.replace(
                'made_total{of="m7",status="200"} 1.0\n',
                'made_total{of="m7",status="200"} 1.000001e+06\n',
            ),
        )

    def test_order(self) -> None:
        """Metrics keep their order."""
        text = by_us(Counter("b_total", "B."), Counter("a_total", "A."))
        self.assertLess(text.index("b_total"), text.index("a_total"))
