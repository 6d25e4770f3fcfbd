"""Circuit breakers that several replicas share.

The replica that reported the latest failure probes when the period is over. On all others the
breaker stays open for a grace period more, between half a second and two seconds, which differs by
replica and model. The prober sends an event at once, on which the others wait for another period.
So a model receives one probe a period as long as an event arrives within the time between two grace
periods. This is no lock. If the replica of the latest failure has no request to probe with, and two
others have one within the milliseconds that an event takes, both probe; so does each replica that
the events of the others do not reach.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Final, TypeVar, cast
from zlib import crc32

from autopilot.state.circuit_breaker import (
    MAX_MODELS,
    Breaker,
    CircuitBreaker,
    ClientBreaker,
    probe,
    rest,
)
from autopilot.state.events import NEVER, Failed, Probing, Succeeded, Version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from autopilot.state.circuit_breaker import Client
    from autopilot.state.events import Event
    from autopilot.state.sharing.outbox import Outbox

LONGEST_GRACE: Final = 2.0
"""Seconds; with short periods it is a quarter of the period."""

_Key = TypeVar("_Key")


@dataclass(slots=True)
class _SharedModel(Breaker):
    """A model's breaker: which clients it failed since its last success, each with its last one.

    Only as many clients are kept as it takes to open the breaker, those of the latest versions.
    ``latest``: the version of the failure or the probe from which ``retry_at`` follows, ``at`` its
    time, and ``took`` the seconds of the failure.
    """

    failed: dict[bytes, Version] = field(default_factory=dict)
    latest: Version = NEVER
    at: float = 0.0
    took: float = 0.0


@dataclass(slots=True)
class _SharedClient(ClientBreaker):
    """The same for a model and one client: each failure counts, and its version identifies it."""

    failed: dict[Version, Version] = field(default_factory=dict)
    latest: Version = NEVER
    at: float = 0.0
    took: float = 0.0


class SharedBreaker(CircuitBreaker):
    """Breakers that open and close alike in all replicas, in whatever order they hear of failures.

    A failure counts unless a success has a later version.
    """

    def __init__(self, outbox: Outbox, *, threshold: int, period: float, max_entries: int) -> None:
        super().__init__(threshold=threshold, period=period, max_entries=max_entries)
        self._outbox = outbox
        # The same tables; only this class makes their entries.
        self._models = cast("OrderedDict[str, _SharedModel]", self.breakers)
        self._clients = cast("OrderedDict[tuple[Client, str], _SharedClient]", self.of_clients)
        self._successes: OrderedDict[str, Version] = OrderedDict()
        self._client_successes: OrderedDict[tuple[Client, str], Version] = OrderedDict()

    def configure(self, *, threshold: int, period: float, max_entries: int) -> None:
        """Apply new limits from the next failure on; a threshold of 0 closes every breaker."""
        super().configure(threshold=threshold, period=period, max_entries=max_entries)
        if threshold <= 0:
            self._successes.clear()
            self._client_successes.clear()

    @property
    def enabled(self) -> bool:
        """Whether failures are counted."""
        return self._threshold > 0

    def attempting(self, client: Client, model: str, now: float) -> bool:
        """Record that an attempt starts; if it is a probe, tell the others, which then wait."""
        shared = own = None
        if model in self.opened and probe(self._models[model], now):
            shared = self._models[model]
        if model in self.opened_for.get(client, ()):
            self.of_clients.move_to_end((client, model))
            if probe(self._clients[client, model], now):
                own = self._clients[client, model]
        if shared is None and own is None:
            return False
        version, period = self._outbox.version(), 0.0
        for breaker in (shared, own):
            if breaker is not None:
                breaker.latest, breaker.at = version, now
                period = max(period, breaker.period)
        digest = client if own is not None else b""
        told = Probing(version, 0, model, round(period * 1000), digest, shared is not None)
        self._outbox.add(told)
        return True

    def succeeded(self, client: Client, model: str) -> None:
        """Close the model's breakers, and tell the others if there was a failure to forget."""
        if model not in self.breakers and (client, model) not in self.of_clients:
            return
        version = self._outbox.version()
        self.apply_succeeded(client, model, version)
        self._outbox.add(Succeeded(version, 0, client, model))

    def failed(self, client: Client, model: str, now: float, took: float) -> None:
        """Record that ``model`` failed ``client``, and tell the others."""
        if self._threshold <= 0:
            return
        version = self._outbox.version()
        self.apply_failed(client, model, version, now, took)
        self._outbox.add(Failed(version, 0, client, model, round(took * 1000), b"", b"", False))

    def apply_failed(
        self, client: Client, model: str, version: Version, at: float, took: float
    ) -> None:
        """Apply that ``model`` failed ``client`` at ``at``, here or elsewhere."""
        if self._threshold <= 0:
            return
        if version > self._successes.get(model, NEVER):
            breaker = self._model(model)
            _count(breaker, breaker.failed, client, version, self._threshold)
            self._wait(breaker, model, version, at, took, rest(self.period, took))
            if breaker.failures >= self._threshold:
                self.opened.add(model)
        if version > self._client_successes.get((client, model), NEVER):
            own = self._client(client, model)
            _count(own, own.failed, version, version, self._threshold)
            self._wait(own, model, version, at, took, rest(self.period, took))
            if own.failures >= self._threshold:
                self.opened_for.setdefault(client, set()).add(model)
        self._shrink()

    def apply_succeeded(self, client: Client, model: str, version: Version) -> None:
        """Apply that ``model`` answered ``client``, here or elsewhere."""
        if self._threshold <= 0:
            return
        if version > self._successes.get(model, NEVER):
            self._successes[model] = version
            self._successes.move_to_end(model)
            breaker = self._models.get(model)
            if breaker is not None:
                _forgive(breaker, breaker.failed, version)
                if breaker.failures < self._threshold:
                    self.opened.discard(model)
                if not breaker.failures and breaker.latest < version:
                    del self._models[model]
        key = client, model
        if version > self._client_successes.get(key, NEVER):
            self._client_successes[key] = version
            self._client_successes.move_to_end(key)
            own = self._clients.get(key)
            if own is not None:
                _forgive(own, own.failed, version)
                if own.failures < self._threshold:
                    self._close_for(client, model)
                if not own.failures and own.latest < version:
                    del self._clients[key]
        self._shrink()

    def apply_probing(self, event: Probing, at: float) -> None:
        """Wait for the probe of another replica, which began at ``at``."""
        model, version = event.model, event.version
        # No longer than a failure of this model can count here, whatever another version sends.
        period = min(event.period / 1000, rest(self.period, inf))
        if self._threshold <= 0:
            return
        if event.shared and version > self._successes.get(model, NEVER):
            self._wait(self._model(model), model, version, at, None, period)
        key = event.client, model
        if event.client and version > self._client_successes.get(key, NEVER):
            self._wait(self._client(*key), model, version, at, None, period)
        self._shrink()

    def events(self, now: float) -> Iterator[Event]:
        """Yield events that tell another replica all of this; the tables may change meanwhile."""
        for (client, model), version in tuple(self._client_successes.items()):
            yield Succeeded(version, 0, client, model)
        for model, breaker in tuple(self._models.items()):
            age, took = _age(now, breaker.at), round(breaker.took * 1000)
            for client, version in tuple(breaker.failed.items()):
                yield Failed(version, age, client, model, took, b"", b"", False)
            if breaker.latest not in breaker.failed.values():
                period = round(breaker.period * 1000)
                yield Probing(breaker.latest, age, model, period, b"", True)
        for (client, model), own in tuple(self._clients.items()):
            age, took = _age(now, own.at), round(own.took * 1000)
            for version in tuple(own.failed):
                yield Failed(version, age, client, model, took, b"", b"", False)
            if own.latest not in own.failed:
                period = round(own.period * 1000)
                yield Probing(own.latest, age, model, period, client, False)

    def _wait(
        self,
        breaker: _SharedModel | _SharedClient,
        model: str,
        version: Version,
        at: float,
        took: float | None,
        period: float,
    ) -> None:
        """Let the next probe follow from an event, unless one with a later version is known."""
        if version <= breaker.latest:
            return
        breaker.latest, breaker.at, breaker.period = version, at, period
        if took is not None:
            breaker.took = took
        breaker.retry_at = at + period
        replica = self._outbox.replica
        if version[1] != replica:
            share = crc32(model.encode(), replica & 0xFFFFFFFF) / 2**32
            breaker.retry_at += min(LONGEST_GRACE, period / 4) * (0.25 + 0.75 * share)

    def _model(self, model: str) -> _SharedModel:
        breaker = self._models.get(model)
        if breaker is None:
            breaker = self._models[model] = _SharedModel()
        else:
            self._models.move_to_end(model)
        return breaker

    def _client(self, client: Client, model: str) -> _SharedClient:
        own = self._clients.get((client, model))
        if own is None:
            own = self._clients[client, model] = _SharedClient()
        else:
            self._clients.move_to_end((client, model))
        return own

    def _shrink(self) -> None:
        super()._shrink()
        while len(self._successes) > MAX_MODELS:
            self._successes.popitem(last=False)
        while len(self._client_successes) > self._max_entries:
            self._client_successes.popitem(last=False)


def _count(
    breaker: Breaker, failed: dict[_Key, Version], key: _Key, version: Version, most: int
) -> None:
    """Count a failure, unless a later one is known under its key; keep only the latest ones."""
    if version > failed.get(key, NEVER):
        failed[key] = version
        while len(failed) > most:
            del failed[min(failed, key=failed.__getitem__)]
    breaker.failures = len(failed)


def _forgive(breaker: Breaker, failed: dict[_Key, Version], version: Version) -> None:
    """Forget the failures before a success."""
    for key in [key for key, each in failed.items() if each < version]:
        del failed[key]
    breaker.failures = len(failed)


def _age(now: float, at: float) -> int:
    return max(0, round((now - at) * 1000))
