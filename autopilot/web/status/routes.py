"""The routes on the status page and in /status.json: what each of them stands for now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup
from msgspec import Struct

from autopilot.routing.plan import plan
from autopilot.routing.requirements import NOTHING
from autopilot.routing.router_error import RouterError
from autopilot.routing.routing_state import RoutingState
from autopilot.routing.selector import ROUTE, Order, selector_of
from autopilot.web.status.formatting import Formatted, escaped, model_name, plural
from autopilot.web.status.markup import SLOT, Cell, Template, el
from autopilot.web.status.tables import DASH, MAX_ROWS, Table, TableColumn

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from autopilot.routing.plan import Rules
    from autopilot.routing.snapshot import Snapshot

_SHOWN = 12
_NAMED = 8
_LIST = Template(el("ul", SLOT, class_="listed"))
_ITEM = Template(el("li", SLOT))
_TABLE = Table(
    "routes",
    "Routes in the order of their file",
    (TableColumn("Route"), TableColumn("Models now, in order"), TableColumn("Filters")),
)


class RouteNow(Struct, frozen=True, gc=False):
    """A route: the models that a plain request gets now, or the code of its error, and filters."""

    name: str
    models: tuple[str, ...]
    error: str | None
    filters: tuple[str, ...]


def routes_now(rules: Rules, snapshot: Snapshot) -> tuple[RouteNow, ...]:
    """Return what each route stands for with this data, in the file's order."""
    found = []
    for name, route in rules.routes.items():
        selector = selector_of(name, ROUTE, (name,), Order.GIVEN, routes={name: route.chooses})
        planned = plan(selector, NOTHING, False, snapshot, rules, RoutingState())
        if isinstance(planned, RouterError):
            found.append(RouteNow(name, (), planned.code, route.filters))
        else:
            found.append(RouteNow(name, planned.models, None, route.filters))
    return tuple(found)


def routes(known: Sequence[RouteNow]) -> Markup:
    """Render the section of the routes, which is hidden if there is none."""
    rows = [_row(each) for each in known[:MAX_ROWS]]
    return el(
        "section",
        [
            el("h2", "Routes ", el("small", plural(len(known), "route")), id="routes-title"),
            _TABLE.render(rows, _SHOWN, "routes", len(known) - len(rows)),
        ]
        if rows
        else None,
        id="routes",
        aria_labelledby="routes-title" if rows else None,
        hidden=not rows,
    )


def _row(route: RouteNow) -> tuple[Cell, ...]:
    models = [model_name(name) for name in route.models[:_NAMED]]
    if len(route.models) > _NAMED:
        models.append(Formatted(f"{len(route.models) - _NAMED} more"))
    shown = _listed(models) if models else escaped(f"none: {route.error}")
    return model_name(route.name), shown, _listed(map(escaped, route.filters))


def _listed(items: Iterable[Formatted]) -> Cell:
    rows = [(item,) for item in items]
    return _LIST.fill([(_ITEM.fill(rows),)]) if rows else DASH
