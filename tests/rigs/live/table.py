"""All checks in the order in which they are played: what is free comes first, what may end the run
comes last."""

from __future__ import annotations

from collections.abc import Sequence

from tests.rigs.live import checks_completions, checks_free, checks_refusals, checks_relay
from tests.rigs.live.check import Check
from tests.rigs.live.rows import rows_of

# Everything else needs to know which models there are, and how busy they are.
FIRST = ("catalog", "feed")

CHECKS: tuple[Check, ...] = (
    *checks_free.CHECKS,
    *checks_refusals.CHECKS,
    *checks_completions.CHECKS,
    *checks_relay.CHECKS,
    *checks_refusals.LAST,
)


class NoSuchCheckError(ValueError):
    """A check was asked for that there is not."""


def chosen(only: Sequence[str]) -> list[Check]:
    """The checks of a run: those of these ids or rows and what they need, or the usual ones.

    Raises NoSuchCheckError.
    """
    if not only:
        return [each for each in CHECKS if not each.on_request]
    names = {each.id: {each.id, *rows_of(each.id)} for each in CHECKS}
    for name in only:
        if not any(name in each for each in names.values()):
            raise NoSuchCheckError(f"no such check or row: {name}")
    return [each for each in CHECKS if each.id in FIRST or not names[each.id].isdisjoint(only)]
