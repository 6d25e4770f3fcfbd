"""The reports of the workers, as the parent collects them, and the pages that workers ask for.

A worker reports when it is asked, every few seconds and for each page, and before it ends. The
parent keeps the bytes of the last report of each, and reads them only for a page: a worker that
does not answer holds up no page for longer than a second, and no counter decreases when a worker
ends. What a worker that is killed had counted since its last report is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from autopilot.observability.worker_report import Whole, WorkerReport, decode_report
from autopilot.service.frames import Kind
from autopilot.web.status.collected_pages import PageName
from autopilot.web.status.parents_pages import NoAnswerError

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

PERIOD: Final = 5.0
"""Seconds between two reports of a worker, if no page is asked for."""
ASK_AGAIN: Final = 30.0
"""Seconds after which a worker is asked again that has not answered: its report may have failed."""
COLLECTION_LIMIT: Final = 1.0
"""Seconds after which a page is rendered with the last report of a worker that does not answer."""
ANSWER_LIMIT: Final = 3.0
"""Seconds that a worker waits for a page of its parent."""


class Sender(Protocol):
    """The end of a stream of frames."""

    def send(self, kind: Kind, payload: bytes) -> None:
        """Send a frame."""


class Reporting(Protocol):
    """A worker's process, as far as it reports."""

    @property
    def number(self) -> int:
        """The number of the worker."""

    @property
    def frames(self) -> Sender:
        """The way to it."""


@dataclass(slots=True)
class _Last:
    """The last report of a process, and when it arrived and was asked for."""

    payload: bytes = b""
    at: float = 0.0
    asked_at: float | None = None
    """None if the last question has been answered."""
    report: WorkerReport | None = None


class Reports:
    """Collects the reports of the processes that ``running`` returns, the newest of a worker first.

    Each of their handlers and their ends is to be passed on to `received` and `ended`.
    """

    _log = Logger()

    def __init__(self, clock: Any, running: Callable[[], Iterable[Reporting]]) -> None:
        self._clock = clock
        self._running = running
        self._last: dict[Reporting, _Last] = {}
        self._gone = Whole()
        self._timer: IDelayedCall | None = None
        self._missing: set[Reporting] = set()
        self._complete: Deferred[None] | None = None
        self.whole = Whole()
        """All reports, as they were collected last."""

    def start(self) -> None:
        """Ask every worker from now on every few seconds."""
        self._timer = self._clock.callLater(PERIOD, self._tick)

    def stop(self) -> None:
        """Ask no worker any more, and wait for none."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self._missing.clear()
        self._give_up()

    def _tick(self) -> None:
        self._timer = self._clock.callLater(PERIOD, self._tick)
        for child in self._running():
            self._ask(child)

    def _ask(self, child: Reporting) -> _Last:
        """Ask a worker, unless it has not answered yet: a held one must not find a hundred asks."""
        last, now = self._last.setdefault(child, _Last()), self._clock.seconds()
        if last.asked_at is None or now - last.asked_at >= ASK_AGAIN:
            last.asked_at = now
            child.frames.send(Kind.REPORT, b"")
        return last

    def received(self, child: Reporting, payload: bytes) -> None:
        """Keep a report."""
        last = self._last.setdefault(child, _Last())
        last.payload, last.at = payload, self._clock.seconds()
        last.asked_at = last.report = None
        self._answered(child)

    def ended(self, child: Reporting) -> None:
        """Keep what a worker that has ended had counted."""
        last = self._last.pop(child, None)
        if last is not None and last.payload:
            report = self._read(last)
            if report is not None:
                self._gone.keep(report)
        self._answered(child)

    def age(self, child: Reporting) -> float | None:
        """Return the seconds since a worker's last report, if there has been one."""
        last = self._last.get(child)
        return None if last is None or not last.payload else self._clock.seconds() - last.at

    def report(self, child: Reporting) -> WorkerReport | None:
        """Return the last report of a worker that has been read."""
        last = self._last.get(child)
        return None if last is None else last.report

    def collect(self) -> Deferred[bool]:
        """Ask every worker, and put their reports together; the Deferred fires within seconds."""
        return Deferred.fromCoroutine(self._collect())

    async def _collect(self) -> bool:
        now = self._clock.seconds()
        self._missing = set()
        for child in tuple(self._running()):
            asked_at = self._ask(child).asked_at
            # One that has owed its answer for longer is not waited for.
            if asked_at is not None and now - asked_at < COLLECTION_LIMIT:
                self._missing.add(child)
        if self._missing:
            self._complete = Deferred()
            limit = self._clock.callLater(COLLECTION_LIMIT, self._give_up)
            await self._complete
            if limit.active():
                limit.cancel()
        # In one turn, so that a worker that ends now is in neither of these or in one.
        whole = self._gone.copy()
        lasts = [last for child in self._running() if (last := self._last.get(child)) is not None]
        for last in lasts:
            report = self._read(last) if last.payload else None
            if report is not None:
                whole.add(report)
            # Reading and adding a report takes milliseconds.
            await deferLater(self._clock, 0)
        self.whole = whole
        return True

    def _answered(self, child: Reporting) -> None:
        self._missing.discard(child)
        if not self._missing:
            self._give_up()

    def _give_up(self) -> None:
        complete, self._complete = self._complete, None
        if complete is not None:
            complete.callback(None)

    def _read(self, last: _Last) -> WorkerReport | None:
        if last.report is None:
            try:
                last.report = decode_report(last.payload)
            except ValueError as error:
                self._log.error("A worker's report could not be read: {problem}", problem=error)
                last.payload = b""
        return last.report


