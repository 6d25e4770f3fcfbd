"""The section of the tokens and the cost of the last half hour, as upstreams reported them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autopilot.routing.usage import PICODOLLARS
from autopilot.web.status.formatting import count, dollars, percent
from autopilot.web.status.markup import el, tile
from autopilot.web.status.requests import period

if TYPE_CHECKING:
    from markupsafe import Markup

    from autopilot.observability.history import HistoryWindow


def tokens(window: HistoryWindow) -> Markup:
    """Render the section; it is hidden until an answer reported its tokens."""
    whole = window.whole
    share = whole.cached_share
    reported = bool(whole.prompt_tokens or whole.completion_tokens)
    return el(
        "section",
        [
            el(
                "h2", "Tokens ", el("small", f"in {period(window)}, as reported"), id="tokens-title"
            ),
            el(
                "dl",
                tile("Prompt tokens", count(whole.prompt_tokens), None),
                tile(
                    "of which cached",
                    percent(share or 0.0),
                    f"{count(whole.cached_tokens)} tokens",
                ),
                tile(
                    "Completion tokens",
                    count(whole.completion_tokens),
                    f"{count(whole.reasoning_tokens)} for reasoning",
                ),
                tile(
                    "Cost",
                    dollars(whole.cost_picodollars / PICODOLLARS),
                    "by the catalog's prices",
                ),
            ),
        ]
        if reported
        else None,
        id="tokens",
        class_="numbers",
        aria_labelledby="tokens-title" if reported else None,
        hidden=not reported,
    )
