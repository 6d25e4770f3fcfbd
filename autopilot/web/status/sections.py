"""The sections of the page; ranking and charts have modules of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from autopilot.observability.records import FAILURES
from autopilot.web.status.charts import charts
from autopilot.web.status.formatting import (
    Formatted,
    age,
    count,
    duration,
    escaped,
    evidence,
    plural,
    reason,
    state,
)
from autopilot.web.status.markup import SLOT, Cell, Child, Template, el
from autopilot.web.status.ranking import COOLING_BADGE, cooling_text, ranking
from autopilot.web.status.tables import DASH, MAX_ROWS, Table, TableColumn, remainder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from autopilot.attestation.evidence_poller import ModelEvidence
    from autopilot.feeds.readiness import FeedReport
    from autopilot.web.status.report import StatusReport

_RECENT_SHOWN = 10
_TEE_SHOWN = 6
_BADGE = el("span", SLOT, class_=f"badge {SLOT}")
_RECENT = Table(
    "recent",
    "Last requests, newest first",
    (
        TableColumn("Model"),
        TableColumn("Outcome", cell=_BADGE),
        TableColumn("Mode"),
        TableColumn("Status", True),
        TableColumn("Attempts", True),
        TableColumn("First byte", True),
        TableColumn("Duration", True),
        TableColumn("Failover reasons"),
    ),
)
_EVIDENCE = Table(
    "tee",
    "Evidence by model",
    (
        TableColumn("Model"),
        TableColumn("State", cell=_BADGE),
        TableColumn("Reason"),
        TableColumn("Fetched", True),
        TableColumn("Instances", True),
        TableColumn("Failed", True),
        TableColumn("GPUs", True),
        TableColumn("Certificate bound"),
        TableColumn("Nonces bound", True),
        TableColumn("Last error"),
    ),
)
_COOLING = Template(el("li", SLOT, " ", COOLING_BADGE))
_BOUND: dict[bool | None, Cell] = {True: Formatted("yes"), False: Formatted("no"), None: DASH}
_NOT_YET: tuple[Cell, ...] = (Formatted("not yet"), *[DASH] * 6)
_FEEDS = {"catalog": "Model catalog", "utilization": "Utilization"}


def sections(report: StatusReport) -> dict[str, Markup]:
    """Render the sections, keyed by id, in the order of the page."""
    return {
        "state": _state(report),
        "numbers": _numbers(report),
        "ranking": ranking(report),
        "cooling": _cooling(report),
        "charts": charts(report.window),
        "requests": _requests(report),
        "evidence": _evidence(report),
    }


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
    most = f"of {count(report.most_active)} at most" if report.most_active else None
    return el(
        "section",
        el("h2", "Now", class_="unseen"),
        el(
            "dl",
            [_feed(each) for each in report.readiness.feeds],
            _tile("In flight", count(report.active), most),
            _tile(
                "Candidates",
                count(report.readiness.candidates),
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
        f"{feed.state}, {count(feed.size)} {what}, limit {age(feed.limit_ms / 1000)}",
    ]
    if feed.last_error is not None:
        note += [el("br"), el("span", f"Last error: {feed.last_error}", class_="error")]
    return _tile(f"{_FEEDS.get(feed.name, feed.name)} age", age(seconds), note, str(feed.state))


def _cooling(report: StatusReport) -> Markup:
    """List the models that are cooling down; in the ranking some are collapsed, or missing."""
    cooling = sorted((seconds, name) for name, seconds in report.cooling.items())
    listed = [(escaped(name), cooling_text(seconds)) for seconds, name in cooling[:MAX_ROWS]]
    return el(
        "section",
        [
            el("h2", "Cooling down", id="cooling-title"),
            el("p", "These failed several times in a row; until then they rank behind all others."),
            el("ul", _COOLING.fill(listed)),
            remainder(len(cooling) - len(listed), "models"),
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
            el("li", el("b", count(times)), " ", el("span", outcome.replace("_", " ")))
            for outcome, times in window.outcomes
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
        _RECENT.render(rows, _RECENT_SHOWN, "requests")
        if rows
        else el("p", "No request has finished since the start.", class_="empty"),
        id="requests",
        aria_labelledby="requests-title",
    )


def _request(record: Mapping[str, Any]) -> tuple[Cell, ...]:
    reasons = ", ".join(str(each).replace("_", " ") for each in record["failovers"])
    outcome = str(record["outcome"])
    return (
        escaped(record["model"] or "none"),
        Formatted("bad" if record["outcome"] in FAILURES else "good"),
        escaped(outcome.replace("_", " ")),
        escaped(record["mode"]) if record["mode"] else DASH,
        escaped(record["status"]) if record["status"] else DASH,
        escaped(record["attempts"]),
        duration(record["first_byte"]),
        duration(record["duration"]),
        escaped(reasons) if reasons else DASH,
    )


def _evidence(report: StatusReport) -> Markup:
    marked = report.evidence.marked
    others = len(report.evidence) - len(marked)
    rows = [_finding(name, report.evidence[name]) for name in marked[:MAX_ROWS]]
    about = (
        "Attestation evidence of the models that the catalog marks as running in a trusted "
        "execution environment (TEE). The router inspects it and does not verify it. "
    )
    without = f"Not marked: {plural(others, 'model')}." if others else None
    return el(
        "section",
        el("h2", "TEE evidence ", el("small", plural(len(marked), "model")), id="evidence-title"),
        el("p", about, without),
        _EVIDENCE.render(rows, _TEE_SHOWN, "models", len(marked) - len(rows)) if rows else None,
        id="evidence",
        aria_labelledby="evidence-title",
    )


def _finding(name: str, known: ModelEvidence) -> tuple[Cell, ...]:
    finding, age_seconds = known.finding, known.age
    state, words = finding.state, evidence(finding.state)
    if age_seconds is None:
        return (
            escaped(name),
            Formatted(state),
            words,
            reason(finding.reason) if finding.reason else DASH,
            *_NOT_YET,
        )
    return (
        escaped(name),
        Formatted(state),
        words,
        reason(finding.reason) if finding.reason else DASH,
        Formatted(f"{age(age_seconds // 60 * 60)} ago"),
        count(finding.instances),
        count(finding.failed),
        count(finding.gpus),
        _BOUND[finding.certificate_bound],
        count(finding.nonces_bound),
        reason(known.missed) if known.missed else DASH,
    )