_page_question: Final = msgspec.msgpack.Decoder(tuple[int, PageName])
_page_answer: Final = msgspec.msgpack.Decoder(tuple[int, bytes | None])


def answer_page(
    sender: Sender, payload: bytes, answer: Callable[[PageName], Deferred[bytes]]
) -> None:
    """Answer the question of a worker for a page, which ``answer`` returns."""
    number, name = _page_question.decode(payload)

    def send(page: bytes | None) -> None:
        sender.send(Kind.PAGE, msgspec.msgpack.encode((number, page)))

    def failed(failure: Failure) -> None:
        Reports._log.failure("Internal error in a page; please report it", failure)
        send(None)

    answer(name).addCallback(send).addErrback(failed)


class ParentAnswers:
    """A worker's questions to its parent for pages, each of which has a time limit."""

    def __init__(self, clock: Any, sender: Sender) -> None:
        self._clock = clock
        self._sender = sender
        self._asked = 0
        self._waiting: dict[int, tuple[Deferred[bytes], IDelayedCall]] = {}

    def ask(self, name: PageName) -> Deferred[bytes]:
        """Return a page of the parent, or fail with `NoAnswerError`."""
        self._asked = number = self._asked + 1

        def left(_: Deferred[bytes]) -> None:
            self._end(number)

        waiting: Deferred[bytes] = Deferred(left)
        limit = self._clock.callLater(ANSWER_LIMIT, self._fail, number)
        self._waiting[number] = waiting, limit
        self._sender.send(Kind.PAGE, msgspec.msgpack.encode((number, name)))
        return waiting

    def received(self, payload: bytes) -> None:
        """Pass on a page of the parent."""
        number, page = _page_answer.decode(payload)
        if page is None:
            self._fail(number)
        elif (waiting := self._end(number)) is not None:
            waiting.callback(page)

    def close(self) -> None:
        """Fail all questions, because the parent no longer answers."""
        for number in tuple(self._waiting):
            self._fail(number)

    def _fail(self, number: int) -> None:
        waiting = self._end(number)
        if waiting is not None:
            waiting.errback(NoAnswerError())

    def _end(self, number: int) -> Deferred[bytes] | None:
        waiting, limit = self._waiting.pop(number, (None, None))
        if limit is not None and limit.active():
            limit.cancel()
        return waiting
