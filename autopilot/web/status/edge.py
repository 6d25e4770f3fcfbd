"""The section of the account's governor: who waits, and what the platform's edge has banned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from autopilot.web.status.formatting import age, count
from autopilot.web.status.markup import el, tile

if TYPE_CHECKING:
    from markupsafe import Markup

    from autopilot.web.status.markup import Child


class EdgeNow(Struct, frozen=True, gc=False):
    """The state of ``EDGE_RATE``, without any key.

    ``waiting`` requests wait for their turn. ``banned_keys`` are banned by the platform's edge, the
    one banned longest for ``banned_seconds``; the router's address for ``address_banned_seconds``.
    ``fewest_left`` are the calls that may be made at once with the key that has fewest.
    """

    waiting: int
    banned_keys: int
    banned_seconds: float
    address_banned_seconds: float
    fewest_left: int | None


def edge(now: EdgeNow | None) -> Markup:
    """Render the section, which is hidden if nothing is governed."""
    return el(
        "section",
        [] if now is None else _shown(now),
        id="edge",
        class_="numbers",
        aria_labelledby=None if now is None else "edge-title",
        hidden=now is None,
    )


def _shown(now: EdgeNow) -> list[Child]:
    longest = f"the longest for another {age(now.banned_seconds)}" if now.banned_keys else None
    address = now.address_banned_seconds
    left = "all keys have all their calls" if now.fewest_left is None else "calls at once"
    tiles = [
        tile("Requests waiting", count(now.waiting), None),
        tile("Key with fewest left", count(now.fewest_left or 0), left)
        if now.fewest_left is not None
        else tile("Key with fewest left", "–", left),
        tile("Keys banned", count(now.banned_keys), longest, "stale" if now.banned_keys else None),
        tile("This router's address", "banned", f"for another {age(address)}", "stale")
        if address
        else tile("This router's address", "not banned", None),
    ]
    return [
        el("h2", "Platform's limit ", el("small", "by EDGE_RATE"), id="edge-title"),
        el("dl", tiles),
    ]
