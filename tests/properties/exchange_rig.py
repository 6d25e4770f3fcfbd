"""The parts of a run of the exchange machine: router, clients, upstreams, clock and model.

Every action goes through the rig, so that the model receives all events that the router sees.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from autopilot.observability.records import RequestRecord
from tests.properties.exchange_attempt import Phase
from tests.properties.exchange_clients import Visitor
from tests.properties.exchange_model import Request
from tests.properties.exchange_network import Line, Network
from tests.properties.exchange_router import MOST_ACTIVE, Router, Setup
from tests.properties.exchange_sight import Seen
from tests.properties.exchange_tape import Dialled, Entry, Lost, Received, Sent, Tried
from tests.unit.relay.chunks import cut

MOST_REQUESTS = 15  # too few to measure a model's speed, which would extend its deadlines
MOMENT = 1 / 4096
_ONE_READ = 65536


@implementer(ILogObserver)
class Rig:
    """All parts of a run."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.network = Network(self.clock)
        self.requests: dict[str, Request] = {}
        self.visitors: list[Visitor] = []
        self.records: list[RequestRecord] = []
        self.failures: list[Any] = []
        self.emptied = self.refused = 0
        self.sound = True
        self.router = Router(setup, self.clock, self.network, self.records.append)
        self.proxy, self.pool = self.router.proxy, self.router.pool
        globalLogPublisher.addObserver(self)

    def __call__(self, event: LogEvent) -> None:
        """Record a log event."""
        if "log_failure" in event:
            self.failures.append(event["log_failure"])

    @property
    def now(self) -> float:
        """The time."""
        return self.clock.seconds()

    @property
    def active(self) -> list[Request]:
        """The active requests."""
        return [each for each in self.requests.values() if not each.over]

    @property
    def pausing(self) -> list[Request]:
        """The requests that wait for a pause requested by a model."""
        return [each for each in self.active if each.phase is Phase.PAUSING]

    # -- clients

    @property
    def connected(self) -> list[Visitor]:
        """The connected clients."""
        return [each for each in self.visitors if not each.gone]

    @property
    def free_visitors(self) -> list[Visitor]:
        """The clients that can send another request."""
        requests = self.requests
        return [
            each
            for each in self.connected
            if not each.waits and all(requests[name].over for name in each.names)
        ]

    @property
    def wants_requests(self) -> bool:
        """Whether another request is useful, at least to exceed the limit."""
        if self.proxy.draining or len(self.active) == MOST_ACTIVE:
            return self.refused < 2
        return len(self.requests) < MOST_REQUESTS

    def connect(self) -> Visitor:
        """Connect a client."""
        self.visitors.append(Visitor(self.router.site))
        return self.visitors[-1]

    def ask(
        self,
        visitor: Visitor,
        selector: str,
        candidates: tuple[str, ...],
        *,
        streams: bool,
        commit: str,
        size: int,
    ) -> None:
        """Send a request."""
        name, now = f"r{len(self.requests)}", self.now
        terms = self.setup.terms(selector, candidates, streams=streams, commit=commit, size=size)
        model = Request(terms, now)
        if self.proxy.draining:
            model.refuse(503, "draining", now)
        elif len(self.active) >= MOST_ACTIVE:
            model.refuse(503, "overloaded", now)
        else:
            model.start()
        self.refused += model.over
        self.requests[name] = model
        visitor.asks(name, selector, streams=streams, commit=commit, size=size)

    def leave(self, visitor: Visitor) -> None:
        """Disconnect a client."""
        visitor.loses()
        for name in visitor.names:
            self.requests[name].leaves(self.now)

    def wait(self, visitor: Visitor, waits: bool) -> None:
        """Stop or resume reading on a client."""
        visitor.holds_up(waits)
        if visitor.names:
            self.requests[visitor.names[-1]].waits(self.now, client=waits)

    def seen(self, visitor: Visitor, name: str) -> Seen | None:
        """Return what the client has received of its response."""
        return visitor.sees(name, refused=self.requests[name].refusal is not None)

    # -- upstreams

    def deliver(self, line: Line, cuts: list[int], kept: int) -> None:
        """Deliver the sent bytes in several reads; ``kept`` bytes remain in transit."""
        script = line.script
        assert script is not None
        data = script.take(max(0, script.pending - kept))
        for piece in cut(data, [*cuts, *range(_ONE_READ, len(data), _ONE_READ)]):
            if line.script is script and line.alive:
                line.says(piece)

    # -- time

    def pass_time(self, seconds: float) -> None:
        """Advance the time evenly: nothing may happen before its deadline, and everything at it."""
        self.settle()
        target = self.now + seconds
        while (due := self._due) <= target:
            self.clock.advance(max(0.0, due - MOMENT - self.now))
            self.settle()
            self.clock.advance(max(0.0, due - self.now))
            self.settle()
        self.clock.advance(target - self.now)

    @property
    def _due(self) -> float:
        return min((each.due.at for each in self.active), default=float("inf"))

    # -- the operator

    def drain(self) -> None:
        """Start the drain."""

        def empty() -> None:
            self.emptied += 1

        self.router.drain(empty)

    def shut_down(self) -> None:
        """End all active requests."""
        for each in self.active:
            each.shut_down(self.now)
        self.proxy.shut_down()

    # -- results

    def settle(self) -> None:
        """Run all pending events, and report them to the model."""
        self.sound = False
        self.clock.advance(0)
        for visitor in self.visitors:
            # A connection closes once all bytes are written, or at once when aborted.
            if visitor.peer.aborted or (visitor.gone and not visitor.waits):
                visitor.loses()
        tape = self.network.tape[:]
        self.network.tape.clear()
        for entry in tape:
            self._tell(entry)
        for each in self.active:
            while each.due.at <= self.now and each.owes is None:
                each.expire(self.now)
            assert each.owes is None, f"{each.owes} was due and received no request"
        self.sound = True

    def _tell(self, entry: Entry) -> None:
        each, now = self.requests[entry.request], self.now
        match entry:
            case Tried(_, model):
                while each.owes is None and each.due.at <= now:
                    each.expire(now)
                each.tried(model)
            case Dialled(_, refused):
                (each.refused if refused else each.dials)(now)
            case Sent(_, model, reused):
                assert each.attempt.model == model
                each.sent(reused=reused)
            case Received(_, read):
                each.reads(read, now)
            case Lost(_, politely, tail):
                each.lost(now, politely=politely, tail=tail)

    def close(self) -> None:
        """Stop recording."""
        globalLogPublisher.removeObserver(self)
