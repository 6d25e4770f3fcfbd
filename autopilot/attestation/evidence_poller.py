"""The poller of the TEE models' evidence, which keeps the last finding for each model.

Evidence is expensive for the platform and has one rate limit for all callers together. The poller
is therefore slow on purpose: one model at a time, with a pause before the first and between any
two, and hours between two fetches for one model. No request waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from msgspec import Struct
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from autopilot.attestation.evidence_parser import is_transient, read_answer, read_failure
from autopilot.attestation.evidence_state import (
    NO_TEE,
    NOT_FETCHED,
    EvidenceState,
    Finding,
    Reason,
    unavailable,
)
from autopilot.http.fetch import FetchedResponse, cancel
from autopilot.http.fetch_error import FetchError
from autopilot.observability.log_rate_limit import LogRateLimit, failure_kind
from autopilot.process.hold_watch import Activity
from autopilot.routing.catalog import Catalog, Model

SPACING: Final = 30.0
"""Seconds between two fetches, at least; the jitter adds up to half of it."""

LIMITED_PAUSE: Final = 120.0
"""Pause in seconds after a 429 of the platform, doubled after each further one."""

MAX_PAUSE: Final = 3600.0
_MAX_DOUBLINGS: Final = 5

RETRY_SHARE: Final = 1 / 6
"""The delay before a retry after a transient failure, as a fraction of the interval."""

REFUSED_FACTOR: Final = 2.0
"""Factor on the interval for a model whose evidence is missing or does not count."""


class ModelEvidence(Struct, frozen=True, gc=False):
    """The finding on one model's evidence, and its age in seconds; None if it does not age.

    ``missed`` is the reason why a later attempt failed while an earlier finding still counts.
    """

    finding: Finding
    age: float | None = None
    missed: Reason | None = None

    def report(self) -> dict[str, Any]:
        """Return the status page's view: fixed words and counts, no text from the platform."""
        finding = self.finding
        if self.age is None:
            return {"state": finding.state}
        return {
            "state": finding.state,
            "reason": finding.reason,
            "age_ms": int(self.age * 1000),
            "instances": finding.instances,
            "failed": finding.failed,
            "gpus": finding.gpus,
            "certificate_bound": finding.certificate_bound,
            "nonces_bound": finding.nonces_bound,
            "last_error": self.missed,
        }


_NO_TEE: Final = ModelEvidence(NO_TEE)
_NOT_FETCHED: Final = ModelEvidence(NOT_FETCHED)


class Findings(Mapping[str, ModelEvidence]):
    """The finding of each model of a catalog, by name, created when it is read.

    A catalog can have thousands of models, of which the status page shows a part.
    """

    def __init__(
        self,
        models: Mapping[str, Model] = MappingProxyType({}),
        finding: Callable[[Model], ModelEvidence] = lambda model: _NO_TEE,
    ) -> None:
        self._models = models
        self._finding = finding

    def __getitem__(self, name: str) -> ModelEvidence:
        return self._finding(self._models[name])

    def state(self, name: str) -> EvidenceState | None:
        """Return the state of a model's evidence, None if the catalog does not list it."""
        model = self._models.get(name)
        return None if model is None else self._finding(model).finding.state

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    @property
    def marked(self) -> list[str]:
        """The names of the models that the catalog marks as TEE, in its order."""
        return [name for name, model in self._models.items() if model.tee is True]


@dataclass(frozen=True, slots=True)
class _History:
    """The results of fetching one model's evidence. Times are seconds of the clock."""

    chute_id: str | None
    finding: Finding
    found_at: float
    due_at: float
    missed: Reason | None = None
    nonce_hashes: frozenset[bytes] = frozenset()


