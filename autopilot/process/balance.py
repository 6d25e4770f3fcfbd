"""The choice of the worker that gets the next connection.

It compares requests first: an idle connection costs nothing, and a stream costs a share of a core
for as long as it lasts. A connection on which no request has arrived yet counts as a request, since
it will bring one; else a burst of connections would all go to the worker that had the fewest
requests when the burst began.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Load(NamedTuple):
    """What a worker has to do: requests, with those about to arrive, and open connections."""

    requests: int
    connections: int


def least_loaded(loads: Sequence[Load | None], last: int) -> int | None:
    """Return the position of the least load, or None if no worker takes a connection.

    A load of None is that of a worker that takes none. Among equals, the first behind the position
    ``last`` is next, so that workers without a difference take turns.
    """
    count = len(loads)
    least: Load | None = None
    chosen = None
    for step in range(1, count + 1):
        position = (last + step) % count
        load = loads[position]
        if load is not None and (least is None or load < least):
            least, chosen = load, position
    return chosen
