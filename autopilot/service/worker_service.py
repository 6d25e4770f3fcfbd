"""The router as a worker: settings and connections come from its parent, over inherited sockets.

Like `autopilot.service.lifecycle` it must not be imported before the reactor is chosen.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, globalLogBeginner

from autopilot.feeds.polling import FEEDS
from autopilot.feeds.received_snapshots import ReceivedSnapshots
from autopilot.http.resolver import share_lookups
from autopilot.http.tls_server import CertificateError
from autopilot.observability.logs import Sink
from autopilot.observability.worker_report import encode_report
from autopilot.process.board import Board, Slot
from autopilot.process.descriptor_passing import PassedConnections
from autopilot.process.malloc import (
    keep_freed_memory,
    leave_startup_alone,
    return_freed_memory,
)
from autopilot.process.systemd.sockets import Sockets
from autopilot.service.assignment import Assignment, AssignmentError
from autopilot.service.commands import Await, Drain, Draining, Line, PoolReport, Ready
from autopilot.service.edge_link import lease_over
from autopilot.service.event_link import EventLink
from autopilot.service.frames import Frames, Kind
from autopilot.service.key_link import KeyLink
from autopilot.service.lifecycle import AutopilotService, use_monotonic_clock
from autopilot.service.log_output import log_outputs, own_log, unblocked
from autopilot.service.reports import ParentAnswers
from autopilot.service.worker_process import BOARD, COMMANDS, CONNECTIONS, FRAMES, adopt
from autopilot.state.edge_lease import LeasingGovernor
from autopilot.web.listener import Listener

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort, IProtocolFactory

    from autopilot.observability.records import RequestRecord
    from autopilot.settings.reload import Change
    from autopilot.web.root import RootResource
    from autopilot.web.site import AutopilotSite
    from autopilot.web.start_page import Address
    from autopilot.web.status.collected_pages import PageName

_HEARTBEAT_SECONDS: Final = 1.0
_LAST_REPORT_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.02
_TIDY_SECONDS: Final = 1.0
_LONGEST_WAIT_SECONDS: Final = 10.0
"""Seconds after which a worker serves although it has not received the feeds."""

CANNOT_START: Final = 1
"""The exit status of a worker that cannot serve; its log says why."""


class PassedDoor(Listener):
    """The clients' connections, as the parent passes them."""

    shared = True

    def __init__(
        self,
        reactor: Any,
        descriptor: int,
        slot: Slot,
        site: AutopilotSite,
        factory: IProtocolFactory | None,
    ) -> None:
        super().__init__(reactor, "", 0, site, factory)
        self._descriptor = descriptor
        self._slot = slot

    def _listen(self) -> IListeningPort:
        port: Any = PassedConnections(self._reactor, self._descriptor, self._factory, self._slot)
        port.startListening()
        return port  # type: ignore[no-any-return]  # it has what `Listener` uses of a port