class EvidencePoller:
    """Keeps a finding for each TEE model of the catalog, from `start` to `stop`."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        fetch: Callable[[Model, str], Deferred[FetchedResponse]],
        catalog: Callable[[], Catalog | None],
        refresh: float,
        jitter: Callable[[], float],
        nonce: Callable[[], str],
        activity: Activity | None = None,
        may_fetch: Callable[[], bool] = lambda: True,
    ) -> None:
        """Take a `fetch` of a model's evidence under a nonce, and a generator of nonces.

        `refresh` is the interval for one model in seconds; 0 disables the poller. `jitter` returns
        a number in -1..1. The reading of evidence is noted in the `activity` of the reactor. A
        fetch that is due waits for the next poll unless `may_fetch`, which counts it, permits it.
        """
        self._clock = clock
        self._fetch = fetch
        self._catalog = catalog
        self._refresh = refresh
        self._jitter = jitter
        self._nonce = nonce
        self._may_fetch = may_fetch
        self._histories: dict[str, _History] = {}
        self._loop: LoopingCall | None = None
        self._in_flight: Deferred[None] | None = None
        self._limited = 0
        self._repeats = LogRateLimit()
        self._activity = Activity() if activity is None else activity

    def start(self) -> None:
        """Start polling, after a pause. Does nothing if already started or disabled."""
        if self._loop is not None or not self._refresh:
            return
        self._loop = LoopingCall(self._poll)
        self._loop.clock = self._clock
        self._loop.start(self._spacing(), now=False).addErrback(self._log_bug)

    def stop(self) -> Deferred[None]:
        """Stop polling. Fires when a fetch in flight, which is cancelled, has ended."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.stop()
        return cancel(self._in_flight)

    def findings(self) -> Findings:
        """Return the finding of each model of the catalog, by name."""
        catalog = self._catalog()
        return Findings() if catalog is None else Findings(catalog.models, self._finding)

    def _finding(self, model: Model) -> ModelEvidence:
        if model.tee is not True:
            return _NO_TEE
        history = self._history(model)
        if history is None:
            return _NOT_FETCHED
        age = self._clock.seconds() - history.found_at
        return ModelEvidence(history.finding, age, history.missed)

    def _history(self, model: Model) -> _History | None:
        """Return the history of a model, unless its name now belongs to another chute."""
        history = self._histories.get(model.name)
        return history if history is not None and history.chute_id == model.chute_id else None

    def _poll(self) -> Deferred[None]:
        """Fetch the evidence that is due, if any. Never fails, as that would end the loop."""
        self._in_flight = maybeDeferred(self._fetch_next).addErrback(self._log_bug)
        return self._in_flight

    def _fetch_next(self) -> Deferred[None]:
        """Schedule the next poll, and fetch the evidence that is due longest, if any."""
        loop = self._loop
        assert loop is not None
        loop.starttime = self._clock.seconds()
        loop.interval = self._spacing()
        models = list(self._tee_models())
        self._forget_others(models)
        model = min(models, key=self._due_at, default=None)
        if model is None or self._due_at(model) > self._clock.seconds():
            return succeed(None)
        if not self._may_fetch():
            return succeed(None)
        return self._fetch_evidence(model, self._nonce())

    def _spacing(self) -> float:
        return SPACING * (1.25 + 0.25 * self._jitter())

    def _tee_models(self) -> Iterator[Model]:
        catalog = self._catalog()
        models = () if catalog is None else catalog.models.values()
        return (model for model in models if model.tee is True)

    def _forget_others(self, models: list[Model]) -> None:
        names = {model.name for model in models}
        for name in self._histories.keys() - names:
            del self._histories[name]

    def _due_at(self, model: Model) -> float:
        history = self._history(model)
        return float("-inf") if history is None else history.due_at

    def _fetch_evidence(self, model: Model, nonce: str) -> Deferred[None]:
        before = self._history(model)
        seen = frozenset() if before is None else before.nonce_hashes

        def without_answer(failure: Failure) -> Finding:
            error = failure.value
            if isinstance(error, FetchError):
                return read_failure(error)
            self._log_bug(failure)
            return unavailable(Reason.UNREADABLE)

        return (
            maybeDeferred(self._fetch, model, nonce)
            .addCallback(self._read, nonce, seen)
            .addErrback(without_answer)
            .addCallback(self._store, model)
            .addErrback(self._log_bug)
        )

    def _read(self, answer: FetchedResponse, nonce: str, seen: frozenset[bytes]) -> Finding:
        self._activity.latest = "reading evidence", self._clock.seconds()
        return read_answer(answer, nonce, seen)

    def _store(self, finding: Finding, model: Model) -> None:
        """Store a finding, unless it is a transient failure and an earlier finding still counts."""
        if self._loop is None:
            return
        now = self._clock.seconds()
        before = self._history(model)
        self._back_off(finding, now)
        if before is not None and is_transient(finding) and self._still_counts(before, now):
            finding, found_at, missed = before.finding, before.found_at, finding.reason
        else:
            found_at, missed = now, None
        self._histories[model.name] = record = _History(
            chute_id=model.chute_id,
            finding=finding,
            found_at=found_at,
            due_at=now + self._pause(missed, finding),
            missed=missed,
            nonce_hashes=finding.nonce_hashes or (before.nonce_hashes if before else frozenset()),
        )
        if before is None or record.finding.reason is not before.finding.reason:
            self._log.info("Evidence of {model}: {finding}", model=model.name, finding=str(finding))

    def _still_counts(self, history: _History, now: float) -> bool:
        """Return whether an earlier finding is neither transient nor too old."""
        return not is_transient(history.finding) and now - history.found_at <= 2 * self._refresh

    def _pause(self, missed: Reason | None, finding: Finding) -> float:
        """Return the delay before the model's evidence is fetched again."""
        if missed is not None or is_transient(finding):
            return self._refresh * RETRY_SHARE
        return self._refresh if finding.reason is None else self._refresh * REFUSED_FACTOR

    def _back_off(self, finding: Finding, now: float) -> None:
        """Delay every model after the platform's rate limit was met, exponentially."""
        if finding.reason is not Reason.RATE_LIMITED:
            self._limited = 0
            return
        loop = self._loop
        assert loop is not None and loop.starttime is not None
        pause = min(LIMITED_PAUSE * 2**self._limited, MAX_PAUSE)
        self._limited = min(self._limited + 1, _MAX_DOUBLINGS)
        loop.interval = now - loop.starttime + pause

    def _log_bug(self, failure: Failure) -> None:
        """Log an internal error with its traceback, at a limited rate."""
        repeated = self._repeats.admit(failure_kind(failure), self._clock.seconds()) is None
        if self._loop is not None and not repeated:
            self._log.failure("Internal error while evidence was fetched", failure)
