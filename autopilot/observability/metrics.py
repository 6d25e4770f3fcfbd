"""Prometheus metrics of the router (contract §10).

Label values come from fixed sets or from the catalog, never from a client, so no client can create
time series. Ages are computed at each scrape.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest

from autopilot.observability.instruments import Counter, Histogram, Instrument, Readings, Sums
from autopilot.observability.merge import Counted, MergedRegistry, readings
from autopilot.observability.records import (
    BROKEN,
    CLIENT_LEFT,
    OWN_ERRORS,
    RequestRecord,
    own_error,
)
from autopilot.routing.usage import PICODOLLARS

if TYPE_CHECKING:
    from autopilot.observability.merge import Totals
    from autopilot.observability.records import Charged, Failover
    from autopilot.routing.router_error import RouterError
    from autopilot.routing.usage import Usage

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# The router's own share is below 50 ms; a warm model needs 0.1 to 2.5 s; a queue or a long prompt
# takes up to two minutes, after which most clients give up.
_FIRST_BYTE = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
# Errors below 50 ms, embeddings below 1 s, answers in seconds, long reasoning in many minutes.
_DURATION = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
# A turn of the reactor that takes 50 ms is a fault; shorter ones than 5 ms are not observed.
_HELD = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_ATTEMPTS = (1, 2, 3, 4, 6, 8)
_OTHER = "other"
# Series of a metric by model. A catalog has some dozens of models; one that keeps changing must not
# fill the memory.
_MOST_SELECTIONS = 2000
_MOST_USED = _MOST_SELECTIONS // 4  # a model has a series for each kind of tokens


@dataclass(frozen=True, slots=True)
class Gauges:
    """The sources of the values computed at each scrape; ages in seconds, -1 without data."""

    requests_active: Callable[[], float]
    buffered_bytes: Callable[[], float]
    snapshot_age: Callable[[], float]
    allowlist_age: Callable[[], float]
    measured_age: Callable[[], float]
    candidates: Callable[[], float]
    allowlist_size: Callable[[], float]
    cooling_models: Callable[[], float]
    sticky_entries: Callable[[], float]


@dataclass(slots=True)
class _Used:
    """The tokens of a model's answers by kind, and their cost if one is known."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0
    cost: int | None = None