class WorkerService(AutopilotService):
    """The service of a worker, which says nothing that its parent says for the whole router."""

    _slot: Slot

    def __init__(
        self,
        assignment: Assignment,
        slot: Slot,
        *,
        reactor: Any,
        connections: int = CONNECTIONS,
        records: Callable[[RequestRecord], None] | None = None,
    ) -> None:
        self._role = assignment.role
        self._slot: Slot = slot
        self._connections = connections
        self._admin_of_parent = assignment.admin
        self._link: EventLink | None = None
        self._has_learned = False
        self._announced = False
        self._retired_at = inf
        super().__init__(assignment.settings, reactor=reactor, records=records)

    def feed(self, payload: bytes) -> None:
        """Take a frame of a feed from the parent."""
        control = self._parts.control
        assert isinstance(control, ReceivedSnapshots)
        control.frame(payload)

    def join(self, line: Line) -> None:
        """Share state with the parent, over its commands."""
        hub = self._parts.hub
        assert hub is not None
        self._link = EventLink(hub, line)
        self._link.open()
        governor = self._parts.governor
        assert isinstance(governor, LeasingGovernor)
        lease_over(line, governor)
        KeyLink(self._parts.keys.ledger, line)
        KeyLink(self._parts.keys.rests, line, PoolReport)

    def learn(self, batch: bytes) -> None:
        """Take a batch of what the router has learned before; an empty one is the end."""
        if not batch:
            self._has_learned = True
        elif self._parts.hub is not None:
            # It may arrive before `join`, while there is no link.
            self._parts.hub.received(batch, self._link)

    def has(self, feeds: Collection[str]) -> bool:
        """Return whether these feeds have been read, and all that was learned has been received."""
        return self._has_learned and self.feeds.issuperset(feeds)

    @property
    def feeds(self) -> set[str]:
        """The feeds that have been read."""
        return {each.name for each in self._parts.control.statuses if each.fetched_at is not None}

    def report(self) -> bytes:
        """Return the report for the parent."""
        return encode_report(self._parts.report())

    def ask_parent_by(self, ask: Callable[[PageName], Deferred[bytes]]) -> None:
        """Serve the operators' pages of the parent, which ``ask`` returns."""
        self._parts.ask_parent = ask

    def ask_for_instances(self, send: Callable[[bytes], None]) -> None:
        """Ask the parent for attested instances, to which ``send`` sends a message."""
        if self._parts.private is not None:
            self._parts.private.connect(send)

    def private_answer(self, payload: bytes) -> None:
        """Take a message about attested instances from the parent."""
        if self._parts.private is not None:
            self._parts.private.received(payload)

    def announce_drain(self) -> None:
        """Report not to be ready from now on, because the router stops."""
        self._announced = self._parts.draining = True

    @property
    def _is_leaving(self) -> bool:
        """Whether the router stops; otherwise another worker takes the place of this one."""
        return self._announced

    def _awaits_more(self, checks: int) -> bool:
        """Wait as long as requests may take, if only this worker ends: nothing presses.

        A client that is about to send a request on an idle connection then gets its response.
        """
        if self._announced or self._drain.in_haste:
            return super()._awaits_more(checks)
        return self._drain_seconds() > 0

    def _lingers_until(self) -> float:
        """Return until when a client may send another request after a stream, if others serve on.

        One that never pauses stays until the end of the drain time, which cuts its stream.
        """
        if self._announced:
            return super()._lingers_until()
        return self._retired_at + super()._drain_seconds()

    def _drain_seconds(self) -> float:
        """Return how long requests may take from now on: the time counts from the begin."""
        seconds = super()._drain_seconds()
        left: float = self._retired_at + seconds - self._reactor.seconds()
        return max(0.0, min(seconds, left))

    def apply(self, assignment: Assignment) -> None:
        """Apply what the parent has assigned after a reload."""
        self._admin_of_parent = assignment.admin
        if not self.stopping:
            self._reload(assignment.settings)

    def _api_listeners(self, tree: RootResource, passed: Sockets) -> list[Listener]:
        site = self._parts.site(tree)
        secured = self._parts.secured(site)
        return [PassedDoor(self._reactor, self._connections, self._slot, site, secured)]

    def _operators_with_api(self, passed: Sockets) -> bool:
        """Return whether the parent has no socket for them, whatever the setting says."""
        return super()._operators_with_api(passed) and not self._admin_of_parent

    def _operators_listeners(self, passed: Sockets) -> list[Listener]:
        return []

    def _admin_addresses(self) -> list[Address]:
        return list(self._admin_of_parent)

    def _log_addresses(self) -> None:
        """Log nothing: the addresses are the parent's."""

    def _log_change(self, result: Change) -> None:
        """Log nothing: the parent has said it."""

    def _warn(self) -> None:
        """Log nothing: the parent has said it."""

    def _log_stopping(self) -> None:
        """Log the requests in progress; the rest is the parent's to say."""
        if self._parts.proxy.active:
            self._log.info(
                "Worker {number} drains: its requests in progress ({active}) have {seconds:g} s to"
                " finish",
                number=self._parts.role.worker,
                active=self._parts.proxy.active,
                seconds=self.settings.drain_timeout_ms / 1000,
            )

    def _log_stopped(self) -> None:
        """Log nothing: the parent sees that the process has ended."""

    async def _wait_for_balancers(self) -> None:
        """Do not wait: the parent has done so, and passes no connection any more."""
        self._retired_at = self._reactor.seconds()


