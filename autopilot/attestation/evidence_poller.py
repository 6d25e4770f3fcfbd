"""Asks now and then for the evidence of the TEE models, and remembers what it came to.

The platform answers such questions at a cost, under one limit for all its callers together, so this
is slow on purpose: one model at a time, with a pause before the first and between any two, and each
model again after hours. No request waits for any of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from autopilot.attestation.evidence_parser import passing, read_answer, read_failure
from autopilot.attestation.evidence_state import NO_TEE, NOT_FETCHED, Finding, Reason, unavailable
from autopilot.http.fetch import FetchedResponse, cancel
from autopilot.http.fetch_error import FetchError
from autopilot.observability.log_rate_limit import LogRateLimit, alike
from autopilot.routing.catalog import Catalog, Model

SPACING: Final = 30.0
"""Seconds between two questions, at least; up to half as much is added by chance."""

LIMITED_PAUSE: Final = 120.0
"""Seconds of silence after the platform's limit was met, doubled each time it is met again."""

LONGEST_PAUSE: Final = 3600.0
_MOST_DOUBLINGS: Final = 5

RETRY_SHARE: Final = 1 / 6
"""When to ask again after something was in the way, as a share of the usual interval."""

REFUSED_FACTOR: Final = 2.0
"""How much longer than usual to leave a model in peace that has no evidence that counts."""


class Known(NamedTuple):
    """What is known of one model's evidence, and for how many seconds; None for ever.

    ``missed`` says why a later attempt brought nothing, while the finding of an earlier one stands.
    """

    finding: Finding
    age: float | None = None
    missed: Reason | None = None

    def report(self) -> dict[str, Any]:
        """The same for the status page: fixed words and counts, nothing that was sent."""
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


@dataclass(frozen=True, slots=True)
class _Record:
    """What the questions about one model have come to. Times are seconds of the clock."""

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
    ) -> None:
        """`fetch` asks for the evidence of a model under a nonce, which `nonce` makes anew.

        `refresh` is the seconds between two questions about one model, 0 for none at all, and
        `jitter` returns a number in -1..1.
        """
        self._clock = clock
        self._fetch = fetch
        self._catalog = catalog
        self._refresh = refresh
        self._jitter = jitter
        self._nonce = nonce
        self._records: dict[str, _Record] = {}
        self._loop: LoopingCall | None = None
        self._in_flight: Deferred[None] | None = None
        self._limited = 0
        self._repeats = LogRateLimit()

    def start(self) -> None:
        """Begin to ask, after a pause. Does nothing when already started or never to ask."""
        if self._loop is not None or not self._refresh:
            return
        self._loop = LoopingCall(self._round)
        self._loop.clock = self._clock
        self._loop.start(self._spacing(), now=False).addErrback(self._unexpected)

    def stop(self) -> Deferred[None]:
        """Ask no more. Fires when a question in flight, which is cancelled, has ended."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.stop()
        return cancel(self._in_flight)

    def known(self) -> Mapping[str, Known]:
        """What is known of each model of the catalog, by name."""
        catalog = self._catalog()
        models = () if catalog is None else catalog.models.values()
        return {model.name: self._known(model) for model in models}

    def _known(self, model: Model) -> Known:
        if model.tee is not True:
            return Known(NO_TEE)
        record = self._record(model)
        if record is None:
            return Known(NOT_FETCHED)
        age = self._clock.seconds() - record.found_at
        return Known(record.finding, age, record.missed)

    def _record(self, model: Model) -> _Record | None:
        """What is remembered of a model; a name that another chute has taken over has no past."""
        record = self._records.get(model.name)
        return record if record is not None and record.chute_id == model.chute_id else None

    # -- asking

    def _round(self) -> Deferred[None]:
        """Ask once, if a question is due. Its Deferred never fails, which would end the loop."""
        self._in_flight = maybeDeferred(self._ask_next).addErrback(self._unexpected)
        return self._in_flight

    def _ask_next(self) -> Deferred[None]:
        loop = self._loop
        assert loop is not None
        loop.starttime = self._clock.seconds()
        loop.interval = self._spacing()
        models = list(self._tee_models())
        self._forget_all_but(models)
        model = min(models, key=self._due_at, default=None)
        if model is None or self._due_at(model) > self._clock.seconds():
            return succeed(None)
        return self._ask(model, self._nonce())

    def _spacing(self) -> float:
        return SPACING * (1.25 + 0.25 * self._jitter())

    def _tee_models(self) -> Iterator[Model]:
        catalog = self._catalog()
        models = () if catalog is None else catalog.models.values()
        return (model for model in models if model.tee is True)

    def _forget_all_but(self, models: list[Model]) -> None:
        names = {model.name for model in models}
        for name in self._records.keys() - names:
            del self._records[name]

    def _due_at(self, model: Model) -> float:
        record = self._record(model)
        return float("-inf") if record is None else record.due_at

    def _ask(self, model: Model, nonce: str) -> Deferred[None]:
        before = self._record(model)
        seen = frozenset() if before is None else before.nonce_hashes

        def without_answer(failure: Failure) -> Finding:
            error = failure.value
            if isinstance(error, FetchError):
                return read_failure(error)
            self._unexpected(failure)
            return unavailable(Reason.UNREADABLE)

        return (
            maybeDeferred(self._fetch, model, nonce)
            .addCallback(read_answer, nonce, seen)
            .addErrback(without_answer)
            .addCallback(self._take, model)
            .addErrback(self._unexpected)
        )

    def _take(self, finding: Finding, model: Model) -> None:
        """Remember a finding, unless it only says that something was in the way of a better one."""
        if self._loop is None:
            return
        now = self._clock.seconds()
        before = self._record(model)
        self._yield_to_limit(finding, now)
        if before is not None and passing(finding) and self._stands(before, now):
            finding, found_at, missed = before.finding, before.found_at, finding.reason
        else:
            found_at, missed = now, None
        self._records[model.name] = record = _Record(
            chute_id=model.chute_id,
            finding=finding,
            found_at=found_at,
            due_at=now + self._pause(missed, finding),
            missed=missed,
            nonce_hashes=finding.nonce_hashes or (before.nonce_hashes if before else frozenset()),
        )
        if before is None or record.finding.reason is not before.finding.reason:
            self._log.info("Evidence of {model}: {finding}", model=model.name, finding=str(finding))

    def _stands(self, record: _Record, now: float) -> bool:
        """Whether an earlier finding says something, and not too long ago."""
        return not passing(record.finding) and now - record.found_at <= 2 * self._refresh

    def _pause(self, missed: Reason | None, finding: Finding) -> float:
        """How long to leave a model in peace."""
        if missed is not None or passing(finding):
            return self._refresh * RETRY_SHARE
        return self._refresh if finding.reason is None else self._refresh * REFUSED_FACTOR

    def _yield_to_limit(self, finding: Finding, now: float) -> None:
        """Leave all models in peace for a while when the platform's limit was met."""
        if finding.reason is not Reason.RATE_LIMITED:
            self._limited = 0
            return
        loop = self._loop
        assert loop is not None and loop.starttime is not None
        pause = min(LIMITED_PAUSE * 2**self._limited, LONGEST_PAUSE)
        self._limited = min(self._limited + 1, _MOST_DOUBLINGS)
        loop.interval = now - loop.starttime + pause

    def _unexpected(self, failure: Failure) -> None:
        known = self._repeats.met(alike(failure), self._clock.seconds()) is None
        if self._loop is not None and not known:
            self._log.failure("Evidence: a bug", failure)
