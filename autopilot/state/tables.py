"""The tables that outlive a request, and what an event means to them.

What counts as a failure or a success of a model is decided here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from autopilot.routing.failure_reason import FailureReason
from autopilot.state.affinity import SessionAffinity
from autopilot.state.circuit_breaker import CircuitBreaker
from autopilot.state.latency import LatencyStats, Pauses

if TYPE_CHECKING:
    from autopilot.state.affinity import AffinityKey
    from autopilot.state.circuit_breaker import Client

# Fewer tokens say more about the first of them than about the rate.
_MIN_TOKENS_FOR_RATE = 8


class GivenUp(NamedTuple):
    """An attempt that gave way to another candidate when its allowance ran out, after ``took``.

    ``reason``: that of its failover. ``plain``: the answer was not to be a stream. ``paused``: how
    long a stream had been silent of which part had arrived. Times are in seconds.
    """

    model: str
    reason: FailureReason
    took: float
    plain: bool = False
    paused: float | None = None


@dataclass(frozen=True, slots=True)
class StateTables:
    """What the router remembers between requests. Times are clock seconds handed in."""

    affinity: SessionAffinity
    breaker: CircuitBreaker
    latency: LatencyStats

    @classmethod
    def apart(cls) -> StateTables:
        """Return tables for requests that show nothing of how a model generates.

        They remember no client and cool no model; their times stay among themselves.
        """
        return cls(
            SessionAffinity(ttl=0, max_entries=1, list_retry=0),
            CircuitBreaker(threshold=0, period=10, max_entries=1),
            LatencyStats(),
        )

    def failed(
        self,
        client: Client,
        key: AffinityKey | None,
        model: str,
        reason: FailureReason,
        now: float,
        took: float,
    ) -> None:
        """Record that an attempt failed in a way in which another candidate might not.

        It ``took`` so many seconds. A prompt that is too long for a model says nothing against it;
        any other ``reason`` does, whatever the status (contract §6, cooldown).
        """
        if reason is not FailureReason.CONTEXT:
            self.breaker.failed(client, model, now, took)
        if key is not None:
            self.affinity.failed(key, model, now, took)

    def given_up(
        self,
        client: Client,
        key: AffinityKey | None,
        given_up: GivenUp,
        answered_in: float | None,
        now: float,
    ) -> None:
        """Record an attempt whose allowance ran out, once it is known whether another answered.

        It failed if a later candidate answered, in ``answered_in`` seconds, within the time that it
        had had. Otherwise its time is a sample of the model's: a long thought is not an outage
        (contract §6).
        """
        model, took = given_up.model, given_up.took
        if answered_in is not None and answered_in <= took:
            self.failed(client, key, model, given_up.reason, now, took)
        elif given_up.paused is not None:
            pauses = Pauses()
            pauses.add(given_up.paused)
            self.latency.paused(model, pauses)
        elif given_up.plain:
            self.latency.answered(model, took)
        else:
            self.latency.started(model, took, now)

    def committed(self, key: AffinityKey | None, model: str, now: float) -> None:
        """Record that the router committed to a 2xx of ``model``, which may still break."""
        if key is not None:
            self.affinity.served(key, model, now)

    def broke(
        self, client: Client, key: AffinityKey | None, model: str, now: float, took: float
    ) -> None:
        """Record that a 2xx of ``model`` broke, stalled or reported an error after commit."""
        self.breaker.failed(client, model, now, took)
        if key is not None:
            self.affinity.failed(key, model, now, took, committed=True)

    def ended(
        self,
        model: str,
        first_content: float | None,
        tokens: int,
        seconds: float,
        now: float,
        pauses: Pauses | None = None,
    ) -> None:
        """Record that a streamed 2xx of ``model`` is over, and that it did not break.

        Its first content took ``first_content`` seconds, if that was measured; then ``tokens``
        arrived within ``seconds``, with these ``pauses``.
        """
        rate = tokens / seconds if tokens >= _MIN_TOKENS_FOR_RATE and seconds > 0 else None
        self.latency.ended(model, first_content, rate, pauses, now)
