"""The section of other services: the models that requests may go to, and how they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup
from msgspec import Struct

from autopilot.web.status.formatting import duration, escaped, model_name, number, plural
from autopilot.web.status.markup import el
from autopilot.web.status.tables import DASH, MAX_ROWS, Table, TableColumn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from autopilot.routing.fallbacks import Fallbacks

_SHOWN = 12
_TABLE = Table(
    "fallbacks",
    "Models of other services, in the order of their file",
    (
        TableColumn("Model"),
        TableColumn("Last resort"),
        TableColumn("Cools down", numeric=True),
        TableColumn("First byte", numeric=True),
        TableColumn("Tokens/s", numeric=True),
    ),
)


class FallbackNow(Struct, frozen=True, gc=False):
    """A model of another service; ``last_resort``: it is that service's default model."""

    model: str
    last_resort: bool


def fallbacks_now(known: Fallbacks) -> tuple[FallbackNow, ...]:
    """Return the models of the file, in its order."""
    return tuple(FallbackNow(name, each in known.resort) for name, each in known.candidates.items())


def fallbacks(
    known: Sequence[FallbackNow],
    cooling: Mapping[str, float],
    first_content: Mapping[str, float],
    throughput: Mapping[str, float],
) -> Markup:
    """Render the section, which is hidden without other services; see `StatusReport`."""
    rows = [
        (
            model_name(each.model),
            escaped("yes") if each.last_resort else DASH,
            duration(cooling.get(each.model)),
            duration(first_content.get(each.model)),
            number(throughput.get(each.model), 1),
        )
        for each in known[:MAX_ROWS]
    ]
    return el(
        "section",
        [
            el(
                "h2", "Other services ", el("small", plural(len(known), "model")), id="others-title"
            ),
            _TABLE.render(rows, _SHOWN, "models", len(known) - len(rows)),
        ]
        if rows
        else None,
        id="fallbacks",
        aria_labelledby="others-title" if rows else None,
        hidden=not rows,
    )
