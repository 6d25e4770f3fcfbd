"""Parsed request with its plan, from which its exchange is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from autopilot.request.parse import ParsedRequest
    from autopilot.routing.plan import Plan
    from autopilot.routing.why import AffinityWhy
    from autopilot.state.affinity import AffinityKey


class PlannedRequest(Struct, frozen=True, gc=False):
    """A parsed request with its plan.

    ``key`` identifies its conversation for stickiness, and ``remembered`` is the candidate that the
    conversation had last. ``displaced`` says why that one is not the first, or why there is none.
    """

    parsed: ParsedRequest
    plan: Plan
    key: AffinityKey | None
    remembered: str | None
    displaced: AffinityWhy | None

    @property
    def first_only(self) -> PlannedRequest:
        """The same for a count of tokens, which leaves nothing to remember.

        It goes to the model that the conversation's next request would try first (contract §1).
        """
        return PlannedRequest(self.parsed, self.plan.first_only, None, None, None)

    def __repr__(self) -> str:
        return f"PlannedRequest({self.plan!r}, {self.parsed.commit!r})"
