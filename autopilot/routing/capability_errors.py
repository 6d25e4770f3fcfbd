"""The 400 ``no_capable_model`` error: which needs are unmet, and which models come closest.

`EligibleModels` caches this error and returns it to every request whose numeric needs fall between
the same two model limits. The message therefore quotes the models' limits, never the request's own
numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autopilot.routing.catalog import Model
from autopilot.routing.requirements import LIMITS, Needs, lacks
from autopilot.routing.router_error import RouterError
from autopilot.routing.suggest import echo

_MAX_NAMED = 3


@dataclass(frozen=True, slots=True)
class _NearMiss:
    """A model, and the needs that it is known to lack."""

    model: Model
    lacks: tuple[str, ...]

    def __str__(self) -> str:
        return f"{echo(self.model.name)} ({', '.join(map(self._describe_lack, self.lacks))})"

    def _describe_lack(self, need: str) -> str:
        limit = LIMITS.get(need)
        return f"no {need}" if limit is None else f"{need} up to {getattr(self.model, limit)}"

    @property
    def distance(self) -> tuple[int, tuple[int, ...]]:
        """Sort key, nearest model first: fewest needs lacking, then highest limits."""
        limits = (getattr(self.model, LIMITS[need]) for need in self.lacks if need in LIMITS)
        return len(self.lacks), tuple(-limit for limit in limits)


def no_capable_model(
    models: Sequence[Model], needs: Needs, which: str = "behind the alias"
) -> RouterError:
    """Return the error for a request with ``needs`` when each of ``models``, best first, lacks one.

    The message names the needs that no model meets. If every single need is met by some model, but
    no model meets them all, it names every need that some model lacks. The closest models follow.
    """
    near_misses = [_NearMiss(model, tuple(lacks(model, needs))) for model in models]
    missing = list(dict.fromkeys(need for miss in near_misses for need in miss.lacks))
    # A need that every model lacks is certainly missing. Otherwise only the combination is.
    unmet = [need for need in missing if all(need in miss.lacks for miss in near_misses)]
    if unmet:
        summary = f"supports what this request needs: {', '.join(unmet)}"
    else:
        summary = f"supports at once all that this request needs: {', '.join(missing)}"
    closest = sorted(near_misses, key=lambda miss: miss.distance)[:_MAX_NAMED]
    return RouterError(
        400,
        "no_capable_model",
        f"No model {which} {summary}. Closest: {'; '.join(map(str, closest))}.",
        param="model",
    )


def no_passing_model(
    routes: Sequence[str], failing: Sequence[tuple[str, tuple[str, ...]]]
) -> RouterError:
    """Return the error of routes whose every model fails filters: each name with what it fails.

    Like `no_capable_model` it names the filters that no model passes, else all that some model
    fails, and the closest models.
    """
    failed = list(dict.fromkeys(each for _, filters in failing for each in filters))
    by_all = [each for each in failed if all(each in filters for _, filters in failing)]
    named = ", ".join(map(echo, routes))
    whose = f"route {named} passes its" if len(routes) == 1 else f"routes {named} passes their"
    what = ", ".join(by_all) if by_all else f"{', '.join(failed)}, all at once"
    plural = "s" if len(by_all or failed) > 1 else ""
    closest = sorted(failing, key=lambda each: len(each[1]))[:_MAX_NAMED]
    near = "; ".join(f"{echo(name)} (fails {', '.join(filters)})" for name, filters in closest)
    return RouterError(
        400,
        "no_capable_model",
        f"No model of the {whose} filter{plural}: {what}. Closest: {near}.",
        param="model",
    )