class Metrics:
    """The counters, histograms and gauges of one router, in a registry of its own."""

    def __init__(self, version: str, means: Callable[[str], str] = str) -> None:
        """``means`` returns the catalog's name for one that it does not list, if there is one."""
        self._means = means
        # One count for each request; the metrics that differ only in their labels are its sums.
        self._ends = Counter("ends", "", "endpoint", "mode", "status", "code", "outcome")
        self._sums = (
            Sums(
                "chutes_autopilot_requests_total",
                "Requests answered, by status; 0 if the client disconnected before the response.",
                self._ends,
                {"status": 2},
            ),
            Sums(
                "chutes_autopilot_responses_total",
                "Requests answered, by endpoint, mode, status and code of the router's own error.",
                self._ends,
                {"endpoint": 0, "mode": 1, "status": 2, "code": 3},
            ),
            Sums(
                "chutes_autopilot_outcomes_total",
                "Requests, by how they ended.",
                self._ends,
                {"outcome": 4},
            ),
            Sums(
                "chutes_autopilot_client_disconnects_total",
                "Clients that disconnected before their response was complete.",
                self._ends,
                {},
                last=CLIENT_LEFT,
            ),
            Sums(
                "chutes_autopilot_stream_interruptions_total",
                "Responses that broke after their first byte, by cause.",
                self._ends,
                {"cause": 4},
                last=BROKEN,
            ),
        )
        self._selection = Counter(
            "chutes_autopilot_selection_total",
            "Responses relayed, by model and status.",
            "model",
            "status",
        )
        self._broken = Counter(
            "chutes_autopilot_broken_streams_total",
            "Answers that broke after their first byte because of the upstream, by model and why.",
            "model",
            "reason",
        )
        self._failovers = Counter(
            "chutes_autopilot_failover_reason_total", "Failed attempts, by reason.", "reason"
        )
        self._hedged = Counter(
            "chutes_autopilot_hedged_requests_total",
            "Second attempts beside a slow first one, by whether they took its place.",
            "outcome",
        )
        self._first_byte = Histogram(
            "chutes_autopilot_time_to_first_byte_seconds",
            "Seconds from the complete request to the first byte of its response.",
            _FIRST_BYTE,
        )
        self._duration = Histogram(
            "chutes_autopilot_request_duration_seconds",
            "Seconds from the complete request to the end of its response.",
            _DURATION,
        )
        self._attempts = Histogram(
            "chutes_autopilot_attempts", "Upstream attempts per request.", _ATTEMPTS
        )
        self._tokens = Counter(
            "chutes_autopilot_tokens_total",
            "Tokens that upstreams reported. Those of the prompt include cached ones, those of the"
            " completion reasoning.",
            "model",
            "kind",
        )
        self._cost = Counter(
            "chutes_autopilot_cost_dollars_total",
            "US dollars for these tokens, by the catalog's prices.",
            "model",
            unit=PICODOLLARS,
        )
        self._relayed = Counter("chutes_autopilot_relayed_bytes_total", "Body bytes relayed.")
        self._relayed_bytes = 0
        self._used: dict[str, _Used] = {}
        self._unterminated = Counter(
            "chutes_autopilot_unterminated_streams_total",
            "Event streams that ended cleanly without their terminator.",
        )
        self._refreshes = Counter(
            "chutes_autopilot_feed_refresh_total",
            "Refreshes of the feeds, by outcome.",
            "feed",
            "outcome",
        )
        self._rejected = Counter(
            "chutes_autopilot_feed_rejected_records_total",
            "Feed records rejected as unreadable.",
            "feed",
        )
        self.held = Histogram(
            "chutes_autopilot_reactor_held_seconds",
            "Turns of the reactor of 5 ms or more, in which it served nothing else.",
            _HELD,
        )
        self._lost = Counter(
            "chutes_autopilot_log_lines_lost_total",
            "Lines of the log that were lost because its output failed or was not read.",
        )
        self.lost_lines: list[Callable[[], int]] = []
        """The counts of lost lines, read at each scrape."""
        self.instruments: tuple[Instrument, ...] = (
            *self._sums,
            self._selection,
            self._broken,
            self._failovers,
            self._hedged,
            self._first_byte,
            self._duration,
            self._attempts,
            self._tokens,
            self._cost,
            self._relayed,
            self._unterminated,
            self._refreshes,
            self._rejected,
            self.held,
            self._lost,
        )
        # Few values, which only their sources know: the gauges, the process and the version.
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        info = Gauge(
            "chutes_autopilot_build_info", "Always 1.", ["version"], registry=self.registry
        )
        info.labels(version).set(1)

    def watch(self, gauges: Gauges) -> None:
        """Register the gauges, which are read at each scrape."""
        for name, text, read in (
            ("requests_active", "Requests in flight.", gauges.requests_active),
            (
                "buffered_bytes",
                "Bytes held: request bodies until commit, responses before it or not taken yet.",
                gauges.buffered_bytes,
            ),
            (
                "ready_snapshot_age_ms",
                "Age of the utilization feed in milliseconds; -1 before the first fetch.",
                lambda: _milliseconds(gauges.snapshot_age()),
            ),
            (
                "ready_snapshot_age_seconds",
                "Seconds since the utilization feed was fetched; -1 before the first fetch.",
                gauges.snapshot_age,
            ),
            (
                "ready_allowlist_age_ms",
                "Age of the model catalog in milliseconds; -1 before the first fetch.",
                lambda: _milliseconds(gauges.allowlist_age()),
            ),
            (
                "ready_allowlist_age_seconds",
                "Seconds since the model catalog was fetched; -1 before the first fetch.",
                gauges.allowlist_age,
            ),
            ("ready_candidates", "Models that an alias can choose from.", gauges.candidates),
            ("ready_allowlist_size", "Models in the catalog.", gauges.allowlist_size),
            (
                "cooling_models",
                "Models that are cooling down after repeated failures.",
                gauges.cooling_models,
            ),
            (
                "sticky_entries",
                "Conversations whose model is remembered for stickiness.",
                gauges.sticky_entries,
            ),
        ):
            gauge = Gauge(f"chutes_autopilot_{name}", text, registry=self.registry)
            gauge.set_function(read)
        measured = Gauge(
            "chutes_autopilot_feed_data_age_seconds",
            "Seconds since the newest data of a feed was measured, as it says itself; -1 if it does"
            " not say.",
            ["feed"],
            registry=self.registry,
        )
        measured.labels("utilization").set_function(gauges.measured_age)

    def request(  # noqa: C901  a call costs every request
        self, record: RequestRecord, known_models: Container[str]
    ) -> None:
        """Count one finished request."""
        status, outcome = record.status or 0, record.outcome
        self._ends.values[record.endpoint, record.mode, status, record.code or "none", outcome] += 1
        if record.failovers:
            self._count_failed(record.failovers, known_models)
        if record.hedged is not None:
            self._hedged.values[record.hedged,] += 1
            dropped = record.dropped
            if dropped is not None and dropped.usage is not None:
                self._use(dropped, dropped.usage, known_models)
        if record.usage is not None:
            self._use(record, record.usage, known_models)
        if status and record.model is not None and outcome not in OWN_ERRORS:
            name = record.model
            model = name if name in known_models else self._label(name, known_models)
            selections = self._selection.values
            if len(selections) >= _MOST_SELECTIONS and (model, status) not in selections:
                model = _OTHER
            selections[model, status] += 1
            if record.reason is not None:
                broken = self._broken.values
                if len(broken) >= _MOST_SELECTIONS and (model, record.reason) not in broken:
                    model = _OTHER
                broken[model, record.reason] += 1
        # An inline copy of `Histogram.observe`, which saves three calls per request.
        if record.ttfb_ms is not None:
            histogram, value = self._first_byte, record.ttfb_ms / 1000.0
            histogram.counts[bisect_left(histogram.bounds, value)] += 1
            histogram.sum += value
        histogram, value = self._duration, record.duration_ms / 1000.0
        histogram.counts[bisect_left(histogram.bounds, value)] += 1
        histogram.sum += value
        attempts = record.attempts
        if attempts:
            histogram = self._attempts  # one belongs to the first bucket
            bucket = bisect_left(histogram.bounds, attempts) if attempts > 1 else 0
            histogram.counts[bucket] += 1
            histogram.sum += attempts
        self._relayed_bytes += record.bytes
        if not record.terminated and outcome not in BROKEN and outcome not in CLIENT_LEFT:
            self._unterminated.values[()] += 1

    def _count_failed(self, failovers: Sequence[Failover], known_models: Container[str]) -> None:
        """Count failed attempts."""
        for failover in failovers:
            self._failovers.values[failover.reason,] += 1
            if failover.usage is not None:
                self._use(failover, failover.usage, known_models)

    def _use(self, answer: Charged, usage: Usage, known_models: Container[str]) -> None:
        """Count the tokens of an answer, and what they cost."""
        model = answer.model or _OTHER
        if model not in known_models:
            model = self._label(model, known_models)
        used = self._used.get(model)
        if used is None:
            if len(self._used) >= _MOST_USED:
                model = _OTHER
            used = self._used.setdefault(model, _Used())
        used.prompt += usage.prompt or 0
        used.completion += usage.completion or 0
        if usage.cached:
            used.cached += usage.cached
        if usage.reasoning:
            used.reasoning += usage.reasoning
        if answer.cost_picodollars is not None:
            used.cost = answer.cost_picodollars + (used.cost or 0)

    def _label(self, name: str, known_models: Container[str]) -> str:
        """Return the label of a name that was sent as no model of the catalog is called."""
        model = self._means(name)
        return model if model in known_models else _OTHER

    def _fill(self) -> None:
        """Fill the counters that are kept elsewhere: a request adds to numbers at less cost."""
        self._lost.values[()] = sum(read() for read in self.lost_lines)
        self._relayed.values[()] = self._relayed_bytes
        tokens = self._tokens.values
        for model, used in self._used.items():
            tokens[model, "prompt"] = used.prompt
            tokens[model, "cached"] = used.cached
            tokens[model, "completion"] = used.completion
            tokens[model, "reasoning"] = used.reasoning
            if used.cost is not None:
                self._cost.values[model,] = used.cost

    def rejected(self, endpoint: str, error: RouterError) -> None:
        """Count a request that was refused at its head, before anything of it was planned."""
        status = error.status
        self._ends.values[endpoint or "none", "none", status, error.code, own_error(status)] += 1

    def refresh(self, feed: str, outcome: str, rejected: int) -> None:
        """Count a refresh of a feed."""
        self._refreshes.values[feed, outcome] += 1
        self._rejected.values[feed,] += rejected

    def text(self, totals: Totals | None = None) -> bytes:
        """Return the metrics in the text format of Prometheus, with the ``totals`` of workers."""
        self._fill()
        counted = "".join([instrument.exposition(totals) for instrument in self.instruments])
        registry: Any = self.registry if totals is None else MergedRegistry(self.registry, totals)
        return counted.encode("utf-8") + generate_latest(registry)

    def counted(self) -> Counted:
        """Return what has been counted, and what the gauges read, for a parent of this process."""
        self._fill()
        instruments = self.instruments
        counters = (self._ends, *(each for each in instruments if isinstance(each, Counter)))
        gauges = {each.name: each.samples() for each in instruments if isinstance(each, Readings)}
        return Counted(
            {each.name: list(cast("Any", each.values.items())) for each in counters},
            {
                each.name: (each.counts, each.sum)
                for each in instruments
                if isinstance(each, Histogram)
            },
            {**readings(self.registry), **gauges},
        )


def _milliseconds(age: float) -> float:
    return age if age < 0 else age * 1000
