"""Tests of the Prometheus metrics."""

from __future__ import annotations

from collections.abc import Container

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from autopilot.observability.metrics import Gauges, Metrics
from autopilot.observability.records import DroppedCall, Failover, Outcome, RequestRecord
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.router_error import RouterError
from autopilot.routing.usage import Usage
from tests.unit.observability.records import record, refused

TOO_LARGE = RouterError(431, "head_too_large", "Too large.")
BROKEN = {"outcome": Outcome.UPSTREAM_BROKEN, "reason": FailureReason.CUT}
PREFIX = "chutes_autopilot_"
KEPT_FOR_DASHBOARDS = {
    "requests_active",
    "requests_total",
    "ready_snapshot_age_ms",
    "ready_allowlist_age_ms",
    "ready_candidates",
    "ready_allowlist_size",
    "selection_total",
    "failover_reason_total",
}
NEW = {
    "time_to_first_byte_seconds_bucket",
    "request_duration_seconds_bucket",
    "attempts_bucket",
    "responses_total",
    "outcomes_total",
    "broken_streams_total",
    "relayed_bytes_total",
    "tokens_total",
    "cost_dollars_total",
    "client_disconnects_total",
    "stream_interruptions_total",
    "feed_refresh_total",
    "feed_rejected_records_total",
    "feed_data_age_seconds",
    "ready_snapshot_age_seconds",
    "ready_allowlist_age_seconds",
    "cooling_models",
    "buffered_bytes",
    "sticky_entries",
    "build_info",
}


