"""The section of the account's governor: who waits, and what the platform's edge has banned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from autopilot.web.status.formatting import age, count, escaped
from autopilot.web.status.markup import Cell, el, optional_section, tile
from autopilot.web.status.tables import DASH, MAX_ROWS, Table, TableColumn

if TYPE_CHECKING:
    from markupsafe import Markup

    from autopilot.web.status.markup import Child

_SHOWN = 8
_KEYS = Table(
    "edge-keys",
    "Keys that have sent, those with fewest calls left first",
    (
        TableColumn("Key", meaning="The beginning of a keyed hash of the key"),
        TableColumn("A minute", numeric=True),
        TableColumn("Share", numeric=True, meaning="What this router has of the key's limit"),
        TableColumn("Left", numeric=True),
        TableColumn("Waiting", numeric=True),
        TableColumn("Banned for"),
    ),
)


class EdgeKeyNow(Struct, frozen=True):
    """One key, by the beginning of its keyed hash.

    ``per_minute`` is its limit, None without one. This router has this ``share`` of it, and may
    make the calls that are ``left`` at once.
    """

    key: str
    per_minute: float | None
    share: float
    left: int | None
    waiting: int
    banned_seconds: float


class EdgeNow(Struct, frozen=True):
    """The state of ``EDGE_RATE``, without any key.

    ``waiting`` requests wait for their turn. ``banned_keys`` are banned by the platform's edge, the
    one banned longest for ``banned_seconds``; the router's address for ``address_banned_seconds``.
    ``fewest_left`` are the calls that may be made at once with the key that has fewest. ``keys``
    are those that have not all their calls, or of which requests wait.
    """

    waiting: int
    banned_keys: int
    banned_seconds: float
    address_banned_seconds: float
    fewest_left: int | None
    keys: tuple[EdgeKeyNow, ...] = ()


def edge(now: EdgeNow | None) -> Markup:
    """Render the section, which is hidden if nothing is governed."""
    children = None if now is None else _shown(now)
    return optional_section("edge", children, "numbers")


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
        *([_KEYS.render(*_rows(now.keys))] if now.keys else ()),
    ]


def _rows(keys: tuple[EdgeKeyNow, ...]) -> tuple[list[tuple[Cell, ...]], int, str, int]:
    rows = [_key(each) for each in keys[:MAX_ROWS]]
    return rows, _SHOWN, "keys", len(keys) - len(rows)


def _key(key: EdgeKeyNow) -> tuple[Cell, ...]:
    return (
        escaped(key.key),
        DASH if key.per_minute is None else escaped(f"{key.per_minute:,g}"),
        escaped(f"{key.share:.0%}"),
        DASH if key.left is None else escaped(count(key.left)),
        escaped(count(key.waiting)),
        escaped(age(key.banned_seconds)) if key.banned_seconds else DASH,
    )
