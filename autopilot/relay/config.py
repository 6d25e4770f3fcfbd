"""The data plane's own configuration, mapped from the settings in `wiring`.

It is replaced whole on a reload; an exchange keeps the one that it began with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autopilot.relay.sse_guard import GuardLevel
    from autopilot.request.parse import ParseConfig
    from autopilot.routing.identity import Trust
    from autopilot.routing.retry_policy import Policy


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each phase of an exchange may take, in seconds (contract §6, deadlines).

    ``failover_after`` is the allowance of a stream while another candidate is left.
    """

    connect: float
    header: float
    unary: float
    first_body_byte: float
    idle: float
    error_body: float
    failover_after: float
    total: float


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """How requests are admitted, tried and relayed. Sizes are in bytes."""

    parsing: ParseConfig
    timeouts: Timeouts
    policy: Policy
    guard: GuardLevel
    max_attempts: int
    commit_max_bytes: int
    max_active: int
    trust: Trust
