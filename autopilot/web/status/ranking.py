"""The section of the ranking, with the terms of each score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from autopilot.web.status.formatting import NONE, age, duration, evidence, number, percent, plural
from autopilot.web.status.markup import Child, el
from autopilot.web.status.tables import TableColumn, table

if TYPE_CHECKING:
    from autopilot.routing.ranking import Ranked
    from autopilot.web.status.report import StatusReport

_SHOWN = 12
_COLUMNS = (
    TableColumn("Model"),
    TableColumn("Score", meaning="free + bonus − penalty"),
    TableColumn("Free", True, "instances × idle share"),
    TableColumn("Bonus", True, "0.05 for each instance that the platform may still start, up to 8"),
    TableColumn("Penalty", True, "instances × rate-limited share × 2"),
    TableColumn("Busy", True, "utilization, weighted over the last hour"),
    TableColumn("Rate-limited", True, "share of requests that the platform rate-limited"),
    TableColumn("Instances", True),
    TableColumn("First byte", True, "measured by this router, averaged over the last half hour"),
    TableColumn("Tokens/s", True, "measured by this router, averaged over the last half hour"),
    TableColumn("TEE evidence"),
)


def ranking(report: StatusReport) -> Markup:
    """Render the section of the ranking."""
    ranked = report.ranking
    return el(
        "section",
        el("h2", "Ranking ", el("small", plural(len(ranked), "model")), id="ranking-title"),
        [_why(report), _legend(), _table(report)]
        if ranked
        else el("p", "No model is eligible; see the top of this page.", class_="empty"),
        id="ranking",
        aria_labelledby="ranking-title",
    )


def _why(report: StatusReport) -> Markup:
    """Explain the first model's score in a sentence."""
    first, *others = report.ranking
    ahead = first.score - others[0].score if others else None
    return el(
        "p",
        el("b", first.name),
        " is first: ",
        f"{number(first.free)} free instances + {number(first.bonus)} for scaling "
        f"− {number(first.penalty)} for rate-limited requests = ",
        el("b", number(first.score)),
        "." if ahead is None else f", {number(ahead)} ahead of the next.",
        " It is cooling down, so the next one is tried before it."
        if report.cooling.get(first.name)
        else None,
        class_="why",
    )


def _legend() -> Markup:
    return el(
        "p",
        [
            (el("i", class_=f"key {kind}", aria_hidden="true"), word, " ")
            for kind, word in (("free", "free"), ("bonus", "bonus"), ("penalty", "penalty"))
        ],
        el("span", "The penalty is the red end of a bar.", class_="note"),
        class_="legend",
    )


def _table(report: StatusReport) -> Markup:
    most = max(max(each.free + each.bonus, each.penalty) for each in report.ranking) or 1.0
    rows = [_row(place, each, most, report) for place, each in enumerate(report.ranking, 1)]
    return table(
        "models",
        "Models by score, best first",
        _COLUMNS,
        rows,
        _SHOWN,
        "models",
    )


def _row(place: int, ranked: Ranked, most: float, report: StatusReport) -> list[Child]:
    name = ranked.name
    throughput = report.throughput.get(name)
    known = report.evidence.get(name)
    state = NONE if known is None else str(known.finding.state)
    return [
        _name(place, name, report.cooling.get(name)),
        el("span", el("b", number(ranked.score)), _bar(ranked, most), class_="score"),
        number(ranked.free),
        number(ranked.bonus),
        number(-ranked.penalty),
        percent(ranked.util),
        percent(ranked.rate_limit),
        number(ranked.active_instance_count, 0),
        duration(report.first_content.get(name)),
        number(throughput, 0 if throughput is None or throughput >= 10 else 1),
        el("span", evidence(state), class_=f"badge {state}"),
    ]


def _name(place: int, name: str, cooling: float | None) -> Markup:
    """Render rank and name, with the owner less prominent than the model."""
    owner, slash, model = name.rpartition("/")
    return el(
        "span",
        el("span", place, class_="place"),
        el(
            "span",
            el("span", owner, slash, class_="owner") if owner else None,
            el("span", model, class_="model"),
            None if cooling is None else cooling_badge(cooling),
            class_="name",
        ),
        class_="placed",
    )


def cooling_badge(seconds: float) -> Markup:
    """Render how long a model still ranks behind all others."""
    text = f"cooling for {age(seconds)}" if seconds > 0 else "cooling: next request probes it"
    return el("span", text, class_="badge cooling")


def _bar(ranked: Ranked, most: float) -> Markup:
    """Draw the terms of a score as a bar, hidden from screen readers: the table has the numbers."""
    free, bonus, penalty = (
        100 * part / most for part in (ranked.free, ranked.bonus, ranked.penalty)
    )
    end = free + bonus
    lost = min(penalty, end)
    pieces = (
        ("free", 0.0, free),
        ("bonus", free, bonus),
        ("penalty", end - lost, lost if end else penalty),
    )
    return el(
        "svg",
        [
            el("rect", class_=kind, x=f"{at:.2f}", width=f"{width:.2f}", height="8")
            for kind, at, width in pieces
            if width > 0
        ],
        class_="bar",
        viewBox="0 0 100 8",
        preserveAspectRatio="none",
        aria_hidden="true",
        focusable="false",
    )
