"""Circuit breakers: a model that keeps failing is ranked behind all others for a while.

Each client has breakers of its own, so that no client cools a model for others; a model's shared
breaker counts the clients for which it failed (contract §6, cooldown).

A breaker is closed while its count is below the threshold, open (ranked behind all others) until
``retry_at``, and half open after that: at most one probe per period until one succeeds. Time is an
argument, and every operation on one client is O(1).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

# With UNKNOWN_MODELS=forward a client can send any name, so the table needs a bound.
MAX_MODELS = 4096
_PERIODS_OF_FAILURE = 10
_LONGEST = 300.0
_NONE: frozenset[str] = frozenset()

Client = bytes
"""A client's hash."""


def rest(period: float, took: float) -> float:
    """Return the seconds for which a failure counts: ``period``, or more if it took long."""
    return max(period, min(_PERIODS_OF_FAILURE * took, _LONGEST))


@dataclass(slots=True)
class Breaker:
    """A count of failures, the period after the last one, and when the next probe is admitted."""

    failures: int = 0
    period: float = 0.0
    retry_at: float = 0.0


@dataclass(slots=True)
class ClientBreaker(Breaker):
    """The failures of one model in a row for one client.

    ``counted``: the model's shared breaker, if it has counted this client.
    """

    counted: Breaker | None = None


class CircuitBreaker:
    """Circuit breakers of all models, opened by consecutive failures (contract §6).

    ``period`` is in seconds; a ``threshold`` of 0 disables them. ``max_entries`` limits the
    breakers of clients; the least recently used one is evicted.
    """

    def __init__(self, *, threshold: int, period: float, max_entries: int) -> None:
        self._threshold = threshold
        self._max_entries = max_entries
        self.period = period
        """Seconds; to be read, not written."""
        self.breakers: OrderedDict[str, Breaker] = OrderedDict()
        """The models that failed since their last success; to be read, not written."""
        self.opened: set[str] = set()
        """Models whose shared breaker is open; to be read, not written. Usually empty."""
        self.of_clients: OrderedDict[tuple[Client, str], ClientBreaker] = OrderedDict()
        """Failures by model and client since the last success; to be read, not written."""
        self.opened_for: dict[Client, set[str]] = {}
        """Models whose breaker is open for one client; to be read, not written. Usually empty."""

    def configure(self, *, threshold: int, period: float, max_entries: int) -> None:
        """Apply new limits from the next failure on; a threshold of 0 closes every breaker."""
        self._threshold = threshold
        self._max_entries = max_entries
        self.period = period
        if threshold <= 0:
            self.breakers.clear()
            self.opened.clear()
            self.of_clients.clear()
            self.opened_for.clear()
        self._shrink()

    def cooling(self, client: Client | None, now: float) -> frozenset[str]:
        """Return the models to rank behind all others now, without those whose probe is due."""
        if not self.opened and not self.opened_for:  # the usual case
            return _NONE
        breakers, of_clients = self.breakers, self.of_clients
        cooling = {model for model in self.opened if breakers[model].retry_at > now}
        if client is not None and client in self.opened_for:
            for model in self.opened_for[client]:
                if of_clients[client, model].retry_at > now:
                    cooling.add(model)
        return frozenset(cooling)

    @property
    def open(self) -> frozenset[str]:
        """The models whose shared breaker is open, whether their probe is due or not."""
        return frozenset(self.opened)

    def remaining(self, now: float) -> dict[str, float]:
        """Return the same models, each with the seconds until its next probe; 0 if it is due."""
        return {model: max(0.0, self.breakers[model].retry_at - now) for model in self.opened}

    def attempting(self, client: Client, model: str, now: float) -> bool:
        """Record that an attempt on ``model`` starts, and return whether it is a probe.

        If a probe was due, this attempt is the probe, and the next one has to wait for a period.
        """
        probes = False
        if model in self.opened:
            probes = probe(self.breakers[model], now)
        if model in self.opened_for.get(client, ()):
            self.of_clients.move_to_end((client, model))
            probes = probe(self.of_clients[client, model], now) or probes
        return probes

    def succeeded(self, client: Client, model: str) -> None:
        """Record that ``model`` answered: close its shared breaker, and that of ``client``."""
        if self.breakers.pop(model, None) is not None:
            self.opened.discard(model)
        if self.of_clients.pop((client, model), None) is not None:
            self._close_for(client, model)

    def failed(self, client: Client, model: str, now: float, took: float) -> None:
        """Record that ``model`` failed ``client`` in a way that counts, after ``took`` seconds."""
        if self._threshold <= 0:
            return
        breaker = self.breakers.setdefault(model, Breaker())
        self.breakers.move_to_end(model)
        own = self.of_clients.setdefault((client, model), ClientBreaker())
        self.of_clients.move_to_end((client, model))
        if own.counted is not breaker:  # the first failure for this client since a success
            own.counted = breaker
            breaker.failures += 1
        own.failures += 1
        period = rest(self.period, took)
        if breaker.failures >= self._threshold:
            self.opened.add(model)
            breaker.period, breaker.retry_at = period, now + period
        if own.failures >= self._threshold:
            self.opened_for.setdefault(client, set()).add(model)
            own.period, own.retry_at = period, now + period
        self._shrink()

    def _close_for(self, client: Client, model: str) -> None:
        opened = self.opened_for.get(client)
        if opened is not None:
            opened.discard(model)
            if not opened:
                del self.opened_for[client]

    def _shrink(self) -> None:
        while len(self.breakers) > MAX_MODELS:
            oldest, _ = self.breakers.popitem(last=False)
            self.opened.discard(oldest)
        while len(self.of_clients) > self._max_entries:
            (client, model), _ = self.of_clients.popitem(last=False)
            self._close_for(client, model)


def probe(breaker: Breaker, now: float) -> bool:
    """Let an attempt be the probe of an open breaker, if one was due; return whether it was."""
    due = breaker.retry_at <= now
    if due:
        breaker.retry_at = now + breaker.period
    return due
