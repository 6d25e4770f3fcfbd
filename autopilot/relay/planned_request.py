"""What an exchange is made of: a request with its plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, structs

if TYPE_CHECKING:
    from autopilot.relay.downstream import ClientRequest
    from autopilot.request.parse import ParsedRequest
    from autopilot.routing.plan import Plan
    from autopilot.routing.snapshot import Snapshot
    from autopilot.routing.why import AffinityWhy
    from autopilot.state.affinity import AffinityKey


class PlannedRequest(Struct, frozen=True, gc=False):
    """A request with its plan, and what the plan was made from.

    ``started`` is the clock time at which the request was read. ``key`` identifies its conversation
    for stickiness, and ``remembered`` is the candidate that the conversation had last.
    ``displaced`` says why that one is not the first, or why there is none.
    """

    request: ClientRequest
    snapshot: Snapshot
    started: float
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
        return structs.replace(
            self, plan=self.plan.first_only, key=None, remembered=None, displaced=None
        )

    def __repr__(self) -> str:
        return f"PlannedRequest({self.plan!r}, {self.parsed.commit!r})"
