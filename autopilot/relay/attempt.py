"""One upstream attempt: what is known of it so far, and which of its deadlines is the nearest."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from autopilot.routing import retry_policy

if TYPE_CHECKING:
    from autopilot.relay.commit import CommitPolicy
    from autopilot.upstream.types import ResponseHead, UpstreamCall, UpstreamError


class Expiry(StrEnum):
    """Which deadline passed. Those that fail the attempt carry the reason they fail it with."""

    TOTAL = "total_deadline"
    ERROR_BODY = "error_body_timeout"
    PAUSE = "pause"
    HEADER = retry_policy.HEADER_TIMEOUT
    FIRST_BODY_BYTE = retry_policy.FIRST_BODY_BYTE_TIMEOUT
    IDLE = retry_policy.IDLE_TIMEOUT
    FAILOVER_AFTER = retry_policy.FAILOVER_AFTER


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each phase may take, in seconds."""

    header: float
    unary: float
    first_body_byte: float
    idle: float
    error_body: float
    total: float


@dataclass(slots=True)
class Attempt:
    """One attempt on one model. ``last`` means that no candidate is left to turn to.

    ``allowance`` is the time to the first part of the answer while another candidate is left, in
    seconds. ``replayed``: the request is sent once more, on a fresh connection. ``ended`` and
    ``broken`` say how the response ended while its bytes were still ``held``.
    """

    model: str
    last: bool
    started: float
    allowance: float | None
    replayed: bool = False
    call: UpstreamCall | None = None
    head: ResponseHead | None = None
    head_at: float = 0.0
    heard_at: float = 0.0
    dial: CommitPolicy | None = None
    held: list[bytes] = field(default_factory=list, repr=False)
    ended: bool = False
    broken: UpstreamError | None = None

    @property
    def held_bytes(self) -> int:
        """How much of the body is held."""
        return sum(map(len, self.held))

    @property
    def answered(self) -> bool:
        """Whether part of the answer has been seen, even if it is still held."""
        return self.dial is not None and self.dial.answered

    @property
    def _silent(self) -> bool:
        """Whether an answer may still come and has not begun; an error is no longer one."""
        return not self.answered and (self.head is None or self.dial is not None)

    def nearest(self, timeouts: Timeouts, *, stream: bool) -> tuple[float, Expiry]:
        """The clock time of the attempt's nearest deadline before its commit, and which it is."""
        due = self._phase(timeouts, stream=stream)
        if self.allowance is not None and self._silent:
            return min(due, (self.started + self.allowance, Expiry.FAILOVER_AFTER))
        return due

    def _phase(self, timeouts: Timeouts, *, stream: bool) -> tuple[float, Expiry]:
        if self.head is None:
            # The platform sends a head with the first token, and to a plain call only with the
            # whole answer.
            return self.started + (timeouts.header if stream else timeouts.unary), Expiry.HEADER
        if self.dial is None:
            return self.head_at + timeouts.error_body, Expiry.ERROR_BODY
        if not self.held:
            return self.head_at + timeouts.first_body_byte, Expiry.FIRST_BODY_BYTE
        return self.heard_at + timeouts.idle, Expiry.IDLE
