"""The destination of one attempt."""

from __future__ import annotations

from hashlib import blake2b

from msgspec import Struct

LONGEST_NAME = 256
"""Characters. No model has a longer name; a client may send any where nothing is checked."""

_SHOWN = 64
_MARK_BYTES = 8


class Candidate(Struct, frozen=True, gc=False):
    """One model, with deviations from the endpoint's usual call.

    None means the usual value: the endpoint's own ``origin``, the client's own ``key``, any
    ``instance``, and ``model`` itself as the name that is ``sent`` up. Only a name of absurd
    length, and a private one that turns on thinking, differs from ``model``, which tables, records
    and messages keep.
    """

    model: str
    origin: str | None = None
    key: str | None = None
    instance: str | None = None
    sent: str | None = None


def candidates_of(models: tuple[str, ...]) -> tuple[Candidate, ...]:
    """Return the usual candidate of each model, in the order given."""
    return tuple(map(Candidate, models))


def candidate_of(name: str) -> Candidate:
    """Return the usual candidate of a name of any length."""
    if len(name) <= LONGEST_NAME:
        return Candidate(name)
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=_MARK_BYTES).hexdigest()
    return Candidate(f"{name[:_SHOWN]}…{digest}", sent=name)
