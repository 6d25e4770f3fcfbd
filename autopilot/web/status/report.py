"""The data of the status page and of /status.json, collected at one moment.

None of it identifies a client (contract §10).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from autopilot.attestation.evidence_poller import Findings
from autopilot.observability.history import INTERVAL, FinishedRequest, HistoryWindow
from autopilot.observability.logs import utc
from autopilot.observability.records import facts

if TYPE_CHECKING:
    from autopilot.feeds.readiness import Readiness
    from autopilot.observability.workers import WorkersNow
    from autopilot.routing.ranking import Ranked
    from autopilot.web.status.edge import EdgeNow
    from autopilot.web.status.fallbacks import FallbackNow
    from autopilot.web.status.keys import KeysNow
    from autopilot.web.status.private import PrivateNow
    from autopilot.web.status.routes import RouteNow
    from autopilot.web.status.sharing import SharingNow

SLICE_BYTES: Final = 65_536
"""The length from which a slice of the JSON text is complete; a batch may exceed it."""

_BATCH = 100
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class StatusReport:
    """The state of one router at one moment.

    ``cooling`` maps models to the seconds until a request may probe them. ``first_content``
    (seconds) and ``throughput`` (tokens per second) are this router's own averages by model;
    ``recent`` are the last requests and ``failed`` the last failures, newest first. ``workers`` are
    those of the router, if it has any. ``alone`` is the number of a worker whose parent could not
    be asked, so that the report is about this worker only. ``sharing`` is what the router shares
    with its workers and with others, if it does; ``private`` what is verified for private mode,
    unless that is off; ``keys`` those of the operator, if there are any; ``edge`` the state of
    ``EDGE_RATE``, if anything is governed; ``fallbacks`` are the models of other services.
    """

    version: str
    readiness: Readiness
    active: int = 0
    most_active: int = 0
    ranking: Sequence[Ranked] = ()
    cooling: Mapping[str, float] = field(default_factory=dict)
    first_content: Mapping[str, float] = field(default_factory=dict)
    throughput: Mapping[str, float] = field(default_factory=dict)
    evidence: Findings = field(default_factory=Findings)
    recent: Sequence[FinishedRequest] = ()
    failed: Sequence[FinishedRequest] = ()
    window: HistoryWindow = field(default_factory=HistoryWindow)
    routes: Sequence[RouteNow] = ()
    workers: WorkersNow | None = None
    alone: int | None = None
    sharing: SharingNow | None = None
    private: PrivateNow | None = None
    keys: KeysNow | None = None
    edge: EdgeNow | None = None
    fallbacks: Sequence[FallbackNow] = ()

    def slices(self) -> Iterator[bytes]:
        """Return the JSON text for /status.json in slices, each of which costs milliseconds.

        What depends on the number of models is encoded in batches.
        """
        return _gathered(self._pieces())

    def _pieces(self) -> Iterator[bytes]:
        head: dict[str, object] = {
            "version": self.version,
            "ready": self.readiness.status == 200,
            "readiness": self.readiness.report(),
            "requests_active": self.active,
        }
        if self.workers is not None:
            head["workers"] = self.workers
        if self.sharing is not None:
            head["sharing"] = self.sharing
        if self.keys is not None:
            head["keys"] = self.keys
        if self.edge is not None:
            head["edge"] = self.edge
        if self.fallbacks:
            head["fallbacks"] = self.fallbacks
        if self.private is not None:
            head["private"] = self.private
        if self.alone is not None:
            head["worker_alone"] = self.alone
        yield msgspec.json.encode(head)[:-1]
        yield from _list("ranking", self.ranking)
        cooling = sorted(self.cooling.items())
        yield from _list("cooling", (name for name, _ in cooling))
        yield from _object(
            "cooling_for_ms", ((name, int(seconds * 1000)) for name, seconds in cooling)
        )
        yield from _object("first_content_seconds", self.first_content.items())
        yield from _object("tokens_per_second", self.throughput.items())
        yield from _object(
            "evidence", ((name, each.report()) for name, each in self.evidence.items())
        )
        yield from _list("routes", self.routes)
        tail = {
            "recent": [_fields(each) for each in self.recent],
            "recent_failures": [_fields(each) for each in self.failed],
            "past": {
                "interval_ms": int(INTERVAL * 1000),
                "covered": self.window.covered,
                "outcomes": dict(self.window.outcomes),
                "whole": self.window.whole,
                "intervals": self.window.intervals,
            },
        }
        yield b"," + msgspec.json.encode(tail)[1:]


def _fields(finished: FinishedRequest) -> dict[str, Any]:
    """Return a record's members, the time at which its request ended, and its worker."""
    number = {} if finished.worker is None else {"worker": finished.worker}
    return {"ended_at": utc(finished.ended_at), **number, **facts(finished.record)}


def _list(name: str, items: Iterable[object]) -> Iterator[bytes]:
    """Encode a member whose value is a list."""
    batches = (msgspec.json.encode(batch) for batch in _batches(items))
    return _member(b',"%b":[' % name.encode("ascii"), batches, b"]")


def _object(name: str, items: Iterable[tuple[str, object]]) -> Iterator[bytes]:
    """Encode a member whose value is an object."""
    batches = (msgspec.json.encode(dict(batch)) for batch in _batches(items))
    return _member(b',"%b":{' % name.encode("ascii"), batches, b"}")


def _member(start: bytes, batches: Iterable[bytes], end: bytes) -> Iterator[bytes]:
    """Join encoded batches of a container, without their own brackets."""
    separator = b""
    yield start
    for batch in batches:
        yield separator + batch[1:-1]
        separator = b","
    yield end


def _batches(items: Iterable[_T]) -> Iterator[list[_T]]:
    remaining = iter(items)
    while batch := list(islice(remaining, _BATCH)):
        yield batch


def _gathered(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Join the pieces into slices of a useful size."""
    slice_: list[bytes] = []
    size = 0
    for piece in pieces:
        slice_.append(piece)
        size += len(piece)
        if size >= SLICE_BYTES:
            yield b"".join(slice_)
            slice_, size = [], 0
    yield b"".join(slice_)
