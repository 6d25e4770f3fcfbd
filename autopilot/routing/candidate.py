"""A place that one attempt of a request may go to."""

from __future__ import annotations

from msgspec import Struct


class Candidate(Struct, frozen=True, gc=False):
    """One model, and what of its call differs from the endpoint's usual one.

    None means the usual: the endpoint's own ``origin``, the client's own ``key``, any ``instance``.
    """

    model: str
    origin: str | None = None
    key: str | None = None
    instance: str | None = None


def candidates_of(models: tuple[str, ...]) -> tuple[Candidate, ...]:
    """Return the usual candidate of each model, in the order given."""
    return tuple(map(Candidate, models))
