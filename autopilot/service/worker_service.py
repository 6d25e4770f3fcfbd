"""The router as a worker: settings and connections come from its parent, over inherited sockets.

Like `autopilot.service.lifecycle` it must not be imported before the reactor is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from math import inf
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from autopilot.feeds.received_snapshots import ReceivedSnapshots
from autopilot.observability.worker_report import encode_report
from autopilot.process.board import Slot
from autopilot.process.descriptor_passing import PassedConnections
from autopilot.process.systemd.sockets import Sockets
from autopilot.service.assignment import Assignment
from autopilot.service.commands import Line, PoolReport
from autopilot.service.edge_link import lease_over
from autopilot.service.event_link import EventLink
from autopilot.service.key_link import KeyLink
from autopilot.service.lifecycle import AutopilotService
from autopilot.service.worker_process import CONNECTIONS
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
