"""The sections of the page; ranking and charts have modules of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from autopilot.observability.records import FAILURES
from autopilot.web.status.charts import charts
from autopilot.web.status.formatting import (
    NONE,
    age,
    duration,
    evidence,
    number,
    plural,
    reason,
    state,
)
from autopilot.web.status.markup import Child, el
from autopilot.web.status.ranking import cooling_badge, ranking
from autopilot.web.status.tables import TableColumn, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from autopilot.attestation.evidence_poller import ModelEvidence
    from autopilot.feeds.readiness import FeedReport
    from autopilot.web.status.report import StatusReport

_RECENT_SHOWN = 10
_TEE_SHOWN = 6
_RECENT = (
    TableColumn("Model"),
    TableColumn("Outcome"),
    TableColumn("Mode"),
    TableColumn("Status", True),
    TableColumn("Attempts", True),
    TableColumn("First byte", True),
    TableColumn("Duration", True),
    TableColumn("Failover reasons"),
)
_EVIDENCE = (
    TableColumn("Model"),
    TableColumn("State"),
    TableColumn("Reason"),
    TableColumn("Fetched", True),
    TableColumn("Instances", True),
    TableColumn("Failed", True),
    TableColumn("GPUs", True),
    TableColumn("Certificate bound"),
    TableColumn("Nonces bound", True),
    TableColumn("Last error"),
)
_FEEDS = {"catalog": "Model catalog", "utilization": "Utilization"}


def sections(report: StatusReport) -> dict[str, Markup]:
    """Render the sections, keyed by id, in the order of the page."""
    return SectionCache()(report)


class SectionCache:
    """Renders the sections, and reuses the expensive ones until their data change."""

    def __init__(self) -> None:
        self._cache: dict[str, tuple[object, Markup]] = {}

    def __call__(self, report: StatusReport) -> dict[str, Markup]:
        """Render the sections, keyed by id, in the order of the page."""
        minutes = [
            (name, each.finding, each.missed, each.age and each.age // 60)
            for name, each in report.evidence.items()
        ]
        cooling = {
            name: age(seconds) if seconds else "" for name, seconds in report.cooling.items()
        }
        measured = report.first_content, report.throughput
        return {
            "state": _state(report),
            "numbers": _numbers(report),
            "ranking": self._cached(
                "ranking", (report.ranking, cooling, measured, minutes), lambda: ranking(report)
            ),
            "cooling": _cooling(report),
            "charts": self._cached("charts", report.window, lambda: charts(report.window)),
            "requests": self._cached(
                "requests", (report.recent, report.window), lambda: _requests(report)
            ),
            "evidence": self._cached("evidence", minutes, lambda: _evidence(report)),
        }

    def _cached(self, name: str, data: object, render: Callable[[], Markup]) -> Markup:
        cached = self._cache.get(name)
        if cached is None or cached[0] != data:
            cached = self._cache[name] = data, render()
        return cached[1]


def _state(report: StatusReport) -> Markup:
    """Render the readiness.

    A screen reader announces each change of this live region, so it contains no age or count.
    """
    readiness = report.readiness
    shown = state(readiness.code, readiness.message)
    return el(
        "section",
        el("h2", shown.title),
        el("p", shown.meaning),
        el("p", shown.advice, class_="advice") if readiness.code else None,
        id="state",
        class_="ready" if readiness.code is None else "not-ready",
        role="status",
        aria_live="polite",
    )


def _numbers(report: StatusReport) -> Markup:
    most = f"of {number(report.most_active, 0)} at most" if report.most_active else None
    return el(
        "section",
        el("h2", "Now", class_="unseen"),
        el(
            "dl",
            [_feed(each) for each in report.readiness.feeds],
            _tile("In flight", number(report.active, 0), most),
            _tile(
                "Candidates",
                number(report.readiness.candidates, 0),
                f"{len(report.cooling)} cooling down",
            ),
        ),
        id="numbers",
        class_="numbers",
    )


def _tile(term: str, value: Child, note: Child, kind: str | None = None) -> Markup:
    return el("div", el("dt", term), el("dd", value), el("dd", note, class_="note"), class_=kind)


def _feed(feed: FeedReport) -> Markup:
    seconds = None if feed.age_ms is None else feed.age_ms / 1000
    what = "models" if feed.name == "catalog" else "records"
    note: list[Child] = [
        f"{feed.state}, {number(feed.size, 0)} {what}, limit {age(feed.limit_ms / 1000)}",
    ]
    if feed.last_error is not None:
        note += [el("br"), el("span", f"Last error: {feed.last_error}", class_="error")]
    return _tile(f"{_FEEDS.get(feed.name, feed.name)} age", age(seconds), note, str(feed.state))


def _cooling(report: StatusReport) -> Markup:
    """List all models that are cooling down; in the ranking some are collapsed, or missing."""
    listed = [
        el("li", name, " ", cooling_badge(seconds))
        for name, seconds in sorted(report.cooling.items(), key=lambda each: (each[1], each[0]))
    ]
    return el(
        "section",
        [
            el("h2", "Cooling down", id="cooling-title"),
            el("p", "These failed several times in a row; until then they rank behind all others."),
            el("ul", listed),
        ]
        if listed
        else None,
        id="cooling",
        aria_labelledby="cooling-title" if listed else None,
        hidden=not listed,
    )


def _requests(report: StatusReport) -> Markup:
    window = report.window
    outcomes = el(
        "ul",
        [
            el("li", el("b", number(count, 0)), " ", el("span", outcome.replace("_", " ")))
            for outcome, count in window.outcomes
        ],
        class_="outcomes",
        aria_label="Requests of the last 30 minutes by outcome",
    )
    rows = [_request(record) for record in report.recent]
    return el(
        "section",
        el(
            "h2",
            "Requests ",
            el("small", f"{plural(window.whole.requests, 'request')} in 30 minutes"),
            id="requests-title",
        ),
        outcomes if window.outcomes else None,
        table("recent", "Last requests, newest first", _RECENT, rows, _RECENT_SHOWN, "requests")
        if rows
        else el("p", "No request has finished since the start.", class_="empty"),
        id="requests",
        aria_labelledby="requests-title",
    )


def _request(record: Mapping[str, Any]) -> list[Child]:
    reasons = ", ".join(str(each).replace("_", " ") for each in record["failovers"])
    outcome = str(record["outcome"])
    good = record["outcome"] not in FAILURES
    return [
        record["model"] or "none",
        el("span", outcome.replace("_", " "), class_="badge good" if good else "badge bad"),
        record["mode"] or NONE,
        record["status"] or NONE,
        record["attempts"],
        duration(record["first_byte"]),
        duration(record["duration"]),
        reasons or NONE,
    ]


def _evidence(report: StatusReport) -> Markup:
    asked = [
        (name, each) for name, each in report.evidence.items() if each.finding.state != "no-tee"
    ]
    others = len(report.evidence) - len(asked)
    rows = [_finding(name, each) for name, each in asked]
    about = (
        "Attestation evidence of the models that the catalog marks as running in a trusted "
        "execution environment (TEE). The router inspects it and does not verify it. "
    )
    without = f"Not marked: {plural(others, 'model')}." if others else None
    return el(
        "section",
        el("h2", "TEE evidence ", el("small", plural(len(rows), "model")), id="evidence-title"),
        el("p", about, without),
        table("tee", "Evidence by model", _EVIDENCE, rows, _TEE_SHOWN, "models") if rows else None,
        id="evidence",
        aria_labelledby="evidence-title",
    )


def _finding(name: str, known: ModelEvidence) -> list[Child]:
    finding = known.finding
    asked = known.age is not None
    seconds = None if known.age is None else known.age // 60 * 60
    return [
        name,
        el("span", evidence(finding.state), class_=f"badge {finding.state}"),
        reason(finding.reason),
        f"{age(seconds)} ago" if asked else "not yet",
        number(finding.instances, 0) if asked else NONE,
        number(finding.failed, 0) if asked else NONE,
        number(finding.gpus, 0) if asked else NONE,
        {True: "yes", False: "no", None: NONE}[finding.certificate_bound if asked else None],
        number(finding.nonces_bound, 0) if asked else NONE,
        reason(known.missed),
    ]
