"""The section of the ranking, with the terms of each score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from autopilot.attestation.evidence_state import EvidenceState
from autopilot.web.status.formatting import (
    OWNER_END,
    Formatted,
    age,
    count,
    duration,
    evidence,
    model_name,
    number,
    percent,
    plural,
)
from autopilot.web.status.markup import NUMBER, SLOT, Cell, Child, Template, el, join
from autopilot.web.status.tables import DASH, MAX_ROWS, MINUS, Table, TableColumn

if TYPE_CHECKING:
    from autopilot.routing.ranking import Ranked
    from autopilot.web.status.report import StatusReport

_SHOWN = 12
_NOTHING = Markup()
_TERMS = ("free", "bonus", "penalty")

COOLING_BADGE = el("span", SLOT, class_="badge cooling")

# Rank and name, with the owner less prominent than the model.
_NAME_CELL = el(
    "span",
    el("span", SLOT, class_="place"),
    el(
        "span",
        el("span", SLOT, class_="owner"),
        el("span", SLOT, class_="model"),
        SLOT,
        class_="name",
    ),
    class_="placed",
)
_COOLING = Template(COOLING_BADGE)

# The terms of a score as a bar, hidden from screen readers: the table has the numbers.
_BAR = el(
    "svg",
    [
        el("rect", class_=kind, x=NUMBER if at else 0, width=NUMBER, height="8")
        for at, kind in enumerate(_TERMS)
    ],
    class_="bar",
    viewBox="0 0 100 8",
    preserveAspectRatio="none",
    aria_hidden="true",
    focusable="false",
)

_EVIDENCE: dict[EvidenceState | None, tuple[Cell, Cell]] = {
    None: (DASH, DASH),
    **{each: (Formatted(each), evidence(each)) for each in EvidenceState},
}

_MODELS = Table(
    "models",
    "Models by score, best first",
    (
        TableColumn("Model", cell=_NAME_CELL),
        TableColumn(
            "Score",
            meaning=join("free + bonus ", MINUS, " penalty"),
            cell=el("span", el("b", SLOT, NUMBER), _BAR, class_="score"),
        ),
        TableColumn("Free", True, "instances × idle share", cell=NUMBER),
        TableColumn(
            "Bonus",
            True,
            "0.05 for each instance that the platform may still start, up to 8",
            cell=NUMBER,
        ),
        TableColumn("Penalty", True, "instances × rate-limited share × 2", cell=f"{SLOT}{NUMBER}"),
        TableColumn("Busy", True, "utilization, weighted over the last hour"),
        TableColumn("Rate-limited", True, "share of requests that the platform rate-limited"),
        TableColumn("Instances", True),
        TableColumn(
            "First byte", True, "measured by this router, averaged over the last half hour"
        ),
        TableColumn("Tokens/s", True, "measured by this router, averaged over the last half hour"),
        TableColumn("TEE evidence", cell=el("span", SLOT, class_=f"badge {SLOT}")),
    ),
)


def ranking(report: StatusReport) -> Markup:
    """Render the section of the ranking."""
    ranked = report.ranking
    return el(
        "section",
        el("h2", "Ranking ", el("small", plural(len(ranked), "model")), id="ranking-title"),
        [_why(report), _LEGEND, _table(report)]
        if ranked
        else el("p", "No model is eligible; see the top of this page.", class_="empty"),
        id="ranking",
        aria_labelledby="ranking-title",
    )


def _why(report: StatusReport) -> Markup:
    """Explain the first model's score in a sentence."""
    first, second = report.ranking[0], report.ranking[1:2]
    ahead = first.score - second[0].score if second else None
    return el(
        "p",
        el("b", Markup(model_name(first.name))),  # noqa: S704  escaped
        " is first: ",
        f"{number(first.free)} free instances + {number(first.bonus)} for scaling ",
        MINUS,
        f" {number(first.penalty)} for rate-limited requests = ",
        el("b", _sign(first.score), number(abs(first.score))),
        "." if ahead is None else f", {number(ahead)} ahead of the next.",
        " It is cooling down, so the next one is tried before it."
        if report.cooling.get(first.name)
        else None,
        class_="why",
    )


_LEGEND = el(
    "p",
    [(el("i", class_=f"key {term}", aria_hidden="true"), term, " ") for term in _TERMS],
    el("span", "The penalty is the red end of a bar.", class_="note"),
    class_="legend",
)


def _table(report: StatusReport) -> list[Child]:
    shown = report.ranking[:MAX_ROWS]
    most = max([max(each.free + each.bonus, each.penalty) for each in shown]) or 1.0
    rows = [_row(place, each, most, report) for place, each in enumerate(shown, 1)]
    return _MODELS.render(rows, _SHOWN, "models", len(report.ranking) - len(shown))


def _row(place: int, ranked: Ranked, most: float, report: StatusReport) -> tuple[Cell, ...]:
    name = ranked.name
    owner, slash, model = model_name(name).rpartition(OWNER_END)
    cooling = report.cooling.get(name)
    first, rate = report.first_content.get(name), report.throughput.get(name)
    state, words = _EVIDENCE[report.evidence.state(name)]
    free, bonus, penalty = ranked.free, ranked.bonus, ranked.penalty
    width = 100.0 / most
    end = (free + bonus) * width
    lost = penalty * width
    if end:
        lost = min(lost, end)
    return (
        place,
        Formatted(owner + slash),
        Formatted(model),
        _NOTHING if cooling is None else _COOLING.fill([(cooling_text(cooling),)]),
        _sign(ranked.score),
        abs(ranked.score),
        free * width,
        free * width,
        bonus * width,
        max(0.0, end - lost),
        lost,
        free,
        bonus,
        MINUS if penalty >= 0.005 else _NOTHING,
        penalty,
        percent(ranked.util),
        percent(ranked.rate_limit),
        count(ranked.active_instance_count),
        DASH if first is None else duration(first),
        DASH if rate is None else number(rate, 0 if rate >= 10 else 1),
        state,
        words,
    )


def _sign(value: float) -> Markup:
    """Return the sign of a number with two decimal places."""
    return MINUS if value <= -0.005 else _NOTHING


def cooling_text(seconds: float) -> Formatted:
    """Return the text for how long a model still ranks behind all others."""
    return Formatted(
        f"cooling for {age(seconds)}" if seconds > 0 else "cooling: next request probes it"
    )
