"""The sections of the page; ranking, charts, tokens and requests have modules of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from autopilot.feeds.polling import CATALOG, UTILIZATION
from autopilot.feeds.readiness import FeedState
from autopilot.web.status.charts import charts
from autopilot.web.status.edge import edge
from autopilot.web.status.fallbacks import fallbacks
from autopilot.web.status.formatting import (
    Formatted,
    age,
    count,
    evidence,
    model_name,
    plural,
    reason,
    state,
)
from autopilot.web.status.keys import keys
from autopilot.web.status.markup import SLOT, Cell, Child, Template, el, tile
from autopilot.web.status.private import private
from autopilot.web.status.ranking import COOLING_BADGE, cooling_text, ranking
from autopilot.web.status.requests import Shown, requests
from autopilot.web.status.routes import routes
from autopilot.web.status.sharing import sharing
from autopilot.web.status.tables import DASH, MAX_ROWS, Table, TableColumn, remainder
from autopilot.web.status.tokens import tokens
from autopilot.web.status.workers import alone, workers

if TYPE_CHECKING:
    from autopilot.attestation.evidence_poller import ModelEvidence
    from autopilot.feeds.readiness import FeedReport
    from autopilot.web.status.report import StatusReport

_TEE_SHOWN = 6
_BADGE = el("span", SLOT, class_=f"badge {SLOT}")
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
_FEEDS = {CATALOG: "Model catalog", UTILIZATION: "Utilization"}
_FEED_NOTES = {
    FeedState.ABSENT: "waiting for the first fetch",
    FeedState.EMPTY: "no usable model in it",
    FeedState.FRESH: "fresh up to {limit}",
    FeedState.STALE: "older than its limit of {limit}",
}


def sections(report: StatusReport) -> dict[str, Markup]:
    """Render the sections, keyed by id, in the order of the page."""
    return {
        "state": _state(report),
        "alone": alone(report.alone),
        "numbers": _numbers(report),
        "ranking": ranking(report),
        "routes": routes(report.routes),
        "fallbacks": fallbacks(
            report.fallbacks, report.cooling, report.first_content, report.throughput
        ),
        "cooling": _cooling(report),
        "charts": charts(report.window),
        "tokens": tokens(report.window),
        "workers": workers(report.workers),
        "sharing": sharing(report.sharing),
        "keys": keys(report.keys),
        "edge": edge(report.edge),
        "requests": requests(report, Shown.ALL),
        "private": private(report.private),
        "evidence": _evidence(report),
    }


def _state(report: StatusReport) -> Markup:
    """Render the readiness.

    A screen reader announces each change of this live region, so it contains no age or count.
    """
    readiness = report.readiness
    shown = state(readiness)
    code = readiness.code
    return el(
        "section",
        el("h2", shown.title),
        el("p", shown.meaning),
        el("p", shown.advice, class_="advice") if code else None,
        el("p", "Code on /readyz: ", el("code", code), class_="code") if code else None,
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
            tile("In flight", count(report.active), most),
            tile(
                "Candidates",
                count(report.readiness.candidates),
                f"{len(report.cooling)} cooling down",
            ),
        ),
        id="numbers",
        class_="numbers",
    )


def _feed(feed: FeedReport) -> Markup:
    limit = age(feed.limit_ms / 1000)
    note: list[Child] = [_FEED_NOTES[feed.state].format(limit=limit)]
    if feed.data_age_ms is not None:
        note += [el("br"), f"measured {age(feed.data_age_ms / 1000)} ago"]
    if feed.size:
        what = "model" if feed.name == CATALOG else "record"
        note += [el("br"), plural(feed.size, what)]
    if feed.last_error is not None:
        note += [el("br"), el("span", f"Last error: {feed.last_error}", class_="error")]
    fetched = "not yet" if feed.age_ms is None else f"{age(feed.age_ms / 1000)} ago"
    return tile(f"{_FEEDS.get(feed.name, feed.name)} fetched", fetched, note, feed.state)


def _cooling(report: StatusReport) -> Markup:
    """List the models that are cooling down; in the ranking some are collapsed, or missing."""
    cooling = sorted((seconds, name) for name, seconds in report.cooling.items())
    listed = [(model_name(name), cooling_text(seconds)) for seconds, name in cooling[:MAX_ROWS]]
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
            model_name(name),
            Formatted(state),
            words,
            reason(finding.reason) if finding.reason else DASH,
            *_NOT_YET,
        )
    return (
        model_name(name),
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