class MetricsTests(SynchronousTestCase):
    """The metrics and their names."""

    def setUp(self) -> None:
        """Create metrics with constant gauges."""
        self.metrics = Metrics("1.2.3")
        self.age = -1.0
        self.metrics.watch(
            Gauges(
                requests_active=lambda: 1,
                buffered_bytes=lambda: 8,
                snapshot_age=lambda: self.age,
                allowlist_age=lambda: 3,
                measured_age=lambda: 9,
                candidates=lambda: 4,
                allowlist_size=lambda: 5,
                cooling_models=lambda: 6,
                sticky_entries=lambda: 7,
            )
        )

    def samples(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Return every sample by its name without prefix and its labels."""
        return {
            (sample.name.removeprefix(PREFIX), tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(self.metrics.text().decode())
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        """Return the value of one sample."""
        return self.samples().get((name, tuple(sorted(labels.items()))))

    def count(self, *records: RequestRecord, known: Container[str] = ("m",)) -> None:
        """Count finished requests."""
        for each in records:
            self.metrics.request(each, known)

    def test_names(self) -> None:
        """All names exist, those of existing dashboards included (contract §10)."""
        reported = record(usage=Usage(9, 4, 2, 1), cost_picodollars=7)
        self.count(record(failovers=("status_503",)), record(**BROKEN), refused(), reported)
        self.metrics.refresh("models", "ok", 2)
        names = {name for name, _ in self.samples()}
        self.assertEqual((KEPT_FOR_DASHBOARDS | NEW) - names, set())

    def test_gauges(self) -> None:
        """Gauges are read at each scrape."""
        self.assertEqual(self.value("ready_snapshot_age_ms"), -1)
        self.assertEqual(self.value("ready_snapshot_age_seconds"), -1)
        self.age = 2.0
        for name, value in (
            ("requests_active", 1),
            ("buffered_bytes", 8),
            ("ready_snapshot_age_ms", 2000),
            ("ready_snapshot_age_seconds", 2),
            ("ready_allowlist_age_ms", 3000),
            ("ready_allowlist_age_seconds", 3),
            ("ready_candidates", 4),
            ("ready_allowlist_size", 5),
            ("cooling_models", 6),
            ("sticky_entries", 7),
        ):
            self.assertEqual(self.value(name), value, name)
        self.assertEqual(self.value("feed_data_age_seconds", feed="utilization"), 9)
        self.assertEqual(self.value("build_info", version="1.2.3"), 1)

    def test_process(self) -> None:
        """Holds of the reactor are a histogram; lost lines are read from what lost them."""
        self.metrics.lost_lines += [lambda: 2, lambda: 3]
        self.metrics.held.observe(0.02)
        self.assertEqual(self.value("log_lines_lost_total"), 5)
        self.assertEqual(self.value("log_lines_lost_total"), 5)
        self.assertEqual(self.value("reactor_held_seconds_bucket", le="0.01"), 0)
        self.assertEqual(self.value("reactor_held_seconds_bucket", le="0.025"), 1)

    def test_tokens(self) -> None:
        """Tokens and their cost are counted by model, those of failed attempts under their own."""
        cent = 10_000_000_000
        failed = Failover("n", FailureReason.GAVE_UP, 200, 1.0, Usage(5, None, 1), 3 * cent)
        self.count(
            record(usage=Usage(100, 60, 20, 5), cost_picodollars=cent),
            record(usage=Usage(10, None, 2), cost_picodollars=None, failovers=(failed,)),
            record(usage=Usage(None, None, 2), cost_picodollars=2, model="unlisted"),
            record(usage=Usage(1), cost_picodollars=None, model=None),
            record(),
            known=("m", "n"),
        )
        for model, counts in (
            ("m", (110, 60, 22, 5)),
            ("n", (5, 0, 1, 0)),
            ("other", (1, 0, 2, 0)),
        ):
            for kind, value in zip(
                ("prompt", "cached", "completion", "reasoning"), counts, strict=True
            ):
                self.assertEqual(self.value("tokens_total", model=model, kind=kind), value)
        for model, dollars in (("m", 0.01), ("n", 0.03), ("other", 2e-12)):
            self.assertEqual(self.value("cost_dollars_total", model=model), dollars)

    def test_names_with_a_suffix(self) -> None:
        """What was sent counts for the model that it means; no name makes a series of its own."""
        self.metrics = Metrics("1.2.3", lambda name: name.partition(":")[0])
        usage = Usage(7, 1, 2, 0)
        for name in ("m:THINKING", "m", "x:THINKING", "x"):
            self.count(record(model=name, usage=usage, cost_picodollars=10**12, **BROKEN))
        for model in ("m", "other"):
            self.assertEqual(self.value("tokens_total", model=model, kind="prompt"), 14)
            self.assertEqual(self.value("cost_dollars_total", model=model), 2)
            self.assertEqual(self.value("selection_total", model=model, status="200"), 2)
        models = {value for _, labels in self.samples() for key, value in labels if key == "model"}
        self.assertEqual(models, {"m", "other"})

    def test_series_of_tokens(self) -> None:
        """A catalog that keeps changing does not create series without limit."""
        usage = Usage(1, 1, 1, 1)
        for number in range(600):
            name = f"m{number}"
            self.count(record(model=name, usage=usage, cost_picodollars=1), known=(name,))
        series = [labels for name, labels in self.samples() if name == "tokens_total"]
        self.assertEqual(len(series), 2004)
        self.assertEqual(self.value("tokens_total", model="other", kind="prompt"), 100)
        self.assertEqual(self.value("cost_dollars_total", model="other"), 100e-12)

    def test_requests(self) -> None:
        """Requests are counted by status, with 0 for clients that disconnected before it."""
        self.count(record(), record(), refused(), record(status=None, outcome=Outcome.CLIENT_GONE))
        self.metrics.rejected("", TOO_LARGE)
        for status, count in (("200", 2), ("400", 1), ("0", 1), ("431", 1)):
            self.assertEqual(self.value("requests_total", status=status), count, status)

    def test_responses(self) -> None:
        """Responses are counted by endpoint, mode, status and code of the router's own error."""
        chat, messages = "/v1/chat/completions", "/v1/messages"
        gone = record(status=None, outcome=Outcome.CLIENT_GONE)
        self.count(record(), record(), refused(endpoint=messages), gone)
        self.metrics.rejected("", TOO_LARGE)
        self.metrics.rejected(chat, RouterError(401, "missing_key", "No key."))
        for endpoint, mode, status, code, count in (
            (chat, "alias", "200", "none", 2),
            (messages, "none", "400", "unknown_model", 1),
            (chat, "alias", "0", "none", 1),
            ("none", "none", "431", "head_too_large", 1),
            (chat, "none", "401", "missing_key", 1),
        ):
            labels = {"endpoint": endpoint, "mode": mode, "status": status, "code": code}
            self.assertEqual(self.value("responses_total", **labels), count, labels)

    def test_selection(self) -> None:
        """Relayed responses are counted by model and status; other requests are not."""
        self.count(
            record(),
            record(status=503),
            refused(model="m", status=502),
            record(status=None, outcome=Outcome.CLIENT_GONE),
        )
        self.assertEqual(self.value("selection_total", model="m", status="200"), 1)
        self.assertEqual(self.value("selection_total", model="m", status="503"), 1)
        self.assertIsNone(self.value("selection_total", model="m", status="502"))
        self.assertIsNone(self.value("selection_total", model="m", status="0"))

    def test_clients_create_no_series(self) -> None:
        """Names outside the catalog share one label value."""
        before = len(self.samples())
        self.count(*(record(model=f"made-up-{number}") for number in range(500)))
        self.assertEqual(self.value("selection_total", model="other", status="200"), 500)
        self.assertLess(len(self.samples()), before + 10)
        self.count(record(), known=())
        self.assertEqual(self.value("selection_total", model="other", status="200"), 501)

    def test_models_come_and_go(self) -> None:
        """The number of series is bounded when the catalog keeps changing."""
        for number in range(5000):
            self.metrics.request(record(model=f"m-{number}"), {f"m-{number}"})
        self.assertLess(len(self.samples()), 2100)
        self.assertEqual(self.value("selection_total", model="other", status="200"), 3000)
        self.metrics.request(record(model="m-0"), {"m-0"})
        self.assertEqual(self.value("selection_total", model="m-0", status="200"), 2)

    def test_broken_streams(self) -> None:
        """Broken answers are counted by model and reason, and their number of series is bounded."""
        self.count(record(**BROKEN), record(model="made up", **BROKEN), record())
        for model in ("m", "other"):
            self.assertEqual(self.value("broken_streams_total", model=model, reason="cut"), 1)
        for number in range(3000):
            self.metrics.request(record(model=f"m-{number}", **BROKEN), {f"m-{number}"})
        self.assertLess(len(self.samples()), 4200)

    def test_failovers(self) -> None:
        """Failed attempts are counted by reason."""
        self.count(record(failovers=("status_503", "status_503", "connect_error")))
        self.assertEqual(self.value("failover_reason_total", reason="status_503"), 2)
        self.assertEqual(self.value("failover_reason_total", reason="connect_error"), 1)

    def test_hedged(self) -> None:
        """Second attempts are counted by how they ended; a request without one is not."""
        dropped = DroppedCall("n", 200, 1.0, Usage(5, None, 1), 10**12)
        self.count(record(), record(hedged="lost"), record(hedged="lost"), known=("m", "n"))
        self.count(record(hedged="won", dropped=dropped), known=("m", "n"))
        self.assertEqual(self.value("tokens_total", model="n", kind="prompt"), 5)
        self.assertEqual(self.value("cost_dollars_total", model="n"), 1)
        self.assertEqual(self.value("hedged_requests_total", outcome="lost"), 2)
        self.assertEqual(self.value("hedged_requests_total", outcome="won"), 1)

    def test_times_and_sizes(self) -> None:
        """The histograms count known values; a request without attempts has none."""
        self.count(record(), refused(bytes=0))
        self.assertEqual(self.value("time_to_first_byte_seconds_count"), 1)
        self.assertEqual(self.value("request_duration_seconds_count"), 2)
        self.assertEqual(self.value("request_duration_seconds_sum"), 4.0)
        self.assertEqual(self.value("attempts_count"), 1)
        self.assertEqual(self.value("relayed_bytes_total"), 42)

    def test_outcomes(self) -> None:
        """Disconnects, broken responses and unterminated streams are counted."""
        self.count(
            record(),
            refused(),
            record(outcome=Outcome.CLIENT_GONE, terminated=False),
            record(outcome=Outcome.CLIENT_STALLED),
            record(outcome=Outcome.UPSTREAM_IDLE, terminated=False),
            record(terminated=False),
        )
        self.assertEqual(self.value("client_disconnects_total"), 2)
        self.assertEqual(self.value("stream_interruptions_total", cause="upstream_idle"), 1)
        self.assertEqual(self.value("unterminated_streams_total"), 1)
        for outcome, count in (
            ("completed", 2),
            ("refused", 1),
            ("client_gone", 1),
            ("client_stalled", 1),
            ("upstream_idle", 1),
        ):
            self.assertEqual(self.value("outcomes_total", outcome=outcome), count, outcome)

    def test_feeds(self) -> None:
        """Refreshes are counted by outcome, and rejected records by feed."""
        self.metrics.refresh("models", "ok", 2)
        self.metrics.refresh("models", "failed", 0)
        self.assertEqual(self.value("feed_refresh_total", feed="models", outcome="ok"), 1)
        self.assertEqual(self.value("feed_refresh_total", feed="models", outcome="failed"), 1)
        self.assertEqual(self.value("feed_rejected_records_total", feed="models"), 2)
