"""What the router knew at one moment, immutable: a request keeps the snapshot it started with."""

from __future__ import annotations

from dataclasses import dataclass, field

from autopilot.routing.catalog import Catalog
from autopilot.routing.eligible import EligibleModels
from autopilot.routing.ranking import Ranked


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The last good data of both feeds.

    ``catalog_at`` and ``utilization_at`` say when they came, in seconds of a monotonic clock; None
    means that the feed has never been read. ``roster`` follows from the data.
    """

    catalog: Catalog | None = None
    ranking: tuple[Ranked, ...] = ()
    catalog_at: float | None = None
    utilization_at: float | None = None
    roster: EligibleModels = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "roster", EligibleModels(self.catalog, self.ranking))
