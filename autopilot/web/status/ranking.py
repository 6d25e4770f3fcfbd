"""The ranking: each part of each score, so that a person sees why this model is first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from autopilot.web.status.markup import Child, el
from autopilot.web.status.tables import Column, table
from autopilot.web.status.words import NONE, age, duration, evidence, number, percent, plural

if TYPE_CHECKING:
    from autopilot.routing.ranking import Ranked
    from autopilot.web.status.facts import Facts

_SHOWN = 12
_COLUMNS = (
    Column("Model"),
    Column("Score", meaning="free + bonus − penalty"),
    Column("Free", True, "instances × share that is idle"),
    Column("Bonus", True, "a little for instances the platform may still start"),
    Column("Penalty", True, "instances × share turned away × 2"),
    Column("Busy", True, "utilization, weighted over the last hour"),
    Column("Turned away", True, "share of requests that met the rate limit"),
    Column("Instances", True),
    Column("First byte", True, "measured by this router, averaged over the last half hour"),
    Column("Tokens/s", True, "measured by this router, averaged over the last half hour"),
    Column("TEE evidence"),
)


def ranking(facts: Facts) -> Markup:
    """The section of the ranking."""
    ranked = facts.ranking
    return el(
        "section",
        el("h2", "Ranking ", el("small", plural(len(ranked), "model")), id="ranking-title"),
        [_why(facts), _legend(), _table(facts)]
        if ranked
        else el("p", "No model can be chosen now; the top of this page says why.", class_="empty"),
        id="ranking",
        aria_labelledby="ranking-title",
    )


def _why(facts: Facts) -> Markup:
    """The first model's score as a sentence."""
    first, *others = facts.ranking
    ahead = first.score - others[0].score if others else None
    return el(
        "p",
        el("b", first.name),
        " is first: ",
        f"{number(first.free)} free instances + {number(first.bonus)} for growth "
        f"− {number(first.penalty)} for requests turned away = ",
        el("b", number(first.score)),
        "." if ahead is None else f", {number(ahead)} ahead of the next.",
        " It is cooling down, so the next one is tried before it."
        if facts.cooling.get(first.name)
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
        el("span", "The red end of a bar is what the penalty takes away.", class_="note"),
        class_="legend",
    )


def _table(facts: Facts) -> Markup:
    most = max(max(each.free + each.bonus, each.penalty) for each in facts.ranking) or 1.0
    rows = [_row(place, each, most, facts) for place, each in enumerate(facts.ranking, 1)]
    return table(
        "models",
        "Models by score, the best first",
        _COLUMNS,
        rows,
        _SHOWN,
        "models",
    )


def _row(place: int, ranked: Ranked, most: float, facts: Facts) -> list[Child]:
    name = ranked.name
    throughput = facts.throughput.get(name)
    known = facts.evidence.get(name)
    state = NONE if known is None else str(known.finding.state)
    return [
        _name(place, name, facts.cooling.get(name)),
        el("span", el("b", number(ranked.score)), _bar(ranked, most), class_="score"),
        number(ranked.free),
        number(ranked.bonus),
        number(-ranked.penalty),
        percent(ranked.util),
        percent(ranked.rate_limit),
        number(ranked.active_instance_count, 0),
        duration(facts.first_content.get(name)),
        number(throughput, 0 if throughput is None or throughput >= 10 else 1),
        el("span", evidence(state), class_=f"badge {state}"),
    ]


def _name(place: int, name: str, cooling: float | None) -> Markup:
    """Place and name, the owner quieter than the model; long names break where they may."""
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
    """Until when a model goes behind all others."""
    text = f"cooling for {age(seconds)}" if seconds > 0 else "cooling: next request tries it"
    return el("span", text, class_="badge cooling")


def _bar(ranked: Ranked, most: float) -> Markup:
    """The parts of a score as lengths; the numbers stand beside it, so it says nothing aloud."""
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
