"""A bare server with workers, for the comparison of ways to share connections among them.

``python -m benchmarks.balanced_server WAY WORKERS`` prints a line of JSON with its port, the
processes and the descriptor of the board, and serves until its standard input ends. A worker
answers each request at once; a request for ``/stream`` gets an event each tenth of a second.

The ways: ``shared``, all workers wait on one socket; ``reuseport``, each has a socket of its own on
the same port; ``pausing``, all wait on one socket except those that are ahead of the one with the
fewest connections; ``passing``, the parent accepts and passes each connection to the worker with
the least to do.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Final

from autopilot.process import reactor as own_reactor
from autopilot.process.acceptor import Acceptor
from autopilot.process.board import Board, Slot
from autopilot.process.descriptor_passing import PassedConnections

WAYS: Final = ("shared", "reuseport", "pausing", "passing")
HOST: Final = "127.0.0.1"

_BACKLOG = 1024
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
_EVENT = b"data: x\n\n"
_EVENT_SECONDS = 0.1
_PAUSE_SECONDS = 0.005


def main(arguments: list[str]) -> None:
    """Run the parent, or a worker if there are descriptors."""
    way, number, *descriptors = arguments
    if descriptors:
        _work(way, int(number), *map(int, descriptors))
    else:
        _serve(way, int(number))


def _serve(way: str, workers: int) -> None:
    own_reactor.install()
    reactor = _reactor()
    board = Board.create(workers)
    listening = _listen(0)
    port = listening.getsockname()[1]
    acceptor = Acceptor(reactor, board)
    children = []
    for index in range(workers):
        if way == "passing":
            inherited = acceptor.add(index)
        elif way == "reuseport" and index:
            inherited = _listen(port).detach()
        else:
            inherited = listening.fileno()
        command = (sys.executable, "-m", __spec__.name, way, str(index))
        children.append(
            subprocess.Popen(
                (*command, str(inherited), str(board.descriptor)),
                pass_fds=(inherited, board.descriptor),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
            )
        )
    for child in children:
        assert child.stdout is not None
        child.stdout.readline()
    if way == "passing":
        for index in range(workers):
            acceptor.ready(index)
        acceptor.listen(listening)
    told = {
        "port": port,
        "parent": os.getpid(),
        "workers": [child.pid for child in children],
        "board": board.descriptor,
    }
    print(json.dumps(told), flush=True)
    reactor.addReader(_UntilEnd(reactor))
    reactor.run()
    for child in children:
        child.kill()
        child.wait()


def _work(way: str, index: int, inherited: int, shared: int) -> None:
    own_reactor.install()
    from twisted.internet.protocol import Factory

    reactor = _reactor()
    board = Board.open(shared)
    slot = board.slot(index)
    factory = Factory()
    factory.noisy = False
    if way == "passing":
        factory.protocol = _protocol(reactor, slot, lambda: None)
        PassedConnections(reactor, inherited, factory, slot).startListening()
    else:
        others = [board.slot(each) for each in range(len(board))]
        pause = _Pause(reactor, slot, others) if way == "pausing" else None
        changed = pause.look if pause else lambda: None
        factory.protocol = _protocol(reactor, slot, changed)
        port = reactor.adoptStreamPort(inherited, socket.AF_INET, factory)
        if pause:
            pause.port = port
            port.numberAccepts = 1  # one at a time, or it would get ahead within a turn
            port.doRead = _one_at_a_time(port)
    print("ready", flush=True)
    reactor.run()


def _listen(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.bind((HOST, port))
    listening.listen(_BACKLOG)
    listening.setblocking(False)
    return listening


def _protocol(reactor: Any, slot: Slot, changed: Callable[[], None]) -> type:
    from twisted.internet.protocol import Protocol

    class Answers(Protocol):
        """One connection."""

        fresh = True
        event: Any = None

        def connectionMade(self) -> None:
            slot.connections += 1
            slot.fresh += 1
            changed()

        def dataReceived(self, data: bytes) -> None:
            transport: Any = self.transport
            if self.fresh:
                self.fresh = False
                slot.fresh -= 1
            if data.startswith(b"GET /stream"):
                slot.requests += 1
                transport.write(_HEAD)
                self._send()
            else:
                transport.write(_ANSWER)

        def connectionLost(self, reason: Any = None) -> None:
            slot.connections -= 1
            if self.fresh:
                slot.fresh -= 1
            if self.event is not None:
                self.event.cancel()
                slot.requests -= 1
            changed()

        def _send(self) -> None:
            transport: Any = self.transport
            transport.write(_EVENT)
            self.event = reactor.callLater(_EVENT_SECONDS, self._send)

    return Answers


class _Pause:
    """Keeps a worker from accepting while another one has fewer connections."""

    port: Any = None

    def __init__(self, reactor: Any, own: Slot, slots: list[Slot]) -> None:
        self._reactor = reactor
        self._own = own
        self._slots = slots
        self._pending: Any = None

    def look(self) -> None:
        """Accept, or look again soon: nothing wakes a worker when another one catches up."""
        if self._own.connections > min(slot.connections for slot in self._slots):
            self.port.stopReading()
            if self._pending is None:
                self._pending = self._reactor.callLater(_PAUSE_SECONDS, self._look_again)
        else:
            self.port.startReading()

    def _look_again(self) -> None:
        self._pending = None
        self.look()


def _one_at_a_time(port: Any) -> Callable[[], None]:
    accept = port.doRead

    def accept_one() -> None:
        port.numberAccepts = 1
        accept()

    return accept_one


class _UntilEnd:
    """Stops the reactor when standard input ends."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def fileno(self) -> int:
        """See `IFileDescriptor`."""
        return 0

    def doRead(self) -> None:
        """See `IReadDescriptor`; the end of a pipe is a lost connection."""
        os.read(0, 1)

    def connectionLost(self, reason: Any) -> None:
        """See `IFileDescriptor`."""
        self._reactor.callLater(0, self._reactor.stop)

    def logPrefix(self) -> str:  # noqa: N802
        """See `ILoggingContext`."""
        return "-"


def _reactor() -> Any:
    from twisted.internet import reactor

    return reactor


if __name__ == "__main__":
    main(sys.argv[1:])
