"""The tables that outlive a request, and what an event means to them.

What counts as a failure or a success of a model is decided here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autopilot.state.affinity import Key, SessionAffinity
    from autopilot.state.circuit_breaker import CircuitBreaker
    from autopilot.state.latency import LatencyStats

# Fewer tokens say more about the first of them than about the rate.
_MIN_TOKENS_FOR_RATE = 8


@dataclass(frozen=True, slots=True)
class StateTables:
    """What the router remembers between requests. Times are clock seconds handed in."""

    affinity: SessionAffinity
    breaker: CircuitBreaker
    latency: LatencyStats

    def failed(self, key: Key | None, model: str, status: int | None, now: float) -> None:
        """Record that an attempt failed in a way in which another candidate might not.

        ``status`` is that of its response, if it had one; a 4xx says nothing against the model
        (contract §6, cooldown).
        """
        if status is None or status >= 500 or status < 300:
            self.breaker.failed(model, now)
        if key is not None:
            self.affinity.failed(key, model, now)

    def committed(self, key: Key | None, model: str, now: float) -> None:
        """Record that the router committed to a 2xx of ``model``, which may still break."""
        if key is not None:
            self.affinity.served(key, model, now)

    def succeeded(self, model: str) -> None:
        """Record that a 2xx of ``model`` ended whole, or has flowed for the cooldown's period."""
        if self.breaker.breakers:
            self.breaker.succeeded(model)

    def served(self, key: Key | None, model: str, now: float) -> None:
        """Record that the router committed to a 2xx of ``model`` that is whole already."""
        if self.breaker.breakers:
            self.breaker.succeeded(model)
        if key is not None:
            self.affinity.served(key, model, now)

    def broke(self, key: Key | None, model: str, now: float) -> None:
        """Record that a 2xx of ``model`` broke, stalled or reported an error after commit."""
        self.breaker.failed(model, now)
        if key is not None:
            self.affinity.failed(key, model, now, committed=True)

    def ended(
        self,
        model: str,
        first_content: float | None,
        tokens: int,
        seconds: float,
        now: float,
        *,
        whole: bool,
    ) -> None:
        """Record that a streamed 2xx of ``model`` is over, and that it did not break.

        Its first content took ``first_content`` seconds, if that was measured; then ``tokens``
        arrived within ``seconds``. One that is not ``whole`` was left by its client.
        """
        if whole and self.breaker.breakers:
            self.breaker.succeeded(model)
        if first_content is not None:
            self.latency.started(model, first_content, now)
        if tokens >= _MIN_TOKENS_FOR_RATE and seconds > 0:
            self.latency.record_rate(model, tokens / seconds, now)
