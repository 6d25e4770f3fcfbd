"""Models that keep failing go behind all others for a while, then one request at a time tries them.

A circuit breaker per model: closed (``failures`` below the threshold), open (behind all others
until ``retry_at``), half open (one probe at most per period until one succeeds). Time is an
argument.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

# Names a client made up can get here when unknown models are forwarded, so the table has a bound
# of its own.
_MAX_MODELS = 4096


@dataclass(slots=True)
class _Breaker:
    failures: int = 0
    retry_at: float = 0.0


class CircuitBreaker:
    """Counts retryable failures in a row.

    ``period`` is seconds; a ``threshold`` of 0 turns cooling off.
    """

    def __init__(self, *, threshold: int, period: float) -> None:
        self._threshold = threshold
        self._period = period
        self._breakers: OrderedDict[str, _Breaker] = OrderedDict()
        self._open: set[str] = set()

    def configure(self, *, threshold: int, period: float) -> None:
        """Count by other numbers from the next failure on; a threshold of 0 lets all models go."""
        self._threshold = threshold
        self._period = period
        if threshold <= 0:
            self._breakers.clear()
            self._open.clear()

    def cooling(self, now: float) -> frozenset[str]:
        """The models that go behind all others now; one whose probe is due is not among them."""
        if not self._open:
            return frozenset()
        return frozenset(model for model in self._open if self._breakers[model].retry_at > now)

    @property
    def open(self) -> frozenset[str]:
        """The models that have failed too often and not succeeded since, due for a probe or not."""
        return frozenset(self._open)

    def remaining(self, now: float) -> dict[str, float]:
        """The same, each with the seconds until a request tries it; 0 when the next one does."""
        return {model: max(0.0, self._breakers[model].retry_at - now) for model in self._open}

    def attempting(self, model: str, now: float) -> None:
        """An attempt on ``model`` starts.

        If its probe was due, this is the probe, and the next one waits for a period.
        """
        if model in self._open:
            breaker = self._breakers[model]
            if breaker.retry_at <= now:
                breaker.retry_at = now + self._period

    def succeeded(self, model: str) -> None:
        """``model`` answered."""
        self._breakers.pop(model, None)
        self._open.discard(model)

    def failed(self, model: str, now: float) -> None:
        """``model`` failed retryably."""
        if self._threshold <= 0:
            return
        breaker = self._breakers.setdefault(model, _Breaker())
        self._breakers.move_to_end(model)
        breaker.failures += 1
        if breaker.failures >= self._threshold:
            self._open.add(model)
            breaker.retry_at = now + self._period
        if len(self._breakers) > _MAX_MODELS:
            oldest, _ = self._breakers.popitem(last=False)
            self._open.discard(oldest)
