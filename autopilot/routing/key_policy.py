"""What a key of the operator's own allows: its models and routes, its budgets, and its end.

Pure functions on values. A budget is that of a UTC day or month; what was spent is counted in whole
tokens and picodollars, so that sums are exact.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from math import ceil
from typing import Annotated, Final

from msgspec import Meta, Struct, structs

from autopilot.routing.catalog import EMPTY, Catalog
from autopilot.routing.names import catalog_name
from autopilot.routing.patterns import NamePattern
from autopilot.routing.plan import Plan
from autopilot.routing.router_error import RouterError
from autopilot.routing.selector import Mode, Selector
from autopilot.routing.suggest import echo
from autopilot.routing.usage import dollars

WINDOW: Final = 60.0
"""The seconds in which a key may send its ``requests_per_minute``."""

_DAY: Final = 86_400
_EPOCH: Final = date(1970, 1, 1).toordinal()
_NAMED: Final = 5


class KeyRules(Struct, frozen=True):
    """What one key may do; None is no limit. ``expires`` is in seconds since 1970.

    ``models`` are those that it may name, or have chosen by an alias; ``routes`` those that it may
    name. A key with only one of the two may use nothing of the other kind.
    """

    name: str
    models: tuple[NamePattern, ...] | None = None
    routes: tuple[NamePattern, ...] | None = None
    requests_per_minute: int | None = None
    concurrent_requests: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    picodollars_per_day: int | None = None
    picodollars_per_month: int | None = None
    expires: float | None = None

    @property
    def has_token_budget(self) -> bool:
        """Whether tokens count."""
        return self.tokens_per_day is not None or self.tokens_per_month is not None

    @property
    def has_dollar_budget(self) -> bool:
        """Whether dollars count."""
        return self.picodollars_per_day is not None or self.picodollars_per_month is not None

    @property
    def has_budget(self) -> bool:
        """Whether the usage of its requests counts."""
        return self.has_token_budget or self.has_dollar_budget


_Day = Annotated[int, Meta(ge=0, le=date.max.toordinal() - _EPOCH)]
_Sum = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Spent(Struct, frozen=True, gc=False):
    """What a key has spent in a UTC day, ``day`` days after 1970-01-01, and in its month.

    One that is decoded has no other numbers than those that can be.
    """

    day: _Day
    tokens_today: _Sum = 0
    picodollars_today: _Sum = 0
    tokens_this_month: _Sum = 0
    picodollars_this_month: _Sum = 0


class Budget(Struct, frozen=True, gc=False):
    """One budget of a key, with what is spent of it, and when it begins anew (since 1970)."""

    per: str
    kind: str
    limit: int
    spent: int
    resets: float

    @property
    def left(self) -> int:
        """The rest of it; never less than nothing."""
        return max(0, self.limit - self.spent)

    @property
    def amount(self) -> str:
        """The limit for people."""
        if self.kind == "dollars":
            return f"{dollars(self.limit)} dollars"
        return f"{self.limit} {self.kind}"


# -- time


def day_of(wall: float) -> int:
    """Return the UTC day of a time in seconds since 1970."""
    return int(wall // _DAY)


def _month(day: int) -> tuple[int, int]:
    on = date.fromordinal(day + _EPOCH)
    return on.year, on.month


def day_ends(day: int) -> float:
    """Return when a UTC day ends, in seconds since 1970."""
    return float((day + 1) * _DAY)


def month_ends(day: int) -> float:
    """Return when the month of a UTC day ends, in seconds since 1970."""
    year, month = _month(day)
    following = date(year + month // 12, month % 12 + 1, 1)
    return float((following.toordinal() - _EPOCH) * _DAY)


def at(spent: Spent, wall: float) -> Spent:
    """Return what counts of ``spent`` at a time of the wall clock.

    A day that has begun since then begins with nothing, and so does a month. A clock that is set
    back gives nothing back: within a day the count goes on under its later date, so that midnight
    does not come twice; further back, the later date was the error, and the count takes the earlier
    one, or its budget would begin anew only when that date comes.
    """
    today = day_of(wall)
    if today == spent.day:
        return spent
    if today < spent.day:
        return spent if spent.day - today == 1 else structs.replace(spent, day=today)
    if _month(today) != _month(spent.day):
        return Spent(today)
    return structs.replace(spent, day=today, tokens_today=0, picodollars_today=0)


def with_usage(spent: Spent, tokens: int, picodollars: int, wall: float) -> Spent:
    """Return ``spent`` with the usage of a request that has just ended."""
    now = at(spent, wall)
    return Spent(
        now.day,
        now.tokens_today + tokens,
        now.picodollars_today + picodollars,
        now.tokens_this_month + tokens,
        now.picodollars_this_month + picodollars,
    )


# -- budgets


def budgets(rules: KeyRules, spent: Spent) -> list[Budget]:
    """Return the budgets of a key; ``spent`` is that of now."""
    day, month = day_ends(spent.day), month_ends(spent.day)
    found = (
        ("day", "tokens", rules.tokens_per_day, spent.tokens_today, day),
        ("month", "tokens", rules.tokens_per_month, spent.tokens_this_month, month),
        ("day", "dollars", rules.picodollars_per_day, spent.picodollars_today, day),
        ("month", "dollars", rules.picodollars_per_month, spent.picodollars_this_month, month),
    )
    return [
        Budget(per, kind, limit, used, resets)
        for per, kind, limit, used, resets in found
        if limit is not None
    ]


def exhausted(rules: KeyRules, spent: Spent) -> RouterError | None:
    """Return the error for a key that has spent a budget: the one that lasts longest."""
    spent_up = [each for each in budgets(rules, spent) if not each.left]
    if not spent_up:
        return None
    last = max(spent_up, key=lambda each: each.resets)
    return RouterError(
        402,
        "key_budget_exhausted",
        f"The key '{rules.name}' has spent its budget of {last.amount} a {last.per}. It begins anew"
        f" at {utc(last.resets)}.",
    )


def expired(rules: KeyRules, wall: float) -> RouterError | None:
    """Return the error for a key whose time is over."""
    if rules.expires is None or wall < rules.expires:
        return None
    return RouterError(
        401,
        "unknown_key",
        f"The key '{rules.name}' expired at {utc(rules.expires)}. Ask the operator for another.",
    )


def utc(wall: float) -> str:
    """Return a time in seconds since 1970 for people, in UTC."""
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def too_many_requests(rules: KeyRules, wait: float) -> RouterError:
    """Return the error for a key that may send its next request in ``wait`` seconds."""
    seconds = max(1, ceil(wait))
    return RouterError(
        429,
        "key_rate_limited",
        f"The key '{rules.name}' has sent its {rules.requests_per_minute} requests of this minute."
        f" Try again in {seconds} s.",
        retry_after=seconds,
    )


def too_many_at_a_time(rules: KeyRules) -> RouterError:
    """Return the error for a key that has as many requests in progress as it may."""
    return RouterError(
        429,
        "key_rate_limited",
        f"The key '{rules.name}' has {rules.concurrent_requests} requests in progress, as many as"
        " it may. Try again when one of them has ended.",
        retry_after=1,
    )


# -- models and routes


def permit(
    rules: KeyRules, selector: Selector, planned: Plan, catalog: Catalog | None
) -> Plan | RouterError:
    """Return the plan without the candidates that a key may not use, or the error.

    What the client names itself it must be allowed to use; what the router adds is left out.
    """
    known = catalog or EMPTY
    if rules.models is None and rules.routes is None:
        return _priced(rules, planned, known)
    refused = [name for name in selector.names if not _may_name(rules, name, selector, known)]
    if refused:
        return _not_allowed(rules, refused)
    if planned.resort:
        allowed = [each for each in planned.resort if _matches(rules.models, each.model, known)]
        planned = structs.replace(planned, resort=tuple(allowed))
    if selector.mode is Mode.ALIAS or planned.added or planned.resorted:
        chosen = planned.added if selector.mode is not Mode.ALIAS else frozenset(planned.models)
        # What only a route adds is the route's, which the key may use with all its models.
        if selector.mode is Mode.ROUTE or (selector.chooses and not selector.alias_last):
            chosen = frozenset()
        if planned.resorted:
            chosen = frozenset(planned.models)
        kept = tuple(
            each
            for each in planned.candidates
            if each.model not in chosen or _matches(rules.models, each.model, known)
        )
        if not kept:
            return _none_allowed(rules)
        if kept != planned.candidates:
            sticky = planned.sticky and kept[0] == planned.candidates[0]
            planned = structs.replace(planned, candidates=kept, sticky=sticky)
    return _priced(rules, planned, known)


def _priced(rules: KeyRules, planned: Plan, catalog: Catalog) -> Plan | RouterError:
    """Leave out models without a price, which a budget in dollars could not count."""
    if not rules.has_dollar_budget:
        return planned
    if planned.resort:
        planned = structs.replace(planned, resort=())
    kept = tuple(each for each in planned.candidates if _has_price(each.model, catalog))
    if kept == planned.candidates:
        return planned
    if not kept:
        return RouterError(
            403,
            "model_not_allowed",
            f"The key '{rules.name}' has a budget in dollars, and the catalog has no price for"
            f" {', '.join(echo(each.model) for each in planned.candidates[:_NAMED])}. Choose a"
            " model with a price.",
            param="model",
        )
    sticky = planned.sticky and kept[0] == planned.candidates[0]
    return structs.replace(planned, candidates=kept, sticky=sticky)


def _has_price(model: str, catalog: Catalog) -> bool:
    listed = catalog.models.get(catalog_name(model, catalog))
    return (
        listed is not None
        and listed.prices.prompt is not None
        and listed.prices.completion is not None
    )


def _may_name(rules: KeyRules, name: str, selector: Selector, catalog: Catalog) -> bool:
    if name in selector.routes:
        return _matches_text(rules.routes, name)
    return _matches(rules.models, name, catalog)


def _matches(patterns: tuple[NamePattern, ...] | None, name: str, catalog: Catalog) -> bool:
    """Return whether a model may be used, by the catalog's name or by the one that was written."""
    return _matches_text(patterns, catalog_name(name, catalog))


def _matches_text(patterns: tuple[NamePattern, ...] | None, name: str) -> bool:
    lower = name.lower()
    return any(pattern.matches(lower) for pattern in patterns or ())


def _not_allowed(rules: KeyRules, names: list[str]) -> RouterError:
    shown = ", ".join(echo(name) for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return RouterError(
        403,
        "model_not_allowed",
        f"The key '{rules.name}' may not use {shown}{more}. The operator's file of keys lists what"
        " it may use.",
        param="model",
    )


def _none_allowed(rules: KeyRules) -> RouterError:
    return RouterError(
        403,
        "model_not_allowed",
        f"The key '{rules.name}' may use none of the models that are available for this request."
        " The operator's file of keys lists what it may use.",
        param="model",
    )
