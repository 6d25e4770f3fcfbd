"""Verdicts on instances' keys: asked for when a key is first needed, kept by key, and aged.

A verdict belongs to a chute and a key as discovery wrote it, never to a quote, which has many
spellings. A question is answered once for all that wait for it, and at most three are asked at a
time. A turn of the reactor takes one step of one verification, such as one GPU, which bounds what
it keeps from other requests.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from autopilot.attestation.bug_log import log_bug
from autopilot.attestation.collateral import Platform
from autopilot.attestation.instances import DiscoveredInstance
from autopilot.attestation.shared_work import SharedWork
from autopilot.attestation.verdict import Refusal, RefusedError, Verified
from autopilot.measurement import Measurement

VERIFIED_SECONDS: Final = 900.0
REFUSED_SECONDS: Final = 60.0
UNATTESTABLE_SECONDS: Final = 900.0
RENEWED_SHARE: Final = 2 / 3
"""The share of a verdict's time after which a request has it renewed."""
AT_ONCE: Final = 3
MAX_VERDICTS: Final = 4096


class NoEvidence(StrEnum):
    """Why there is no evidence to judge."""

    UNATTESTABLE = "unattestable"
    """The platform has none for this instance: its runtime is too old, or it has no TEE."""
    UNANSWERED = "unanswered"
    UNAUTHORIZED = "unauthorized"
    """The platform refuses the client's key, which says nothing to other clients."""


