"""A worker's process as its parent holds it: the pairs of sockets, its output, its end."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol
from twisted.python.failure import Failure

from autopilot.process.board import Board
from autopilot.process.spawn import environment_without, spawn_module
from autopilot.service.assignment import Assignment
from autopilot.service.commands import Await, Drain, Draining, Line, PoolReport, Ready
from autopilot.service.edge_link import LenderLink
from autopilot.service.event_link import EventLink
from autopilot.service.frames import Frames, Kind
from autopilot.service.key_link import KeyLink
from autopilot.settings import DECLARED

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IProtocol

    from autopilot.feeds.feed_publisher import FeedPublisher, FeedReader
    from autopilot.process.acceptor import Acceptor
    from autopilot.state.edge_lease import EdgeLender
    from autopilot.state.key_ledger import KeyLedger
    from autopilot.state.sharing.hub import Hub
    from autopilot.upstream.key_rests import KeyRests

COMMANDS: Final = 3
"""The worker's descriptor for commands."""
FRAMES: Final = 4
"""The worker's descriptor for frames."""
CONNECTIONS: Final = 5
"""The worker's descriptor for the connections that its parent passes to it."""
BOARD: Final = 6
"""The worker's descriptor of the board."""

_MODULE = "autopilot.service.worker"
_LONGEST_LINE = 1 << 20
_PIECE = 1 << 16


