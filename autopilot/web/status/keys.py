"""The section of keys: those of the operator's own, with what they used, and those of the pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from autopilot.web.status.formatting import age, count, escaped
from autopilot.web.status.markup import Cell, Child, el, optional_section
from autopilot.web.status.tables import DASH, MAX_ROWS, Table, TableColumn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

_SHOWN = 12
_OWN = Table(
    "own-keys",
    "Keys of your own, with what they used of their limits",
    (
        TableColumn("Key"),
        TableColumn("Requests, last minute", numeric=True),
        TableColumn("In progress", numeric=True),
        TableColumn("Tokens today", numeric=True),
        TableColumn("Tokens this month", numeric=True),
        TableColumn("Dollars today", numeric=True),
        TableColumn("Dollars this month", numeric=True),
    ),
)
_POOL = Table(
    "pool-keys",
    "Keys of the platform that the router sends",
    (
        TableColumn("Key"),
        TableColumn("Requests", numeric=True),
        TableColumn("In progress", numeric=True),
        TableColumn("Quota left", numeric=True),
        TableColumn("Rests"),
    ),
)
_WHY = {"quota": "no quota", "edge": "banned by the edge", "invalid": "not accepted"}


class Use(Struct, frozen=True):
    """What is used of a limit; ``limit`` is None if there is none."""

    used: float
    limit: float | None


class OwnKeyNow(Struct, frozen=True):
    """A key of the operator's own. Days and months are UTC."""

    name: str
    requests_last_minute: Use
    in_progress: Use
    tokens_today: Use
    tokens_this_month: Use
    dollars_today: Use
    dollars_this_month: Use


class LentKeyNow(Struct, frozen=True):
    """A key of the pool; ``quota_left`` is a share, and ``resting_seconds`` how long it rests."""

    name: str
    requests: int
    in_progress: int
    quota_left: float | None
    resting_seconds: float | None
    why: str


class KeysNow(Struct, frozen=True):
    """The keys by their names, in the order of their files; of ``pool`` all workers' uses."""

    own: tuple[OwnKeyNow, ...] = ()
    pool: tuple[LentKeyNow, ...] = ()


def keys(now: KeysNow | None) -> Markup:
    """Render the section, which is hidden if there are no keys."""
    children = None if now is None else _shown(now)
    return optional_section("keys", children)


def _shown(now: KeysNow) -> list[Child]:
    found: list[Child] = [el("h2", "Keys", id="keys-title")]
    if now.own:
        found += _OWN.render(*_rows([_own(each) for each in now.own[:MAX_ROWS]], len(now.own)))
    if now.pool:
        found += _POOL.render(*_rows([_lent(each) for each in now.pool[:MAX_ROWS]], len(now.pool)))
    return found


def _rows(
    rows: Sequence[tuple[Cell, ...]], whole: int
) -> tuple[Sequence[tuple[Cell, ...]], int, str, int]:
    return rows, _SHOWN, "keys", whole - len(rows)


def _own(key: OwnKeyNow) -> tuple[Cell, ...]:
    return (
        escaped(key.name),
        _use(key.requests_last_minute),
        _use(key.in_progress),
        _use(key.tokens_today),
        _use(key.tokens_this_month),
        _use(key.dollars_today, 2),
        _use(key.dollars_this_month, 2),
    )


def _use(use: Use, digits: int = 0) -> Cell:
    used = f"{use.used:,.{digits}f}"
    return escaped(used if use.limit is None else f"{used} of {use.limit:,.{digits}f}")


def _lent(key: LentKeyNow) -> tuple[Cell, ...]:
    rests: Cell = DASH
    if key.resting_seconds is not None:
        rests = escaped(f"{_WHY.get(key.why, key.why)}, {age(key.resting_seconds)}")
    left = DASH if key.quota_left is None else escaped(f"{key.quota_left:.0%}")
    return (
        escaped(key.name),
        escaped(count(key.requests)),
        escaped(count(key.in_progress)),
        left,
        rests,
    )
