"""An immutable snapshot of the platform's data, which a request keeps until its end."""

from __future__ import annotations

from dataclasses import dataclass, field

from autopilot.routing.catalog import Catalog
from autopilot.routing.eligible import EligibleModels
from autopilot.routing.ranking import Ranked


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The last good data of both feeds.

    ``catalog_at`` and ``utilization_at`` are the times of arrival in seconds of a monotonic clock,
    None before the first successful fetch. ``measured_at`` is when the newest loads were measured,
    by the feed's own times and the same clock; None if it gives none. ``eligible`` is derived from
    the data.
    """

    catalog: Catalog | None = None
    ranking: tuple[Ranked, ...] = ()
    catalog_at: float | None = None
    utilization_at: float | None = None
    measured_at: float | None = None
    eligible: EligibleModels = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "eligible", EligibleModels(self.catalog, self.ranking))
