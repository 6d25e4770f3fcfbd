"""The router's Prometheus metrics.

Label values come from fixed sets or from the catalog, never from what a client sent: a client
cannot create series. What has an age is computed when it is scraped.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from autopilot.observe.records import RequestRecord

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_FIRST_BYTE = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
_DURATION = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_ATTEMPTS = (1, 2, 3, 4, 6, 8)
_OTHER = "other"


@dataclass(frozen=True, slots=True)
class Gauges:
    """What is asked for at scrape time; ages in milliseconds, -1 when there is nothing to be
    old.
    """

    requests_active: Callable[[], float]
    snapshot_age_ms: Callable[[], float]
    allowlist_age_ms: Callable[[], float]
    candidates: Callable[[], float]
    allowlist_size: Callable[[], float]
    cooling_models: Callable[[], float]
    sticky_entries: Callable[[], float]


class Metrics:
    """Counts what the router does, in a registry of its own."""

    def __init__(self, version: str) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "chutes_autopilot_requests_total",
            "Requests answered, by status; 0 where the client left first.",
            ["status"],
            registry=registry,
        )
        self._selection = Counter(
            "chutes_autopilot_selection_total",
            "Responses relayed, by model and status.",
            ["model", "status"],
            registry=registry,
        )
        self._failovers = Counter(
            "chutes_autopilot_failover_reason_total",
            "Failed attempts, by reason.",
            ["reason"],
            registry=registry,
        )
        self._first_byte = Histogram(
            "chutes_autopilot_time_to_first_byte_seconds",
            "From the whole request to the first byte of its response.",
            buckets=_FIRST_BYTE,
            registry=registry,
        )
        self._duration = Histogram(
            "chutes_autopilot_request_duration_seconds",
            "From the whole request to the end of its response.",
            buckets=_DURATION,
            registry=registry,
        )
        self._attempts = Histogram(
            "chutes_autopilot_attempts",
            "Upstream attempts per request.",
            buckets=_ATTEMPTS,
            registry=registry,
        )
        self._relayed = Counter(
            "chutes_autopilot_relayed_bytes_total", "Body bytes relayed.", registry=registry
        )
        self._disconnects = Counter(
            "chutes_autopilot_client_disconnects_total",
            "Clients that left before their response was complete.",
            registry=registry,
        )
        self._interruptions = Counter(
            "chutes_autopilot_stream_interruptions_total",
            "Responses that broke after they had begun, by cause.",
            ["cause"],
            registry=registry,
        )
        self._unterminated = Counter(
            "chutes_autopilot_unterminated_streams_total",
            "Event streams that ended cleanly but without their terminator.",
            registry=registry,
        )
        self._refreshes = Counter(
            "chutes_autopilot_feed_refresh_total",
            "Refreshes of the feeds, by outcome.",
            ["feed", "outcome"],
            registry=registry,
        )
        self._rejected = Counter(
            "chutes_autopilot_feed_rejected_records_total",
            "Feed records that could not be read.",
            ["feed"],
            registry=registry,
        )
        info = Gauge("chutes_autopilot_build_info", "Always 1.", ["version"], registry=registry)
        info.labels(version).set(1)

    def watch(self, gauges: Gauges) -> None:
        """Ask these whenever the metrics are scraped."""
        for name, text, read in (
            ("requests_active", "Requests under way.", gauges.requests_active),
            (
                "ready_snapshot_age_ms",
                "Age of the utilization data; -1 when there is none.",
                gauges.snapshot_age_ms,
            ),
            (
                "ready_allowlist_age_ms",
                "Age of the catalog; -1 when there is none.",
                gauges.allowlist_age_ms,
            ),
            ("ready_candidates", "Models an alias can choose from.", gauges.candidates),
            ("ready_allowlist_size", "Models in the catalog.", gauges.allowlist_size),
            ("cooling_models", "Models that failed too often lately.", gauges.cooling_models),
            ("sticky_entries", "Clients and selectors remembered.", gauges.sticky_entries),
        ):
            gauge = Gauge(f"chutes_autopilot_{name}", text, registry=self._registry)
            gauge.set_function(read)

    def request(self, record: RequestRecord, known_models: Container[str]) -> None:
        """Count one finished request."""
        status = str(record.status or 0)
        self._requests.labels(status).inc()
        for reason in record.failovers:
            self._failovers.labels(reason).inc()
        if record.model is not None and record.outcome != "refused" and record.status:
            model = record.model if record.model in known_models else _OTHER
            self._selection.labels(model, status).inc()
        if record.first_byte is not None:
            self._first_byte.observe(record.first_byte)
        self._duration.observe(record.duration)
        if record.attempts:
            self._attempts.observe(record.attempts)
        self._relayed.inc(record.sent)
        self._count_outcome(record)

    def _count_outcome(self, record: RequestRecord) -> None:
        if record.outcome in ("client_gone", "client_stalled"):
            self._disconnects.inc()
        elif record.outcome not in ("completed", "refused"):
            self._interruptions.labels(record.outcome).inc()
        elif not record.terminated:
            self._unterminated.inc()

    def rejected_head(self, status: int) -> None:
        """Count a request that was refused before it was one."""
        self._requests.labels(str(status)).inc()

    def refresh(self, feed: str, outcome: str, rejected: int) -> None:
        """Count a refresh of a feed."""
        self._refreshes.labels(feed, outcome).inc()
        self._rejected.labels(feed).inc(rejected)

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)
