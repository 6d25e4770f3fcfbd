"""Fallbacks: other services than the platform, whose models are named ``@name/model``.

A list or a route may name them anywhere in its order. Those of ``resort`` are the last resort of
the alias, of lists and of routes: they are tried once no other candidate is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from autopilot.routing.candidate import Candidate
from autopilot.routing.selector import split_order

MARK: Final = "@"
"""The first character of every name that is a fallback's."""


class Fallbacks(Struct, frozen=True, eq=False):
    """The models of all fallbacks, by the name under which a client asks for them."""

    candidates: Mapping[str, Candidate] = {}
    resort: tuple[Candidate, ...] = ()

    @classmethod
    def of(cls, services: Iterable[tuple[str, Iterable[str], str | None]]) -> Fallbacks:
        """Return those of services: the name of each, its models, and its default one or None."""
        candidates: dict[str, Candidate] = {}
        resort = []
        for service, models, default in services:
            for model in models:
                name = f"{MARK}{service}/{model}"
                candidates[name] = Candidate(name, origin=service, sent=model)
            if default is not None:
                resort.append(candidates[f"{MARK}{service}/{default}"])
        return cls(candidates, tuple(resort))

    def claims(self, name: str) -> bool:
        """Return whether a name can only be a fallback's, so that it never goes to the platform."""
        return bool(self.candidates) and name.startswith(MARK)

    def find(self, name: str) -> Candidate | None:
        """Return the candidate that a client's name means, which may end with an order."""
        return self.candidates.get(name) or self.candidates.get(split_order(name)[0])


NO_FALLBACKS: Final = Fallbacks()