class NoEvidenceError(Exception):
    """There is no evidence. Its text is the reason only."""

    def __init__(self, reason: NoEvidence) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state of a key at a time: verified, refused, or without evidence.

    ``since`` and ``until`` are in the clock's time, and so is ``renewable``: from when on a request
    has it judged anew, behind its back.
    """

    found: Verified | Refusal | NoEvidence
    since: float
    until: float
    renewable: float

    @property
    def verified(self) -> Verified | None:
        """What was verified, if the key was."""
        return self.found if isinstance(self.found, Verified) else None


class Subject(NamedTuple):
    """A key: of which chute, and as discovery wrote it."""

    chute: str
    key: str

    def __repr__(self) -> str:
        return f"Subject(chute={self.chute!r})"


Steps = Generator[None, None, Verified]


@dataclass(frozen=True, slots=True)
class Sources:
    """What a verification needs from elsewhere.

    ``evidence`` fetches the platform's answer for an instance and a nonce, with an authorization;
    it fails with `NoEvidenceError`. ``platform`` reads which collateral an answer needs, and
    ``collateral`` has it, or None. ``steps`` begins a verification: answer, nonce, key, collateral,
    measurements, Unix time. ``wall`` is the time of day.
    """

    evidence: Callable[[DiscoveredInstance, str, str], Deferred[bytes]]
    platform: Callable[[bytes], Platform]
    collateral: Callable[[Platform], Deferred[str | None]]
    measurements: Callable[[], Sequence[Measurement]]
    steps: Callable[[bytes, str, str, str | None, Sequence[Measurement], int], Steps]
    wall: Callable[[], float]


class _Flight(SharedWork[Verdict]):
    """A question under way since a time of the clock."""

    __slots__ = ("since",)

    def __init__(self, since: float) -> None:
        super().__init__()
        self.since = since


class _Turns:
    """Lets one of those that wait go on in each turn of the reactor, in their order."""

    __slots__ = ("_clock", "_next", "_waiting")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: dict[Deferred[None], None] = {}
        self._next: IDelayedCall | None = None

    def wait(self) -> Deferred[None]:
        waiting: Deferred[None] = Deferred(self._cancelled)
        self._waiting[waiting] = None
        if self._next is None:
            self._next = self._clock.callLater(0, self._turn)
        return waiting

    def _turn(self) -> None:
        first = next(iter(self._waiting))
        del self._waiting[first]
        # What is scheduled in a turn runs in the next one.
        self._next = self._clock.callLater(0, self._turn) if self._waiting else None
        first.callback(None)

    def _cancelled(self, waiting: Deferred[None]) -> None:
        del self._waiting[waiting]
        if not self._waiting and self._next is not None:
            self._next.cancel()
            self._next = None


class Verdicts:
    """All verdicts. ``close`` cancels the questions under way.

    ``judged`` is called with the result of each question, and the seconds that it took.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        sources: Sources,
        verified_seconds: float = VERIFIED_SECONDS,
        judged: Callable[[str, float], None] = lambda _reason, _seconds: None,
    ) -> None:
        self._clock = clock
        self._sources = sources
        self._verified_seconds = verified_seconds
        self._judged = judged
        self.changes = 0
        """How often a verdict has come or gone, so that what rests on all need not look anew."""
        self._verdicts: dict[Subject, Verdict] = {}
        self._chutes: dict[str, set[Subject]] = {}
        self._flights: dict[Subject, _Flight] = {}
        self._questions = DeferredSemaphore(AT_ONCE)
        self._turns = _Turns(clock)

    def known(self, subject: Subject) -> Verdict | None:
        """Return the verdict on a key, unless there is none or it has aged."""
        verdict = self._verdicts.get(subject)
        if verdict is None:
            return None
        found = verdict.verified
        # The clock stands still while a machine sleeps, in which time what it rests on may end.
        ended = found is not None and self._sources.wall() >= found.expires
        if self._clock.seconds() < verdict.until and not ended:
            return verdict
        self.forget(subject)
        return None

    def of_chute(self, chute: str) -> dict[str, Verdict]:
        """Return the verdicts that have not aged, by the keys of a chute."""
        known = ((each.key, self.known(each)) for each in tuple(self._chutes.get(chute, ())))
        return {key: verdict for key, verdict in known if verdict is not None}

    def chutes(self) -> Collection[str]:
        """Return the chutes of which there are verdicts, or were."""
        return tuple(self._chutes)

    def judge(
        self, chute: str, instance: DiscoveredInstance, authorization: str
    ) -> Deferred[Verdict]:
        """Return the verdict on an instance's key, known or new; it never fails but by cancelling.

        Cancelling gives up waiting, and ends the question with the last one that waits.
        """
        subject = Subject(chute, instance.key)
        known = self.known(subject)
        if known is not None:
            ready: Deferred[Verdict] = Deferred()
            ready.callback(known)
            return ready
        return self.renew(chute, instance, authorization)

    def renew(
        self, chute: str, instance: DiscoveredInstance, authorization: str
    ) -> Deferred[Verdict]:
        """Ask anew, or join a question under way; until the answer, a known verdict counts."""
        subject = Subject(chute, instance.key)
        flight = self._flights.get(subject)
        if flight is not None:
            return flight.join()
        flight = self._flights[subject] = _Flight(self._clock.seconds())
        waiting = flight.join()
        asking = self._questions.run(self._asked, instance, authorization)
        flight.running = asking.addBoth(self._land, subject, flight)
        return waiting

    def forget(self, subject: Subject) -> None:
        """Forget the verdict on a key, whose instance turned out to have another."""
        if self._verdicts.pop(subject, None) is not None:
            self.changes += 1
            subjects = self._chutes[subject.chute]
            subjects.discard(subject)
            if not subjects:
                del self._chutes[subject.chute]

    def forget_all(self) -> None:
        """Forget all verdicts, because measurements have changed that they rest on."""
        self.changes += 1
        self._verdicts.clear()
        self._chutes.clear()

    def close(self) -> None:
        """Cancel the questions under way, and forget everything."""
        for flight in list(self._flights.values()):
            flight.cancel()
        self.forget_all()

    def _asked(
        self, instance: DiscoveredInstance, authorization: str
    ) -> Deferred[Verified | Refusal | NoEvidence]:
        return Deferred.fromCoroutine(self._ask(instance, authorization))

    async def _ask(
        self, instance: DiscoveredInstance, authorization: str
    ) -> Verified | Refusal | NoEvidence:
        sources = self._sources
        nonce = secrets.token_hex(32)
        try:
            body = await sources.evidence(instance, nonce, authorization)
            collateral = await sources.collateral(sources.platform(body))
            rows, now = sources.measurements(), int(sources.wall())
            steps = sources.steps(body, nonce, instance.key, collateral, rows, now)
            verified = await self._run(steps)
            # They may have changed between two steps.
            if sources.measurements() is not rows:
                _check_row(verified, sources.measurements())
            return verified
        except RefusedError as error:
            return error.refusal
        except NoEvidenceError as error:
            return error.reason

    async def _run(self, steps: Steps) -> Verified:
        """Run a verification, each step in a turn of its own."""
        while True:
            await self._turns.wait()
            try:
                next(steps)
            except StopIteration as stop:
                verified: Verified = stop.value
                return verified

    def _land(
        self, result: Verified | Refusal | NoEvidence | Failure, subject: Subject, flight: _Flight
    ) -> None:
        """Keep the answer and pass it on; a failure is that of all that wait."""
        del self._flights[subject]
        if isinstance(result, Failure) and result.check(CancelledError):
            flight.fail(CancelledError())
            return
        # Whatever went wrong, no key is verified by it.
        if isinstance(result, Failure):
            log_bug(self._log, "evidence was verified", result)
        found = NoEvidence.UNANSWERED if isinstance(result, Failure) else result
        reason = "verified" if isinstance(found, Verified) else found.value
        self._judged(reason, self._clock.seconds() - flight.since)
        flight.succeed(self._kept(subject, found))

    def _kept(self, subject: Subject, found: Verified | Refusal | NoEvidence) -> Verdict:
        """Keep a verdict, unless it only says that one which still counts was not renewed."""
        now = self._clock.seconds()
        before = self.known(subject)
        if isinstance(found, NoEvidence) and before is not None and before.verified is not None:
            verdict = replace(before, renewable=now + REFUSED_SECONDS)
        else:
            verdict = self._verdict(found, now)
        for old in [each for each, kept in self._verdicts.items() if now >= kept.until]:
            self.forget(old)
        while len(self._verdicts) >= MAX_VERDICTS:
            self.forget(next(iter(self._verdicts)))
        # Forgotten first: a verdict that is renewed is the youngest one.
        self.forget(subject)
        if now < verdict.until:
            self.changes += 1
            self._verdicts[subject] = verdict
            self._chutes.setdefault(subject.chute, set()).add(subject)
        return verdict

    def _verdict(self, found: Verified | Refusal | NoEvidence, now: float) -> Verdict:
        lasts = self._lasts(found)
        return Verdict(found, now, now + lasts, now + lasts * RENEWED_SHARE)

    def _lasts(self, found: Verified | Refusal | NoEvidence) -> float:
        if isinstance(found, Verified):
            # What it rests on may end earlier, and by the time of day.
            return max(0.0, min(self._verified_seconds, found.expires - self._sources.wall()))
        if found is NoEvidence.UNATTESTABLE:
            return UNATTESTABLE_SECONDS
        return 0.0 if found is NoEvidence.UNAUTHORIZED else REFUSED_SECONDS


def _check_row(verified: Verified, rows: Sequence[Measurement]) -> None:
    """Raise `RefusedError` unless the row that was found is one of these."""
    if verified.measurement not in rows:
        raise RefusedError(Refusal.MEASUREMENT_UNKNOWN)
