"""The parent's answers to its workers' questions for attested instances."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from autopilot.attestation.bug_log import log_bug
from autopilot.attestation.private_instances import (
    Attested,
    Cause,
    PrivateInstances,
    UnavailableError,
)
from autopilot.attestation.private_wire import (
    Acquire,
    Cancel,
    Event,
    Found,
    Hello,
    Missing,
    Notice,
    Standing,
    encode,
    question,
)

LOOK_SECONDS: Final = 2.0
"""How often it is looked whether something has become attestable, or nothing is any more."""
REMEMBERED: Final = 4096
"""Instances that were handed out, of which a worker may have news."""

Send = Callable[[bytes], None]


class InstanceAnswers:
    """All workers that ask. ``start`` tells them from then on whether anything is attestable."""

    def __init__(self, clock: IReactorTime, instances: PrivateInstances) -> None:
        self._clock = clock
        self._instances = instances
        self._askers: set[Asker] = set()
        self._handed: OrderedDict[str, Attested] = OrderedDict()
        self._said: str | None = ""
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock

    def start(self) -> None:
        """Begin to tell."""
        self._loop.start(LOOK_SECONDS, now=False)

    def stop(self) -> None:
        """Tell and answer nothing more."""
        if self._loop.running:
            self._loop.stop()
        for each in tuple(self._askers):
            each.close()

    def join(self, send: Send) -> Asker:
        """Answer a worker, to which ``send`` sends a message."""
        asker = Asker(self._clock, self._instances, self._handed, send, self._askers.discard)
        self._askers.add(asker)
        return asker

    def _look(self) -> None:
        why_not = self._instances.report().why_not
        if why_not != self._said:
            self._said = why_not
            for each in self._askers:
                each.tell()


class Asker:
    """One worker, until it is closed: then what it waits for is given up."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        instances: PrivateInstances,
        handed: OrderedDict[str, Attested],
        send: Send,
        closed: Callable[[Asker], None],
    ) -> None:
        self._clock = clock
        self._instances = instances
        self._handed = handed
        self._send = send
        self._closed = closed
        self._acquiring: dict[int, Deferred[None]] = {}

    def received(self, payload: bytes) -> None:
        """Take a message of the worker."""
        message = question.decode(payload)
        if isinstance(message, Acquire):
            self._acquire(message)
        elif isinstance(message, Cancel):
            acquiring = self._acquiring.get(message.number)
            if acquiring is not None:
                acquiring.cancel()
        elif isinstance(message, Notice):
            self._note(message)
        elif isinstance(message, Hello):
            self.tell()

    def tell(self) -> None:
        """Tell the worker whether anything is attestable."""
        report = self._instances.report()
        self._send(encode(Standing(report.roots, report.why_not)))

    def close(self) -> None:
        """Give up what the worker waits for: it has ended, or this process ends."""
        for each in tuple(self._acquiring.values()):
            each.cancel()
        self._closed(self)

    def _acquire(self, wish: Acquire) -> None:
        acquired = self._instances.acquire(
            wish.chute, wish.client, wish.authorization, wish.avoid, wish.prefer
        )
        acquiring = acquired.addCallbacks(
            self._found, self._missing, callbackArgs=(wish,), errbackArgs=(wish,)
        )
        if not acquiring.called:
            self._acquiring[wish.number] = acquiring
            acquiring.addBoth(self._answered, wish.number)

    def _answered(self, _result: object, number: int) -> None:
        del self._acquiring[number]

    def _found(self, attested: Attested, wish: Acquire) -> None:
        self._handed[attested.nonce] = attested
        if len(self._handed) > REMEMBERED:
            self._handed.popitem(last=False)
        self._send(
            encode(
                Found(
                    wish.number,
                    attested.instance_id,
                    attested.key.text,
                    attested.nonce,
                    attested.verified,
                    self._clock.seconds() - attested.since,
                    attested.word,
                )
            )
        )

    def _missing(self, failure: Failure, wish: Acquire) -> None:
        error = failure.value
        if not isinstance(error, UnavailableError):
            if not failure.check(CancelledError):
                log_bug(self._log, "a worker's request was answered", failure)
            # The worker has left, or this process ends.
            error = UnavailableError(Cause.NOT_READY, retry_after=LOOK_SECONDS)
        self._send(
            encode(
                Missing(
                    wish.number,
                    error.cause,
                    error.refusal,
                    error.retry_after,
                    error.status,
                    tuple(map(str, error.found)),
                )
            )
        )

    def _note(self, notice: Notice) -> None:
        attested = self._handed.get(notice.nonce)
        if attested is None:
            return
        if notice.event is Event.NONCE_REFUSED:
            self._instances.nonce_refused(notice.chute, notice.client, attested)
        elif notice.event is Event.KEY_CHANGED:
            self._instances.key_changed(notice.chute, attested)
        else:
            self._instances.vanished(notice.chute, notice.client, attested)
