"""All checks in order: those without cost first, those that may end the run last."""

from __future__ import annotations

from collections.abc import Sequence

from tests.rigs.live import checks_completions, checks_free, checks_refusals, checks_relay
from tests.rigs.live.check import Check
from tests.rigs.live.rows import rows_of

# All other checks need the list of models and their load.
FIRST = ("catalog", "feed")

CHECKS: tuple[Check, ...] = (
    *checks_free.CHECKS,
    *checks_refusals.CHECKS,
    *checks_completions.CHECKS,
    *checks_relay.CHECKS,
    *checks_refusals.LAST,
)


class NoSuchCheckError(ValueError):
    """There is no check with the requested name."""


def chosen(only: Sequence[str]) -> list[Check]:
    """Return the checks with these ids or rows and those they need, or the usual ones.

    Raise NoSuchCheckError for an unknown name.
    """
    if not only:
        return [each for each in CHECKS if not each.on_request]
    names = {each.id: {each.id, *rows_of(each.id)} for each in CHECKS}
    for name in only:
        if not any(name in each for each in names.values()):
            raise NoSuchCheckError(f"no such check or row: {name}")
    return [each for each in CHECKS if each.id in FIRST or not names[each.id].isdisjoint(only)]
