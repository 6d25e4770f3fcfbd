"""The sections of the page beside ranking and charts: state, numbers, feeds, requests, evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from autopilot.web.status.charts import charts
from autopilot.web.status.markup import Child, el
from autopilot.web.status.ranking import cooling_badge, ranking
from autopilot.web.status.tables import Column, table
from autopilot.web.status.words import NONE, age, duration, evidence, number, plural, reason, state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from autopilot.attestation.evidence_poller import ModelEvidence
    from autopilot.feeds.readiness import FeedReport
    from autopilot.web.status.facts import Facts

_RECENT_SHOWN = 10
_TEE_SHOWN = 6
_RECENT = (
    Column("Model"),
    Column("Outcome"),
    Column("Mode"),
    Column("Status", True),
    Column("Attempts", True),
    Column("First byte", True),
    Column("Duration", True),
    Column("Failed over because of"),
)
_EVIDENCE = (
    Column("Model"),
    Column("State"),
    Column("Reason"),
    Column("Asked", True),
    Column("Instances", True),
    Column("Failed", True),
    Column("GPUs", True),
    Column("Certificate bound"),
    Column("Nonces bound", True),
    Column("Last error"),
)
_FEEDS = {"catalog": "Model catalog", "utilization": "Utilization"}


def sections(facts: Facts) -> dict[str, Markup]:
    """Every section by its id, in the order of the page."""
    return Sections()(facts)


class Sections:
    """Renders the sections, and keeps each until what it shows has changed."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[object, Markup]] = {}

    def __call__(self, facts: Facts) -> dict[str, Markup]:
        """Every section by its id, in the order of the page."""
        minutes = [
            (name, each.finding, each.missed, each.age and each.age // 60)
            for name, each in facts.evidence.items()
        ]
        cooling = {name: age(seconds) if seconds else "" for name, seconds in facts.cooling.items()}
        measured = facts.first_content, facts.throughput
        return {
            "state": _state(facts),
            "numbers": _numbers(facts),
            "ranking": self._draw(
                "ranking", (facts.ranking, cooling, measured, minutes), lambda: ranking(facts)
            ),
            "cooling": _cooling(facts),
            "charts": self._draw("charts", facts.past, lambda: charts(facts.past)),
            "requests": self._draw(
                "requests", (facts.recent, facts.past), lambda: _requests(facts)
            ),
            "evidence": self._draw("evidence", minutes, lambda: _evidence(facts)),
        }

    def _draw(self, name: str, shown: object, draw: Callable[[], Markup]) -> Markup:
        kept = self._kept.get(name)
        if kept is None or kept[0] != shown:
            kept = self._kept[name] = shown, draw()
        return kept[1]


def _state(facts: Facts) -> Markup:
    """The one section that is read aloud when it changes; so no age or count stands in it."""
    readiness = facts.readiness
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


def _numbers(facts: Facts) -> Markup:
    most = f"of {number(facts.most_active, 0)} at most" if facts.most_active else None
    return el(
        "section",
        el("h2", "Now", class_="unseen"),
        el(
            "dl",
            [_feed(each) for each in facts.readiness.feeds],
            _tile("In flight", number(facts.active, 0), most),
            _tile(
                "Candidates",
                number(facts.readiness.candidates, 0),
                f"{len(facts.cooling)} cooling down",
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


def _cooling(facts: Facts) -> Markup:
    """Who is cooling down, of all models: some are behind a disclosure, or not in the ranking."""
    listed = [
        el("li", name, " ", cooling_badge(seconds))
        for name, seconds in sorted(facts.cooling.items(), key=lambda each: (each[1], each[0]))
    ]
    return el(
        "section",
        [
            el("h2", "Cooling down", id="cooling-title"),
            el("p", "These failed several times in a row and go behind all others meanwhile."),
            el("ul", listed),
        ]
        if listed
        else None,
        id="cooling",
        aria_labelledby="cooling-title" if listed else None,
        hidden=not listed,
    )


def _requests(facts: Facts) -> Markup:
    past = facts.past
    outcomes = el(
        "ul",
        [
            el("li", el("b", number(count, 0)), " ", el("span", outcome.replace("_", " ")))
            for outcome, count in past.outcomes
        ],
        class_="outcomes",
        aria_label="Requests of the last 30 minutes by outcome",
    )
    rows = [_request(record) for record in facts.recent]
    return el(
        "section",
        el(
            "h2",
            "Requests ",
            el("small", f"{plural(past.whole.requests, 'request')} in 30 minutes"),
            id="requests-title",
        ),
        outcomes if past.outcomes else None,
        table("recent", "Last requests, newest first", _RECENT, rows, _RECENT_SHOWN, "requests")
        if rows
        else el("p", "No request has been finished since the start.", class_="empty"),
        id="requests",
        aria_labelledby="requests-title",
    )


def _request(record: Mapping[str, Any]) -> list[Child]:
    reasons = ", ".join(str(each).replace("_", " ") for each in record["failovers"])
    outcome = str(record["outcome"])
    good = outcome == "completed" and (record["status"] or 0) < 400
    return [
        record["model"] or "none chosen",
        el("span", outcome.replace("_", " "), class_="badge good" if good else "badge bad"),
        record["mode"] or NONE,
        record["status"] or NONE,
        record["attempts"],
        duration(record["first_byte"]),
        duration(record["duration"]),
        reasons or NONE,
    ]


def _evidence(facts: Facts) -> Markup:
    asked = [
        (name, each) for name, each in facts.evidence.items() if each.finding.state != "no-tee"
    ]
    others = len(facts.evidence) - len(asked)
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
