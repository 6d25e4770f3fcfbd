"""Who and what is let in."""

from __future__ import annotations

from dataclasses import dataclass

from autopilot.relay.course import Conduct
from autopilot.routing.commit import Commit
from autopilot.routing.identity import Trust
from autopilot.routing.plan import Rules
from autopilot.routing.router_error import RouterError


@dataclass(frozen=True, slots=True)
class Admission:
    """Who and what is let in, and by which settings it goes then."""

    rules: Rules
    conduct: Conduct
    commit: Commit
    trust: Trust
    max_active: int
    max_body: int
    failover_after: float


def too_large(limit: int) -> RouterError:
    """The refusal of a body over ``limit`` bytes, made also while such a body is still arriving."""
    return RouterError(
        413, "request_too_large", f"The request body is larger than the {limit} bytes allowed."
    )