class Processes:
    """Starts workers' processes.

    ``assign`` returns what a worker is to do, by its number and that of its slot. ``ready`` and
    ``ended`` are called with a process, and ``ended`` with how it ended. ``publisher`` sends them
    the feeds, and they share the state of the ``hub``'s tables, the uses of ``keys``, and ``rests``
    of the pool's. They lease calls of upstream keys
    from the ``lender``. ``write`` receives each
    line of the workers' output; without it they write to this process's own.
    """

    def __init__(
        self,
        reactor: Any,
        board: Board,
        acceptor: Acceptor,
        assign: Callable[[int, int], Assignment],
        *,
        publisher: FeedPublisher | None = None,
        hub: Hub | None = None,
        keys: KeyLedger | None = None,
        rests: KeyRests | None = None,
        lender: EdgeLender | None = None,
        write: Callable[[str], object] | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._reactor = reactor
        self._board = board
        self._acceptor = acceptor
        self._assign = assign
        self._publisher = publisher
        self._hub = hub
        self._keys = keys
        self._rests = rests
        self._lender = lender
        self._write = write
        self._environ = environment_without(
            {name for setting in DECLARED for name in setting.spellings}, environ, sys.path
        )
        self.running: dict[int, WorkerProcess] = {}
        """The processes by the numbers of their slots."""

    def launch(
        self,
        number: int,
        ready: Callable[[WorkerProcess], None],
        ended: Callable[[WorkerProcess, str], None],
    ) -> WorkerProcess:
        """Start a process for the worker ``number``. Raises `OSError`."""
        slot = next(each for each in count() if each not in self.running)
        if slot >= len(self._board):
            raise OSError("too many workers have not ended yet")
        connections = self._acceptor.add(slot)
        child = WorkerProcess(number, slot, self._board, self._acceptor, ready, self._write)

        def end(how: str) -> None:
            del self.running[slot]
            ended(child, how)

        child.ended = end
        try:
            child.spawn(self._reactor, connections, self._environ)
        except OSError:
            self._acceptor.remove(slot)
            raise
        self.running[slot] = child
        child.assign(self._assign(number, slot))
        if self._publisher is not None:
            child.follow(self._publisher)
        if self._lender is not None:
            child.lend(self._lender)
        if self._rests is not None:
            child.learn_rests(self._rests)
        if self._hub is not None:
            child.join(self._hub)
            if self._keys is not None:
                child.count(self._keys)
            self._send_state(child, self._hub.dump())
        child.launched(self._reactor)
        return child

    def _send_state(self, child: WorkerProcess, batches: Iterator[bytes]) -> None:
        """Send what the router has learned, a batch in each turn; an empty one is the end."""
        if child.slot in self.running and self.running[child.slot] is child:
            batch = next(batches, b"")
            child.frames.send(Kind.STATE, batch)
            if batch:
                self._reactor.callLater(0, self._send_state, child, batches)


class WorkerProcess(ProcessProtocol):
    """One process. Commands go over ``line``, frames over ``frames``."""

    def __init__(
        self,
        number: int,
        slot: int,
        board: Board,
        acceptor: Acceptor,
        ready: Callable[[WorkerProcess], None],
        write: Callable[[str], object] | None,
    ) -> None:
        self.number = number
        self.slot = slot
        self.pid = 0
        self.board_slot = board.slot(slot)
        self._board = board
        self._acceptor = acceptor
        self._ready = ready
        self._write = write
        self._drains = False
        self._launched = False
        self._early_end: Failure | None = None
        self._publisher: FeedPublisher | None = None
        self._reader: FeedReader | None = None
        self._link: EventLink | None = None
        self._key_link: KeyLink | None = None
        self._rests_link: KeyLink | None = None
        self._edge_link: LenderLink | None = None
        self._unfinished = {1: b"", 2: b""}
        self.ended: Callable[[str], None] = lambda how: None
        self.line = Line()
        self.line.on(Ready, self._became_ready)
        self.frames = Frames()

    def spawn(self, reactor: Any, connections: int, environment: Mapping[str, str]) -> None:
        """Start the process, which inherits the descriptor of its ``connections``."""
        with ExitStack() as opened:
            ends = {}
            for descriptor in (COMMANDS, FRAMES):
                ours, theirs = socket.socketpair()
                opened.enter_context(ours)
                opened.enter_context(theirs)
                ours.setblocking(False)
                ends[descriptor] = ours, theirs
            process = spawn_module(
                reactor,
                self,
                _MODULE,
                (type(reactor).__module__,),
                {
                    COMMANDS: ends[COMMANDS][1].fileno(),
                    FRAMES: ends[FRAMES][1].fileno(),
                    CONNECTIONS: connections,
                    BOARD: self._board.descriptor,
                },
                environment,
                piped=self._write is not None,
            )
            self.pid = process.pid or 0  # none if it has ended already
            for descriptor, protocol in ((COMMANDS, self.line), (FRAMES, self.frames)):
                adopt(reactor, ends[descriptor][0].fileno(), protocol)

    def launched(self, reactor: Any) -> None:
        """Report the end from now on; in the next turn, if the process has ended already."""
        self._launched = True
        if self._early_end is not None:
            reactor.callLater(0, self.processEnded, self._early_end)

    def assign(self, assignment: Assignment) -> None:
        """Tell the process what to do, at its start or after a reload."""
        self.frames.send(Kind.SETTINGS, assignment.encode())

    def follow(self, publisher: FeedPublisher) -> None:
        """Send the process the feeds, and each refresh of them."""
        self._publisher = publisher
        self._reader = publisher.join(partial(self.frames.send, Kind.FEED), self.frames.transport)

    def join(self, hub: Hub) -> None:
        """Share the state of the hub's tables with the process."""
        self._link = EventLink(hub, self.line)
        self._link.open()

    def count(self, keys: KeyLedger) -> None:
        """Exchange with the process what clients use of the operator's own keys."""
        self._key_link = KeyLink(keys, self.line, new=True)

    def learn_rests(self, rests: KeyRests) -> None:
        """Exchange with the process which keys of the platform rest."""
        self._rests_link = KeyLink(rests, self.line, PoolReport, new=True)

    def lend(self, lender: EdgeLender) -> None:
        """Lend the process calls of upstream keys."""
        self._edge_link = LenderLink(lender, self.slot, self.line)

    @property
    def heartbeat(self) -> int:
        """See `Child`."""
        return self.board_slot.heartbeat

    def announce_drain(self) -> None:
        """See `Child`."""
        self.line.tell(Draining)

    def drain(self, in_haste: bool) -> None:
        """See `Child`."""
        self._drains = True
        self._acceptor.release(self.slot)
        self.line.tell(Drain, in_haste=in_haste)

    def kill(self) -> None:
        """See `Child`."""
        try:
            self.transport.signalProcess("KILL")  # type: ignore[union-attr]
        except ProcessExitedAlready:
            return

    def _became_ready(self, feeds: Collection[bytes] | None) -> None:
        if self._drains:  # the notice was on its way already
            return
        if feeds is not None and self._publisher is not None:
            fetched = {each.encode("ascii") for each in self._publisher.fetched}
            if missing := sorted(fetched.difference(feeds)):
                self.line.tell(Await, feeds=missing)
                return
        self._acceptor.ready(self.slot)
        self._ready(self)

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N803  Twisted's
        """See `IProcessProtocol`: pass on whole lines."""
        *lines, rest = (self._unfinished[childFD] + data).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            lines, rest = [*lines, rest], b""
        self._unfinished[childFD] = rest
        for line in lines:
            self._write_line(line)

    def _write_line(self, line: bytes) -> None:
        if self._write is not None:
            self._write(line.decode("utf-8", "backslashreplace"))

    def processEnded(self, reason: Failure) -> None:  # noqa: N802  Twisted's
        """See `IProcessProtocol`."""
        if not self._launched:  # `spawnProcess` itself finds out that a process has died at once
            self._early_end = reason
            return
        for rest in self._unfinished.values():
            if rest:
                self._write_line(rest)
        self._acceptor.remove(self.slot)
        _read_rest(self.frames)
        links = self._link, self._key_link, self._rests_link, self._edge_link
        for leaving in (self._reader, *links):
            if leaving is not None:
                leaving.close()
        for protocol in (self.line, self.frames):
            if protocol.transport is not None:
                protocol.transport.loseConnection()
        self.ended(_how(reason.value))


def _read_rest(protocol: Protocol) -> None:
    """Read what a process has sent before its end, which may be known before that is read."""
    connection = getattr(protocol.transport, "socket", None)
    if connection is not None:
        with suppress(OSError):  # nothing more, and yet no end
            while data := connection.recv(_PIECE):
                protocol.dataReceived(data)


class _Only(Factory):
    """A factory of a single protocol, which exists already."""

    noisy = False

    def __init__(self, protocol: IProtocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """See `IProtocolFactory`."""
        return self._protocol


def adopt(reactor: Any, descriptor: int, protocol: IProtocol) -> None:
    """Connect a protocol to a copy of a descriptor of a socket pair."""
    reactor.adoptStreamConnection(descriptor, socket.AF_UNIX, _Only(protocol))


def _how(reason: Any) -> str:
    """Return in words how a process ended."""
    number = getattr(reason, "signal", None)
    if number is not None:
        names = {each.value: each.name for each in signal.Signals}
        return f"was killed by {names.get(number, f'signal {number}')}"
    status = getattr(reason, "exitCode", None)
    return f"ended with status {status}" if status else "ended"
