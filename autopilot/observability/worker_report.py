"""What a worker reports to its parent about itself, and all reports together.

The numbers of a report are those of one process; what the router as a whole shows is merged from
all of them. None of it identifies a client (contract §10).
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nlargest
from operator import itemgetter
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from autopilot.observability.history import INTERVALS, RECENT_KEPT, Counts, FinishedRequest
from autopilot.observability.key_counts import PoolKeyNow
from autopilot.observability.merge import Counted, Totals


class WorkerReport(Struct, frozen=True):
    """One worker at one moment.

    ``cooling`` maps models to the seconds until a request may probe them; ``first_content``
    (seconds) and ``throughput`` (tokens per second) are averages by model. ``recent`` are the last
    requests and ``failed`` the last failures, newest first. ``pool`` are the keys that it lends.
    """

    worker: int
    pid: int
    version: str
    counted: Counted
    active: int = 0
    cooling: dict[str, float] = {}
    first_content: dict[str, float] = {}
    throughput: dict[str, float] = {}
    recent: tuple[FinishedRequest, ...] = ()
    failed: tuple[FinishedRequest, ...] = ()
    history: list[Counts] = []
    pool: tuple[PoolKeyNow, ...] = ()


_ENDED_AT: Final = itemgetter(0)
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(WorkerReport)


def encode_report(report: WorkerReport) -> bytes:
    """Return the bytes of a report."""
    try:
        return _encoder.encode(report)
    except UnicodeEncodeError:  # half of a surrogate pair, in a model name from a client
        recent, failed = (tuple(map(_plain, each)) for each in (report.recent, report.failed))
        return _encoder.encode(replace(report, recent=recent, failed=failed))


def decode_report(data: bytes) -> WorkerReport:
    """Return the report.

    :raises ValueError: it cannot be read, as that of another version of the router may not.
    """
    return _decoder.decode(data)


def _plain(finished: FinishedRequest) -> FinishedRequest:
    """Return a record whose names can be encoded."""
    record = finished.record
    failovers = tuple(replace(each, model=_encodable(each.model)) for each in record.failovers)
    model = None if record.model is None else _encodable(record.model)
    dropped = record.dropped
    if dropped is not None:
        dropped = replace(dropped, model=_encodable(dropped.model))
    changed = replace(record, model=model, failovers=failovers, dropped=dropped)
    return finished._replace(record=changed)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


class Whole:
    """The reports of a router's workers, merged."""

    def __init__(self) -> None:
        self.totals = Totals()
        self.active = 0
        self.cooling: dict[str, float] = {}
        self.pool: dict[str, PoolKeyNow] = {}
        """What the workers that run know of the keys that they lend, by name."""
        self.history: dict[int, Counts] = {}
        """What the intervals of the last half hour have counted, by their numbers."""
        self._first_content = _Averages()
        self._throughput = _Averages()
        self._recent: list[FinishedRequest] = []
        self._failed: list[FinishedRequest] = []

    def copy(self) -> Whole:
        """Return a copy to which more can be added, of what has been kept."""
        other = Whole()
        other.totals = self.totals.copy()
        for number, counts in self.history.items():
            other.history[number] = Counts(number)
            other.history[number].add(counts)
        other._recent, other._failed = [*self._recent], [*self._failed]
        return other

    def add(self, report: WorkerReport) -> None:
        """Add the report of a worker that runs."""
        self.totals.add(report.counted, report.worker)
        self._add_past(report)
        self.active += report.active
        for model, seconds in report.cooling.items():
            self.cooling[model] = max(seconds, self.cooling.get(model, 0.0))
        for each in report.pool:
            known = self.pool.get(each.name)
            self.pool[each.name] = each if known is None else known.beside(each)
        self._first_content.add(report.first_content)
        self._throughput.add(report.throughput)

    def keep(self, report: WorkerReport) -> None:
        """Add the last report of a worker that has ended: what it had counted stays counted."""
        self.totals.keep(report.counted)
        self._add_past(report)
        self._recent, self._failed = [*self.recent], [*self.failed]
        first = max(self.history, default=0) - INTERVALS
        self.history = {number: each for number, each in self.history.items() if number > first}

    def _add_past(self, report: WorkerReport) -> None:
        worker = report.worker
        self._recent += [FinishedRequest(at, record, worker) for at, record, _ in report.recent]
        self._failed += [FinishedRequest(at, record, worker) for at, record, _ in report.failed]
        for counts in report.history:
            self.history.setdefault(counts.number, Counts(counts.number)).add(counts)

    @property
    def recent(self) -> tuple[FinishedRequest, ...]:
        """The last requests, newest first."""
        return _newest(self._recent)

    @property
    def failed(self) -> tuple[FinishedRequest, ...]:
        """The last failures, newest first."""
        return _newest(self._failed)

    @property
    def first_content(self) -> dict[str, float]:
        """The average time to the first content by model, over the workers that measured it."""
        return self._first_content.by_name()

    @property
    def throughput(self) -> dict[str, float]:
        """The average throughput by model, over the workers that measured it."""
        return self._throughput.by_name()


def _newest(finished: Iterable[FinishedRequest]) -> tuple[FinishedRequest, ...]:
    return tuple(nlargest(RECENT_KEPT, finished, key=_ENDED_AT))


class _Averages:
    """The averages of several workers by model, each of which has the same weight."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, int]] = {}

    def add(self, averages: dict[str, float]) -> None:
        for name, value in averages.items():
            total, number = self._sums.get(name, (0.0, 0))
            self._sums[name] = total + value, number + 1

    def by_name(self) -> dict[str, float]:
        return {name: total / number for name, (total, number) in self._sums.items()}
