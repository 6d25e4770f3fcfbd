"""What one exchange leaves behind: its record, and what the router learns from it.

Stickiness, cooldown and the moving averages are told here and nowhere else, so that what counts as
a failure or a success of a model is decided in one place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autopilot.observability.records import RequestRecord

if TYPE_CHECKING:
    from autopilot.relay.trace import Trace
    from autopilot.state.affinity import Key, SessionAffinity
    from autopilot.state.circuit_breaker import CircuitBreaker
    from autopilot.state.latency import LatencyStats

_TOKENS_FOR_A_RATE = 8
# A name the client made up may be as long as its request; a record is kept and logged.
_LONGEST_NAME = 256


@dataclass(frozen=True, slots=True)
class Memory:
    """What the router remembers between requests."""

    stickiness: SessionAffinity
    cooldown: CircuitBreaker
    experience: LatencyStats


class Journal:
    """Notes what happens to one exchange. Times are clock seconds handed in."""

    def __init__(
        self,
        memory: Memory,
        key: Key | None,
        *,
        request_id: str,
        mode: str,
        candidates: int,
        snapshot_age: float | None,
        catalog_age: float | None,
        started: float,
        record: Callable[[RequestRecord], None],
        trace: Trace | None = None,
    ) -> None:
        self._memory = memory
        self._key = key
        self._request_id = request_id
        self._mode = mode
        self._candidates = candidates
        self._snapshot_age = snapshot_age
        self._catalog_age = catalog_age
        self._started = started
        self._record = record
        self._trace = trace
        self._model: str | None = None
        self._status: int | None = None
        self._failovers: list[str] = []
        self._first_byte_at: float | None = None
        self.attempts = 0

    def attempting(self, model: str, now: float) -> None:
        """A candidate is tried."""
        self.attempts += 1
        self._model = model
        self._memory.cooldown.attempting(model, now)
        if self._trace is not None:
            self._trace.attempting(model)

    def failed(self, model: str, reason: str, status: int | None, now: float) -> None:
        """The attempt failed in a way another candidate might not.

        ``status`` is that of its response, if it had one; a 4xx says nothing against the model.
        """
        self._failovers.append(reason)
        if status is None or status >= 500 or status < 300:
            self._memory.cooldown.failed(model, now)
        if self._key is not None:
            self._memory.stickiness.failed(self._key, model, now)
        if self._trace is not None:
            self._trace.failed(reason, status)

    def committed(self, model: str, status: int, now: float) -> None:
        """The response of ``model`` goes to the client."""
        self._model, self._status, self._first_byte_at = model, status, now
        if 200 <= status < 300:
            self._memory.cooldown.succeeded(model)
            if self._key is not None:
                self._memory.stickiness.served(self._key, model, now)
        if self._trace is not None:
            self._trace.committed(status)

    def answered(self, model: str, seconds: float, now: float) -> None:
        """``model`` took this long to the first part of its streamed answer."""
        self._memory.experience.started(model, seconds, now)

    def streamed(self, model: str, tokens: int, seconds: float, now: float) -> None:
        """``model`` streamed this many tokens in this time."""
        if tokens >= _TOKENS_FOR_A_RATE and seconds > 0:
            self._memory.experience.record_rate(model, tokens / seconds, now)

    def refused(self, status: int, now: float) -> None:
        """The router answers with an error of its own."""
        self._status, self._first_byte_at = status, now

    def close(self, outcome: str, sent: int, terminated: bool, now: float) -> None:
        """The exchange is over."""
        first = self._first_byte_at
        record = RequestRecord(
            request_id=self._request_id,
            mode=self._mode,
            candidates=self._candidates,
            model=None if self._model is None else self._model[:_LONGEST_NAME],
            attempts=self.attempts,
            failovers=tuple(self._failovers),
            status=self._status,
            snapshot_age=self._snapshot_age,
            catalog_age=self._catalog_age,
            first_byte=None if first is None else first - self._started,
            duration=now - self._started,
            sent=sent,
            outcome=outcome,
            terminated=terminated,
        )
        self._record(record)
        if self._trace is not None:
            self._trace.over(record)
