"""The destination of one attempt."""

from __future__ import annotations

from msgspec import Struct


class Candidate(Struct, frozen=True, gc=False):
    """One model, with deviations from the endpoint's usual call.

    None means the usual value: the endpoint's own ``origin``, the client's own ``key``, any
    ``instance``.
    """

    model: str
    origin: str | None = None
    key: str | None = None
    instance: str | None = None


def candidates_of(models: tuple[str, ...]) -> tuple[Candidate, ...]:
    """Return the usual candidate of each model, in the order given."""
    return tuple(map(Candidate, models))
