"""The parent of a router with workers: everything but the clients' connections.

It binds the sockets, accepts connections and passes each to a worker, keeps the feeds fresh, serves
the operators' port, and supervises. It reads and writes no byte of a client of the API.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from autopilot.http.tls_server import ServerCertificate
from autopilot.process.acceptor import Acceptor
from autopilot.process.board import Board
from autopilot.process.systemd.sockets import Sockets
from autopilot.service.assignment import Assignment
from autopilot.service.frames import Kind
from autopilot.service.lifecycle import AutopilotService
from autopilot.service.shown_workers import ShownWorkers
from autopilot.service.supervisor import Supervisor
from autopilot.service.worker_process import Processes, WorkerProcess
from autopilot.settings import Settings
from autopilot.settings.share import share
from autopilot.state.edge_lease import EdgeLender
from autopilot.web.status.collected_pages import CollectedPages
from autopilot.wiring.role import Place, Role

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from autopilot.attestation.instance_answers import Asker
    from autopilot.observability.records import RequestRecord
    from autopilot.settings.reload import Change
    from autopilot.web.listener import Listener
    from autopilot.web.root import RootResource


class ParentService(AutopilotService):
    """The service of the parent, with ``count`` workers.

    ``write`` receives each line of the workers' output; without it they write to this process's
    own.
    """

    def __init__(
        self,
        settings: Settings,
        count: int,
        *,
        reactor: Any,
        records: Callable[[RequestRecord], None] | None = None,
        passed: Sockets | None = None,
        write: Callable[[str], object] | None = None,
    ) -> None:
        """Raise `CertificateError` if the workers could not use the certificate."""
        if settings.tls_cert_file is not None and settings.tls_key_file is not None:
            ServerCertificate(settings.tls_cert_file, settings.tls_key_file)
        self._role = Role.first(settings.sticky_hash_key, Place.PARENT)
        self._count = count
        self._ready: Deferred[None] = Deferred()
        super().__init__(settings, reactor=reactor, records=records, passed=passed)
        # Twice as many: during a rolling restart the old workers drain beside the new ones.
        self._board = Board.create(2 * count)
        self._acceptor = Acceptor(reactor, self._board)
        self._processes = Processes(
            reactor,
            self._board,
            self._acceptor,
            self._assign,
            publisher=self._parts.publisher,
            hub=self._parts.hub,
            keys=self._parts.keys.ledger,
            rests=self._parts.keys.rests,
            lender=EdgeLender(self._parts.governor),
            write=write,
        )
        self.supervisor = Supervisor(
            reactor, count, self._launch, self._drain_seconds, lambda: self._ready.callback(None)
        )
        pages = self._parts.pages
        assert isinstance(pages, CollectedPages)
        self._shown = ShownWorkers(reactor, self.supervisor, self._processes, pages.answer)
        self._parts.show(self._shown)
        private = self._parts.private
        self._answers = None if private is None else private.answers(self._parts.clock)
        self._askers: dict[WorkerProcess, Asker] = {}

    def _when_ready(self, call: Callable[[], None]) -> None:
        """Call ``call`` once the first worker serves connections."""
        self._ready.addCallback(lambda _: call())

    def _restart_workers(self) -> None:
        """Replace the workers one after the other, each by a new one that already serves."""
        self.supervisor.roll()

    def privilegedStartService(self) -> None:
        """See `AutopilotService`: listen, and let the workers' acceptor accept."""
        opened = [each for each in self._api if each.port is None]
        super().privilegedStartService()
        for each in opened:
            each.hand_over(self._acceptor.listen)

    def startService(self) -> None:
        """Start the feeds, and the workers as soon as the reactor runs."""
        super().startService()
        self._reactor.callWhenRunning(self._start_workers)

    def end_drain(self) -> None:
        """End the drain of this process and of all workers."""
        super().end_drain()
        if self.stopping:
            self.supervisor.stop(in_haste=True)

    def _start_workers(self) -> None:
        if not self.stopping:
            self.supervisor.start()
            self._shown.start()
            if self._answers is not None:
                self._answers.start()

    def _launch(self, number: int) -> WorkerProcess:
        child = self._processes.launch(number, self.supervisor.ready, self._ended)
        self._shown.follow(child)
        if self._answers is not None:
            asker = self._answers.join(partial(child.frames.send, Kind.PRIVATE))
            child.frames.on(Kind.PRIVATE, asker.received)
            self._askers[child] = asker
        return child

    def _ended(self, child: WorkerProcess, how: str) -> None:
        self._shown.ended(child)
        asker = self._askers.pop(child, None)
        if asker is not None:
            asker.close()
        self.supervisor.ended(child, how)

    def _assign(self, number: int, slot: int) -> Assignment:
        return Assignment(
            self._parts.role.of_worker(number),
            share(self.settings, number, self._count),
            slot,
            tuple(self._admin_addresses()),
            () if self._parts.publisher is None else self._parts.publisher.fetched,
        )

    def _reload(self, settings: Settings, *, expected: bool = True) -> Change:
        """Reload, and pass the settings on to every worker."""
        result = super()._reload(settings, expected=expected)
        for each in tuple(self._processes.running.values()):
            each.assign(self._assign(each.number, each.slot))
        return result

    def _api_listeners(self, tree: RootResource, passed: Sockets) -> list[Listener]:
        """Return the listeners of the API, whose site never gets a connection."""
        return self._listen(self.settings.listen_addr, passed.api, self._parts.site(tree))

    def _with_workers(self) -> str:
        return f", with {self._count} workers"

    def _steps(self) -> Iterable[Callable[[], Awaitable[object] | None]]:
        """Return the steps of the stop, before which the workers learn of it."""
        return [
            self.supervisor.announce_drain,
            *super()._steps(),
            self._shown.stop,
            *([] if self._answers is None else [self._answers.stop]),
            self._board.close,
        ]

    async def _finish_handover(self) -> None:
        """Accept nothing more, and let the workers drain while the operators' site does."""
        self._acceptor.stop()
        workers = self.supervisor.stop(in_haste=self._drain.in_haste)
        await super()._finish_handover()
        await workers
        self._acceptor.close()
