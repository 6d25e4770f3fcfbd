"""The worked example of "How it decides": invented inputs, computed results."""

from __future__ import annotations

from typing import Final

from autopilot.routing.allowance import first_content_allowance
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.plan import Plan, Rules, plan
from autopilot.routing.ranking import Load, Ranked, rank
from autopilot.routing.requirements import Needs
from autopilot.routing.routing_state import RoutingState
from autopilot.routing.selector import parse_selector
from autopilot.routing.snapshot import Snapshot
from autopilot.settings import Settings
from autopilot.state.affinity import SessionAffinity
from autopilot.state.circuit_breaker import CircuitBreaker
from tools.docs.tables import code, table

ALIAS: Final = "chutesai/AutoPilot"
_LOADS: Final = (
    Load("acme/large-TEE", "1", 20, 0.70, 0.65, 0.60, 0.50, 0.0, 0.0, 0.0, True, 4),
    Load("acme/small", "2", 8, 0.20, 0.25, 0.30, 0.30, 0.0, 0.0, 0.0, False, None),
    Load("acme/busy", "3", 30, 0.99, 0.97, 0.95, 0.90, 0.12, 0.08, 0.04, True, 10),
    Load("acme/vision", "4", 6, 0.50, None, None, None),
    Load("[private chute]", "5", 50, 0.1),
    Load("acme/asleep", "6", 0),
)
_CATALOG: Final = Catalog.of(
    Model(load.name, chute_id=load.chute_id, input_modalities=frozenset(kinds))
    for load, kinds in zip(
        _LOADS,
        (("text",), ("text",), ("text",), ("text", "image"), ("text",), ("text",)),
        strict=True,
    )
)


def ranking() -> tuple[Ranked, ...]:
    """Return the example's ranking."""
    return rank(_LOADS, _CATALOG)


def loads() -> str:
    """Return the utilization feed of the example as a table."""
    return table(
        (
            "model",
            "instances",
            "now",
            "5 min",
            "15 min",
            "1 h",
            "turned away",
            "may grow by",
        ),
        (
            (
                code(each.name),
                str(each.active_instance_count),
                *map(
                    _share,
                    (
                        each.utilization_current,
                        each.utilization_5m,
                        each.utilization_15m,
                        each.utilization_1h,
                        each.rate_limit_ratio_5m,
                    ),
                ),
                str(each.scale_allowance or 0) if each.scalable else "–",
            )
            for each in _LOADS
        ),
    )


def scores() -> str:
    """Return the ranking as a table with its scores."""
    return table(
        ("", "model", "util", "free", "bonus", "penalty", "score"),
        (
            (
                str(place),
                code(each.name),
                f"{each.util:.3f}",
                f"{each.free:.2f}",
                f"{each.bonus:.2f}",
                f"{each.penalty:.2f}",
                f"**{each.score:.2f}**",
            )
            for place, each in enumerate(ranking(), 1)
        ),
    )


def plans() -> str:
    """Return a table with the candidates of some requests."""
    snapshot = Snapshot(_CATALOG, ranking(), 0.0, 0.0)
    first = ranking()[0].name
    rows = (
        ("the alias", ALIAS, Needs(), RoutingState()),
        ("the alias, with a picture in the request", ALIAS, Needs(images=True), RoutingState()),
        ("the alias, by a client that `acme/small` served last", ALIAS, Needs(), _sticky()),
        (f"the alias, while `{first}` cools down", ALIAS, Needs(), _cooling(first)),
        ("a list", "acme/busy,acme/small", Needs(), RoutingState()),
        ("one name", "acme/vision", Needs(), RoutingState()),
    )
    settings = Settings()
    rules = Rules(frozenset(settings.aliases), settings.max_model_list_items)
    return table(
        ("request by", "candidates, in order"),
        (
            (what, _planned(model, needs, recall, snapshot, rules))
            for what, model, needs, recall in rows
        ),
    )


def _planned(
    model: str, needs: Needs, recall: RoutingState, snapshot: Snapshot, rules: Rules
) -> str:
    selector = parse_selector(model, rules.aliases, rules.max_list_items)
    made = plan(selector, needs, False, snapshot, rules, recall)  # type: ignore[arg-type]
    assert isinstance(made, Plan)
    return ", ".join(map(code, made.models))


def _sticky() -> RoutingState:
    """Return what the router remembers of a conversation a minute after serving it."""
    settings, key = Settings(), (b"a client", b"its selector", b"its conversation")
    memory = SessionAffinity(
        ttl=settings.sticky_ttl_secs,
        max_entries=settings.sticky_max_entries,
        list_retry=settings.list_retry_ms / 1000,
    )
    memory.served(key, "acme/small", 0.0)
    return RoutingState(remembered=memory.remembered(key, 60.0))


def _cooling(model: str) -> RoutingState:
    """Return the state one second after a model reached the limit of failures."""
    settings = Settings()
    cooldown = CircuitBreaker(
        threshold=settings.cooldown_failures,
        period=settings.cooldown_ms / 1000,
        max_entries=settings.sticky_max_entries,
    )
    for _ in range(settings.cooldown_failures):
        cooldown.failed(b"a client", model, 0.0, 0.0)
    return RoutingState(cooling=cooldown.cooling(b"a client", 1.0))


def patience() -> str:
    """Return how long a stream may stay silent while another model is left."""
    after = Settings().failover_after_ms / 1000
    return table(
        ("request body", "the model's 95th percentile", "patience"),
        (
            (
                size,
                "unknown" if p95 is None else f"{p95:g} s",
                f"{_allowance(after, count, p95):g} s",
            )
            for size, count, p95 in (
                ("2 KB", 2_000, None),
                ("80 KB", 80_000, None),
                ("2 KB", 2_000, 9.0),
            )
        ),
    )


def _allowance(after: float, size: int, p95: float | None) -> float:
    return round(first_content_allowance(after, size, p95), 2)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
