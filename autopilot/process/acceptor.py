"""The acceptor of the parent: it passes each connection to the worker with the least to do.

The parent chooses, so that long streams do not pile up on the worker that wakes first. It keeps
both ends of each worker's pair: what a worker has not received when it dies, hangs or stops, the
parent takes back and passes to another one.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Iterator
from math import inf
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.abstract import FileDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure

from autopilot.process.balance import Load, least_loaded
from autopilot.process.descriptor_passing import (
    FAMILIES,
    MOST_ON_THE_WAY,
    Connection,
    can_receive,
    receive,
    send,
)
from autopilot.process.exhaustion import ExhaustionPause

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from autopilot.process.board import Board, Slot

MOST_ACCEPTED: Final = 64
"""Connections that are accepted in one turn of the reactor."""

RETRY_SECONDS: Final = 0.002
"""Time until the next try, if no worker could take a connection."""

PATIENCE_SECONDS: Final = 0.2
"""How long connections wait for the worker with the least to do, if it has no room for another.

The system may run it a moment later than the others: a burst that went to those that happen to run
would leave it with fewer streams for as long as they last.
"""

HELD_SECONDS: Final = 3.0
"""Age of a heartbeat from which a worker gets no connection while another one can have it."""

_WATCH_SECONDS = 1.0
_NOT_FREE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
# The new connection has failed, and the next one can be accepted: accept(2).
_FAILED = (
    errno.ECONNABORTED,
    errno.EPERM,
    errno.EPROTO,
    errno.ENETDOWN,
    errno.ENOPROTOOPT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EOPNOTSUPP,
    errno.ENETUNREACH,
    errno.ETIMEDOUT,
    errno.EINTR,
)


class Acceptor:
    """The parent's side: accepts connections and passes each to the worker with the least to do.

    If no worker can take a connection, those that wait stay with the kernel: the acceptor stops
    accepting until one can.
    """

    def __init__(self, reactor: Any, board: Board) -> None:
        self._reactor = reactor
        self._board = board
        self._workers: dict[int, _Worker] = {}
        self._last = -1  # the position of the worker that got the latest connection
        self._any_ready = False
        self._ports: list[_Port] = []
        self._accepting = False
        self._waiting: deque[Connection] = deque()
        self._retry: IDelayedCall | None = None
        self._watch: IDelayedCall | None = None
        self._exhausted = False
        self._exhaustion = ExhaustionPause(reactor, self._exhaust, self._recover)
        self.passed = 0
        """Connections passed to workers; one that was taken back counts when it is passed again."""
        self.lost = 0
        """Connections closed here because no worker could have them."""

    # -- workers

    def add(self, index: int) -> int:
        """Make the pair of a new worker, whose slot on the board has the number ``index``.

        Return the descriptor that the child inherits; the acceptor keeps and closes its own copy.
        """
        if index in self._workers:
            raise ValueError(f"worker {index} has its pair already")
        self._workers[index] = worker = _Worker(self._board.slot(index))
        return worker.far.fileno()

    def ready(self, index: int) -> None:
        """Pass connections to a worker from now on."""
        self._workers[index].ready = self._any_ready = True
        self._pass_waiting()

    def remove(self, index: int) -> int:
        """Pass nothing more to a worker, and pass to others what it has not received.

        The worker, if it lives, then receives the end of its pair. Return how many connections
        were taken back; a second call takes none.
        """
        worker = self._workers.pop(index, None)
        if worker is None:
            return 0
        self._any_ready = any(each.ready for each in self._workers.values())
        taken = self._take_back(worker)
        self.lost += max(0, worker.on_the_way)
        worker.close()
        self._pass_waiting()
        return taken

    def release(self, index: int) -> None:
        """Pass nothing more to a worker that is about to end by itself.

        What it has not received goes to the others. If there are none, as when the router stops,
        it stays with the worker, which receives it before the end of its pair.
        """
        if any(each.ready for other, each in self._workers.items() if other != index):
            self.remove(index)
        elif (worker := self._workers.pop(index, None)) is not None:
            self._any_ready = False
            while worker.ready and self._waiting and worker.send(self._waiting[0]):
                self._waiting.popleft().socket.close()
                self.passed += 1
            worker.close()
            self._read_or_pause()

    # -- connections

    def listen(self, listening: socket.socket) -> None:
        """Accept the connections of a listening socket, which the acceptor owns from now on."""
        listening.setblocking(False)
        self._ports.append(_Port(self._reactor, listening, self))
        self._accepting = False
        self._read_or_pause()

    def stop(self) -> None:
        """Close the listening sockets; what was accepted before is still passed on."""
        ports, self._ports = self._ports, []
        for port in ports:
            port.close()
        self._pass_waiting()

    def close(self) -> None:
        """Stop, and send every worker the end of its pair, behind what is on its way to it."""
        self.stop()
        self._exhaustion.cancel()
        for call in (self._retry, self._watch):
            if call is not None:
                call.cancel()
        self._retry = self._watch = None
        self.lost += len(self._waiting)
        while self._waiting:
            self._waiting.popleft().socket.close()
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()
        self._any_ready = False

    def accepted(self, connection: Connection) -> bool:
        """Pass a new connection on, or keep it; return whether another one may be accepted."""
        self._waiting.append(connection)
        self._pass_waiting()
        return not self._waiting

    def exhausted(self) -> None:
        """Pause, because the parent itself has no descriptor to accept with."""
        self._exhaustion.begin()

    def _pass_waiting(self) -> None:
        """Pass on what waits and accept again; or try again soon."""
        waiting = self._waiting
        while waiting and self._give(waiting[0]):
            waiting.popleft().socket.close()  # the worker's copy stays open
        if waiting and self._retry is None and self._any_ready:
            self._retry = self._reactor.callLater(RETRY_SECONDS, self._try_again)
        self._read_or_pause()

    def _try_again(self) -> None:
        self._retry = None
        self._pass_waiting()

    def _give(self, connection: Connection) -> bool:
        workers = list(self._workers.values())
        held_before = self._held_before()
        loads = [worker.load(held_before) for worker in workers]
        chosen = least_loaded(loads, self._last)
        if chosen is None and not any(worker.runs(held_before) for worker in workers):
            loads = [worker.load(-inf) for worker in workers]
            chosen = least_loaded(loads, self._last)
        while chosen is not None:
            worker = workers[chosen]
            if worker.has_room and worker.send(connection):
                self._last = chosen
                self.passed += 1
                if self._watch is None:
                    self._keep_watching()
                return True
            if worker.full_for(self._reactor.seconds()) < PATIENCE_SECONDS:
                return False
            loads[chosen] = None
            chosen = least_loaded(loads, self._last)
        return False

    def _held_before(self) -> float:
        seconds: float = self._reactor.seconds() - HELD_SECONDS
        return seconds * 1000

    def _look(self) -> None:
        """Take back what a held worker has not received; repeat while anything is on its way."""
        self._watch = None
        held_before, workers = self._held_before(), self._workers.values()
        if any(worker.runs(held_before) for worker in workers):
            for worker in workers:
                if worker.ready and not worker.runs(held_before):
                    self._take_back(worker)
            self._pass_waiting()
        if any(worker.on_the_way for worker in workers):
            self._keep_watching()

    def _keep_watching(self) -> None:
        if self._watch is None:
            self._watch = self._reactor.callLater(_WATCH_SECONDS, self._look)

    def _take_back(self, worker: _Worker) -> int:
        before = len(self._waiting)
        self._waiting.extend(worker.take_back())
        taken = len(self._waiting) - before
        self.passed -= taken
        return taken

    # -- pauses

    def _exhaust(self) -> None:
        self._exhausted = True
        self._read_or_pause()

    def _recover(self) -> None:
        self._exhausted = False
        self._read_or_pause()

    def _read_or_pause(self) -> None:
        """Accept while nothing waits and there is a worker for what comes."""
        accepting = not (self._waiting or self._exhausted) and self._any_ready
        if accepting != self._accepting:
            self._accepting = accepting
            for port in self._ports:
                if accepting:
                    port.startReading()
                else:
                    port.stopReading()


class _Worker:
    """The parent's view of a worker: its slot, both ends of its pair, and how many it was given."""

    def __init__(self, slot: Slot) -> None:
        slot.clear()
        self.slot = slot
        self.near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.near.setblocking(False)
        self.far.setblocking(False)
        self.ready = False
        self.passed = 0
        self._full_since: float | None = None

    @property
    def on_the_way(self) -> int:
        """The connections that the worker has not received."""
        return self.passed - self.slot.received

    @property
    def has_room(self) -> bool:
        """Whether another connection may be on its way."""
        return self.on_the_way < MOST_ON_THE_WAY

    def runs(self, held_before: float) -> bool:
        """Return whether it is ready, and its latest heartbeat, if there was one, not so old."""
        return self.ready and not 0 < self.slot.heartbeat < held_before

    def load(self, held_before: float) -> Load | None:
        """Return its load, or None if it takes no connection now."""
        if not self.ready:
            return None
        connections, fresh, requests, received, exhausted, heartbeat, *_ = self.slot.numbers()
        coming = self.passed - received
        if exhausted or 0 < heartbeat < held_before:
            return None
        return Load(requests + fresh + coming, connections + coming)

    def send(self, connection: Connection) -> bool:
        """Pass a connection; return whether there was room for it."""
        if not send(self.near, connection):
            return False
        self.passed += 1
        self._full_since = None
        return True

    def full_for(self, now: float) -> float:
        """Return for how many seconds no connection could be sent."""
        if self._full_since is None:
            self._full_since = now
        return now - self._full_since

    def take_back(self) -> Iterator[Connection]:
        """Receive what the worker has not, as far as descriptors are free for it."""
        while self.on_the_way > 0 and can_receive(self.far):
            message = receive(self.far)
            if message is None:
                return
            letter, descriptor = message
            if descriptor is not None:
                self.passed -= 1
                taken = socket.socket(FAMILIES[letter], socket.SOCK_STREAM, 0, descriptor)
                yield Connection(letter, taken)

    def close(self) -> None:
        """Close both ends; what is on its way stays with the worker."""
        self.near.close()
        self.far.close()


class _Port(FileDescriptor):
    """A listening socket of the acceptor."""

    def __init__(self, reactor: Any, listening: socket.socket, acceptor: Acceptor) -> None:
        super().__init__(reactor)
        self._socket = listening
        self._acceptor = acceptor
        # The attribute `family` would make an enum's member of it for each connection.
        self._letter = b"6" if listening.family == socket.AF_INET6 else b"4"

    def fileno(self) -> int:
        """See `IFileDescriptor`."""
        return self._socket.fileno()

    def doRead(self) -> None:
        """Accept while clients wait and workers take them, up to the limit of a turn."""
        for _ in range(MOST_ACCEPTED):
            try:
                connection, _address = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NOT_FREE:
                    self._acceptor.exhausted()
                    return
                if error.errno in _FAILED:
                    continue
                raise
            if not self._acceptor.accepted(Connection(self._letter, connection)):
                return

    def close(self) -> None:
        """Close the socket; without other holders, connections in its queue are reset."""
        self.connectionLost(Failure(CONNECTION_DONE))

    def connectionLost(self, reason: Failure) -> None:
        """See `IFileDescriptor`."""
        self.stopReading()
        super().connectionLost(reason)
        self._socket.close()
