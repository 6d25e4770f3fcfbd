"""The answer to a request that no model behind the alias can serve: what is missing, who is near.

The answer is kept for every request that asks for the same, whatever numbers it names between the
same two limits of models. So it says what models have, never what a request asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from autopilot.routing.catalog import Model
from autopilot.routing.requirements import LIMITS, Needs, lacks
from autopilot.routing.router_error import RouterError
from autopilot.routing.suggest import echo

_MOST_NAMED = 3


class _Short(NamedTuple):
    """A model and the needs it is known to lack."""

    model: Model
    lacks: tuple[str, ...]

    def __str__(self) -> str:
        return f"{echo(self.model.name)} ({', '.join(map(self._lack, self.lacks))})"

    def _lack(self, need: str) -> str:
        limit = LIMITS.get(need)
        return f"no {need}" if limit is None else f"{need} up to {getattr(self.model, limit)}"

    @property
    def distance(self) -> tuple[int, tuple[int, ...]]:
        """The fewer needs a model lacks, and the higher its limits, the nearer it is."""
        limits = (getattr(self.model, LIMITS[need]) for need in self.lacks if need in LIMITS)
        return len(self.lacks), tuple(-limit for limit in limits)


def no_capable_model(models: Sequence[Model], needs: Needs) -> RouterError:
    """Refuse a request: each of ``models``, best first, lacks some of its ``needs``.

    The message names the needs that no model meets, or, where each of them is met by some model,
    all that are missing somewhere; then the models that come closest.
    """
    short = [_Short(model, tuple(lacks(model, needs))) for model in models]
    missing = list(dict.fromkeys(need for each in short for need in each.lacks))
    unmet = [need for need in missing if all(need in each.lacks for each in short)]
    if unmet:
        what = f"supports what this request needs: {', '.join(unmet)}"
    else:
        what = f"supports at once all that this request needs: {', '.join(missing)}"
    nearest = sorted(short, key=lambda each: each.distance)[:_MOST_NAMED]
    return RouterError(
        400,
        "no_capable_model",
        f"No model behind the alias {what}. Closest: {'; '.join(map(str, nearest))}.",
        param="model",
    )
