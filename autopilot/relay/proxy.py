"""The way in: from a client's request to a running exchange, or to a refusal.

It reads the request, recalls what concerns its client, asks `routing` for a plan and starts the
exchange. It also knows every exchange under way, for the limit on them and for shutting down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from autopilot.http import headers
from autopilot.http.fields import text
from autopilot.relay.config import Admission
from autopilot.relay.course import Course
from autopilot.relay.dialect import Dialect
from autopilot.relay.ending import Ending
from autopilot.relay.engine import Exchange, new_exchange
from autopilot.relay.errors import OVERLOADED, SHUTTING_DOWN
from autopilot.relay.journal import Journal, Memory
from autopilot.relay.outgoing import Outgoing
from autopilot.relay.stream import Outcome
from autopilot.request.parse import ParsedRequest, read
from autopilot.routing.eligible import NO_CANDIDATES, RETRY_AFTER
from autopilot.routing.identity import Hasher, client_key
from autopilot.routing.plan import Plan, RoutingState
from autopilot.routing.router_error import RouterError
from autopilot.routing.selector import Mode, Order, Selector
from autopilot.state.affinity import Key

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from autopilot.observability.records import RequestRecord
    from autopilot.relay.downstream import Downstream, Inbound
    from autopilot.relay.trace import Trace, Tracer
    from autopilot.routing.snapshot import Snapshot
    from autopilot.upstream.pool import Origin, Pool


class _Request(NamedTuple):
    """A request that was read and planned."""

    reading: ParsedRequest
    plan: Plan
    key: Key | None

    def __repr__(self) -> str:
        return f"_Request({self.plan!r}, {self.reading.commit!r})"


class Proxy:
    """Turns client requests into exchanges."""

    def __init__(
        self,
        clock: IReactorTime,
        pool: Pool,
        origins: Mapping[Dialect, Origin],
        admission: Admission,
        memory: Memory,
        *,
        hash_key: bytes,
        snapshot: Callable[[], Snapshot],
        record: Callable[[RequestRecord], None],
        refreshed_in: Callable[[], int] = lambda: RETRY_AFTER,
        tracer: Tracer | None = None,
    ) -> None:
        """``refreshed_in``: the seconds after which an alias without candidates may have some."""
        self._clock = clock
        self._pool = pool
        self._origins = origins
        self._admission = admission
        self._hasher = Hasher(hash_key)
        self._snapshot = snapshot
        self._record = record
        self._refreshed_in = refreshed_in
        self._tracer = tracer
        self._live: dict[int, Course] = {}
        self._numbers = count()
        self._empty: Callable[[], None] | None = None
        self.memory = memory
        self.draining = False

    @property
    def active(self) -> int:
        """Exchanges under way."""
        return len(self._live)

    @property
    def max_body(self) -> int:
        """The largest request body accepted, in bytes."""
        return self._admission.max_body

    def configure(self, admission: Admission) -> None:
        """Let the requests that come from now on go by this; those under way keep what they had."""
        self._admission = admission

    def accept(self, inbound: Inbound, downstream: Downstream) -> Exchange | None:
        """Start the exchange of one request, or refuse it and return ``None``."""
        snapshot, now = self._snapshot(), self._clock.seconds()
        request = self._admit(inbound, snapshot, now)
        trace = None if self._tracer is None else self._trace(self._tracer, inbound, request)
        journal = self._journal(inbound, request, snapshot, now, trace)
        if isinstance(request, RouterError):
            journal.refused(request.status, now)
            downstream.refuse(self._dated(request))
            journal.close(Outcome.REFUSED, 0, True, self._clock.seconds())
            return None
        return self._start(inbound, downstream, request, snapshot, journal, trace)

    def _dated(self, refusal: RouterError) -> RouterError:
        """Say when to try again, where it depends on when the feeds are read next."""
        if refusal.code != NO_CANDIDATES:
            return refusal
        return replace(refusal, retry_after=self._refreshed_in())

    def shut_down(self) -> None:
        """End every exchange under way."""
        for course in list(self._live.values()):
            course.machine.shut_down()

    def when_empty(self, empty: Callable[[], None]) -> None:
        """Call ``empty`` once, as soon as no exchange is under way."""
        if self._live:
            self._empty = empty
        else:
            empty()

    # -- from request to plan

    def _admit(self, inbound: Inbound, snapshot: Snapshot, now: float) -> _Request | RouterError:
        if self.draining:
            return SHUTTING_DOWN
        if len(self._live) >= self._admission.max_active:
            return OVERLOADED
        reading = read(inbound.named, inbound.body, self._admission)
        if isinstance(reading, RouterError):
            return reading
        selector = reading.selector
        key = self._key(inbound, selector)
        recall = self._recall(key, selector.order, now)
        made = reading.plan(snapshot, self._admission.rules, recall)
        if isinstance(made, RouterError):
            return made
        return _Request(reading, made, key)

    def _key(self, inbound: Inbound, selector: Selector) -> Key | None:
        if selector.mode is Mode.DIRECT:
            return None
        named = inbound.named
        client = client_key(
            text(named, b"authorization") or None,
            text(named, b"x-api-key") or None,
            inbound.peer,
            [value.decode("latin-1") for value in named.get(b"x-forwarded-for", ())],
            self._admission.trust,
            self._hasher,
        )
        return client, selector.text

    def _recall(self, key: Key | None, order: Order, now: float) -> RoutingState:
        """What bears on this request; the averages of all models only where they order them."""
        memory = self.memory
        experience = memory.experience
        return RoutingState(
            remembered=memory.stickiness.remembered(key, now) if key else None,
            failed_recently=memory.stickiness.failed_recently(key, now) if key else frozenset(),
            cooling=memory.cooldown.cooling(now),
            first_byte=experience.first_content(now) if order is Order.LATENCY else {},
            throughput=experience.throughput(now) if order is Order.THROUGHPUT else {},
        )

    # -- from plan to exchange

    def _trace(self, tracer: Tracer, inbound: Inbound, request: _Request | RouterError) -> Trace:
        asked = None if isinstance(request, RouterError) else request.reading.selector.text
        return tracer(inbound.path, inbound.named, asked, self._origins[inbound.dialect].host)

    def _journal(
        self,
        inbound: Inbound,
        request: _Request | RouterError,
        snapshot: Snapshot,
        now: float,
        trace: Trace | None,
    ) -> Journal:
        planned = None if isinstance(request, RouterError) else request
        return Journal(
            self.memory,
            planned.key if planned else None,
            request_id=inbound.request_id,
            mode=planned.plan.mode.value if planned else "none",
            candidates=len(planned.plan.candidates) if planned else 0,
            snapshot_age=_age(snapshot.utilization_at, now),
            catalog_age=_age(snapshot.catalog_at, now),
            started=now,
            record=self._record,
            trace=trace,
        )

    def _start(
        self,
        inbound: Inbound,
        downstream: Downstream,
        request: _Request,
        snapshot: Snapshot,
        journal: Journal,
        trace: Trace | None,
    ) -> Exchange:
        number = next(self._numbers)
        conduct = self._admission.conduct
        ending = Ending(
            clock=self._clock,
            downstream=downstream,
            journal=journal,
            mode=request.plan.mode,
            dialect=inbound.dialect,
            request_id=inbound.request_id,
            guard_level=conduct.guard,
            idle=conduct.timeouts.idle,
            concluded=partial(self._concluded, number),
        )
        course = Course(
            clock=self._clock,
            conduct=conduct,
            outgoing=self._outgoing(inbound, request, snapshot, trace),
            ending=ending,
            journal=journal,
            plan=request.plan,
            dialect=inbound.dialect,
            stream_wanted=request.reading.ask.stream,
            commit_at=request.reading.commit,
        )
        exchange = new_exchange(course)
        course.wire(exchange)
        self._live[number] = course
        try:
            exchange.start()
        except Exception:
            exchange.client_gone()  # a bug of ours must keep neither a timer nor a place
            raise
        return exchange

    def _concluded(self, number: int) -> None:
        self._live.pop(number, None)
        if not self._live and self._empty is not None:
            empty, self._empty = self._empty, None
            empty()

    def _outgoing(
        self, inbound: Inbound, request: _Request, snapshot: Snapshot, trace: Trace | None
    ) -> Outgoing:
        return Outgoing(
            clock=self._clock,
            pool=self._pool,
            origin=self._origins[inbound.dialect],
            target=inbound.path + (b"?" + inbound.query if inbound.query else b""),
            fields=headers.sent_up(inbound.fields),
            body=request.reading.ask.body,
            snapshot=snapshot,
            memory=self.memory,
            failover_after=self._admission.failover_after,
            connect_timeout=self._pool.connect_timeout,
            trace=trace,
        )


def _age(at: float | None, now: float) -> float | None:
    return None if at is None else now - at