class Worker:
    """A worker's process, from the first word of its parent to its end."""

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._line = Line(self._abandoned)
        self._frames = Frames(self._abandoned)
        self._answers = ParentAnswers(reactor, self._frames)
        self._frames.on(Kind.SETTINGS, self._assigned)
        self._line.on(Draining, self._announce_drain)
        self._line.on(Drain, self._drain)
        self._line.on(Await, self._await)
        self._service: WorkerService | None = None
        self._stopping: Deferred[None] | None = None
        self._ending = self._stopped = False
        self._logging = False
        self._status = 0
        self._patient_until = 0.0

    def run(self) -> int:
        """Serve until the end, and return the exit status."""
        use_monotonic_clock(self._reactor)
        share_lookups(self._reactor)
        keep_freed_memory()
        self._adopt(FRAMES, self._frames)
        # The parent alone handles signals.
        self._reactor.run(installSignalHandlers=False)
        return self._status

    def _assigned(self, payload: bytes) -> None:
        """Begin, or apply a reload."""
        try:
            assignment = Assignment.decode(payload)
        except AssignmentError as error:
            self._give_up(str(error))
            return
        if self._service is None:
            self._begin(assignment)
        else:
            self._service.apply(assignment)

    def _begin(self, assignment: Assignment) -> None:
        board = Board.open(BOARD)
        slot = board.slot(assignment.slot)
        LoopingCall(self._beat, slot).start(_HEARTBEAT_SECONDS)
        sink: Sink | None = unblocked(sys.stdout, self._reactor)
        assert sink is not None
        observer, records = log_outputs(sink, assignment.settings, assignment.role.worker)
        globalLogBeginner.beginLoggingTo([observer])
        self._logging = True
        try:
            service = WorkerService(assignment, slot, reactor=self._reactor, records=records)
        except CertificateError as error:
            self._give_up(f"TLS_CERT_FILE: {error}")
            return
        self._service = service
        self._frames.on(Kind.FEED, service.feed)
        self._frames.on(Kind.REPORT, lambda _: self._report())
        self._frames.on(Kind.PAGE, self._answers.received)
        service.ask_parent_by(self._answers.ask)
        self._frames.on(Kind.PRIVATE, service.private_answer)
        self._frames.on(Kind.STATE, service.learn)
        leave_startup_alone()

        def measure_and_start() -> None:
            own_log(service, sink, observer, records)
            self._start(service, assignment.awaited)

        # In a turn of its own: to build the router holds the reactor, before any client is served.
        self._reactor.callLater(0, measure_and_start)

    def _start(self, service: WorkerService, awaited: Collection[str]) -> None:
        if self._stopping is not None:
            return
        service.privilegedStartService()
        service.startService()
        # Only now, so that no event is read before it can be applied.
        self._adopt(COMMANDS, self._line)
        service.join(self._line)
        service.ask_for_instances(partial(self._frames.send, Kind.PRIVATE))
        self._patient_until = self._reactor.seconds() + _LONGEST_WAIT_SECONDS
        self._wait_for(awaited)
        self._tidy(service)

    def _tidy(self, service: WorkerService) -> None:
        """Return the memory that was needed to read the feeds for the first time, afterwards."""
        if service.has(FEEDS):
            return_freed_memory()
        elif self._stopping is None:
            self._reactor.callLater(_TIDY_SECONDS, self._tidy, service)

    def _adopt(self, descriptor: int, protocol: Protocol) -> None:
        os.set_blocking(descriptor, False)
        adopt(self._reactor, descriptor, protocol)
        os.close(descriptor)

    def _wait_for(self, feeds: Collection[str]) -> None:
        """Report readiness once these feeds have been read: the parent has them."""
        if self._service is None or self._stopping is not None:
            return
        patient = self._reactor.seconds() < self._patient_until
        if patient and not self._service.has(feeds):
            self._reactor.callLater(_LOOK_SECONDS, self._wait_for, feeds)
            return
        read = [each.encode("ascii") for each in sorted(self._service.feeds)]
        self._line.tell(Ready, feeds=read if patient else None)

    def _await(self, feeds: Collection[bytes]) -> None:
        """Wait for what the parent has fetched while this process was starting."""
        self._wait_for([each.decode("ascii") for each in feeds])

    def _beat(self, slot: Slot) -> None:
        slot.heartbeat = max(1, int(self._reactor.seconds() * 1000))

    def _give_up(self, problem: str) -> None:
        self._status = CANNOT_START
        if self._logging:
            self._log.error("{problem}", problem=problem)
        else:
            print(f"autopilot: {problem}", file=sys.stderr)  # noqa: T201
        self._reactor.callLater(0, self._end)

    def _announce_drain(self) -> None:
        if self._service is not None:
            self._service.announce_drain()

    def _drain(self, in_haste: bool) -> None:
        """Finish what is in progress, and end; again in haste, end it now."""
        if self._service is None:
            self._end()
            return
        if in_haste:
            self._service.end_drain()
        if self._stopping is None:
            self._stopping = self._service.stopService()
            self._stopping.addBoth(lambda _: self._end())

    def _abandoned(self) -> None:
        """Drain and end, because the parent has died, or has closed the connection."""
        self._answers.close()
        if self._ending:
            self._stop()
        elif self._stopping is None:
            if self._service is not None:
                self._service.announce_drain()
                self._log.error("The parent process has ended; this worker drains and ends")
            self._drain(in_haste=False)

    def _report(self) -> None:
        if self._service is not None:
            self._frames.send(Kind.REPORT, self._service.report())

    def _end(self) -> None:
        """Send a last report, and stop when it is written, or the parent does not read it."""
        if self._ending:
            return
        self._ending = True
        self._report()
        self._reactor.callLater(_LAST_REPORT_SECONDS, self._stop)
        transport = self._frames.transport
        if transport is None or not getattr(transport, "connected", False):
            self._stop()
        else:
            transport.loseConnection()

    def _stop(self) -> None:
        if self._reactor.running and not self._stopped:
            self._stopped = True
            self._reactor.stop()
