"""A circuit breaker per model: a model that keeps failing is ranked behind all others for a while.

The breaker is closed while ``failures`` is below the threshold, open (ranked behind all others)
until ``retry_at``, and half open after that: at most one probe per period until one succeeds. Time
is an argument.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

# With UNKNOWN_MODELS=forward a client can send any name, so the table needs a bound.
_MAX_MODELS = 4096


@dataclass(slots=True)
class _Breaker:
    """The failures of one model in a row, and when an open breaker admits its next probe."""

    failures: int = 0
    retry_at: float = 0.0


class CircuitBreaker:
    """Circuit breakers of all models, opened by consecutive retryable failures (contract §6).

    ``period`` is in seconds; a ``threshold`` of 0 disables them.
    """

    def __init__(self, *, threshold: int, period: float) -> None:
        self._threshold = threshold
        self.period = period
        """Seconds; to be read, not written."""
        self.breakers: OrderedDict[str, _Breaker] = OrderedDict()
        """The models that failed since their last success; to be read, not written."""
        self.opened: set[str] = set()
        """Models whose breaker is not closed; to be read, not written. Empty in the usual case."""

    def configure(self, *, threshold: int, period: float) -> None:
        """Apply new limits from the next failure on; a threshold of 0 closes every breaker."""
        self._threshold = threshold
        self.period = period
        if threshold <= 0:
            self.breakers.clear()
            self.opened.clear()

    def cooling(self, now: float) -> frozenset[str]:
        """Return the models to rank behind all others now, without those whose probe is due."""
        if not self.opened:  # the usual case, on the path of every request
            return frozenset()
        return frozenset(model for model in self.opened if self.breakers[model].retry_at > now)

    @property
    def open(self) -> frozenset[str]:
        """The models whose breaker is not closed, whether their probe is due or not."""
        return frozenset(self.opened)

    def remaining(self, now: float) -> dict[str, float]:
        """Return the same models, each with the seconds until its next probe; 0 if it is due."""
        return {model: max(0.0, self.breakers[model].retry_at - now) for model in self.opened}

    def attempting(self, model: str, now: float) -> None:
        """Record that an attempt on ``model`` starts.

        If a probe was due, this attempt is the probe, and the next one has to wait for a period.
        """
        if model in self.opened:
            breaker = self.breakers[model]
            if breaker.retry_at <= now:
                breaker.retry_at = now + self.period

    def succeeded(self, model: str) -> None:
        """Record that ``model`` answered, and close its breaker."""
        if self.breakers.pop(model, None) is not None:
            self.opened.discard(model)

    def failed(self, model: str, now: float) -> None:
        """Record that ``model`` failed retryably."""
        if self._threshold <= 0:
            return
        breaker = self.breakers.setdefault(model, _Breaker())
        self.breakers.move_to_end(model)
        breaker.failures += 1
        if breaker.failures >= self._threshold:
            self.opened.add(model)
            breaker.retry_at = now + self.period
        if len(self.breakers) > _MAX_MODELS:
            oldest, _ = self.breakers.popitem(last=False)
            self.opened.discard(oldest)
