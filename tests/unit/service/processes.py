"""A reactor in memory that starts no process: a test plays each worker's part."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.protocols.amp import AmpBox, parseString
from twisted.python.failure import Failure

from autopilot.process.board import Board, Slot
from autopilot.service.assignment import Assignment
from autopilot.service.frames import Frames, Kind
from autopilot.service.worker_process import BOARD, COMMANDS, CONNECTIONS, FRAMES


class Port:
    """A listening socket of this machine, on which the reactor in memory reads nothing."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.reading = True
        self.closed = False

    def fileno(self) -> int:
        """See `IFileDescriptor`."""
        return self.socket.fileno()

    def getHost(self) -> IPv4Address:
        """See `IListeningPort`."""
        return IPv4Address("TCP", *self.socket.getsockname())

    def stopReading(self) -> None:
        """See `tcp.Port`."""
        self.reading = False

    def stopListening(self) -> None:
        """See `IListeningPort`."""
        self.closed = True
        self.socket.close()


class FakeProcess:
    """A process as its transport shows it; the test makes it say something, or end."""

    def __init__(self, reactor: ProcessReactor, protocol: Any, given: Mapping[str, Any]) -> None:
        self.protocol = protocol
        self.given = given
        self.pid = 4000 + len(reactor.processes)
        self.signals: list[str] = []
        self.gone = False
        self.ends: list[StringTransport] = []
        # As the child inherits it, a copy.
        self.descriptors = {
            theirs: os.dup(ours)
            for theirs, ours in given["descriptors"].items()
            if isinstance(ours, int) and theirs >= COMMANDS
        }

    def signalProcess(self, name: str) -> None:  # noqa: N802  Twisted's
        """See `IProcessTransport`."""
        if self.gone:
            raise ProcessExitedAlready
        self.signals.append(name)

    def ends_with(self, status: int = 0, number: int | None = None) -> None:
        """End with a status, or by a signal."""
        self.gone = True
        self.close()
        reason: Exception = ProcessTerminated(status, number, 0)
        if not status and number is None:
            reason = ProcessDone(0)
        self.protocol.processEnded(Failure(reason))

    def close(self) -> None:
        """Close the descriptors."""
        while self.descriptors:
            os.close(self.descriptors.popitem()[1])

    def slot(self, number: int) -> Slot:
        """Return a slot of the board, as the process sees it."""
        return Board(os.dup(self.descriptors[BOARD])).slot(number)

    def tells(self, command: str, **arguments: bytes) -> None:
        """Send a command."""
        box = AmpBox(_command=command.encode())
        box.update({name.encode(): value for name, value in arguments.items()})
        self.protocol.line.dataReceived(box.serialize())

    @property
    def told(self) -> list[str]:
        """The commands that were sent to it, each with its arguments."""
        boxes = parseString(self.ends[0].value())
        return [
            " ".join(
                [
                    box.pop(b"_command").decode(),
                    *(each.decode(errors="replace") for each in box.values()),
                ]
            )
            for box in boxes
        ]

    def frames(self, kind: Kind) -> list[bytes]:
        """The payloads of a kind that were sent to it."""
        found: list[bytes] = []
        frames = Frames()
        frames.on(kind, found.append)
        frames.makeConnection(StringTransport())
        frames.dataReceived(self.ends[1].value())
        return found

    @property
    def assignments(self) -> list[Assignment]:
        """What it was assigned, in order."""
        return [Assignment.decode(each) for each in self.frames(Kind.SETTINGS)]


class ProcessReactor(MemoryReactorClock):
    """Notes the processes that are to be started."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[FakeProcess] = []
        self.refusing = False
        self.stillborn = 0
        """So many processes end before `spawnProcess` returns."""
        self.ports: list[Port] = []

    def spawnProcess(  # noqa: N802  Twisted's
        self,
        protocol: Any,
        executable: str,
        args: Any = (),
        env: Any = None,
        path: Any = None,
        uid: Any = None,
        gid: Any = None,
        usePTY: bool = False,  # noqa: N803
        childFDs: Any = None,  # noqa: N803
    ) -> FakeProcess:
        """See `IReactorProcess`."""
        if self.refusing:
            raise OSError(11, "Resource temporarily unavailable")
        given = {"executable": executable, "args": args, "env": env, "descriptors": childFDs}
        process = FakeProcess(self, protocol, given)
        self.processes.append(process)
        protocol.makeConnection(process)
        if self.stillborn:
            self.stillborn -= 1
            process.ends_with(number=15)
        return process

    def adoptStreamConnection(self, fileDescriptor: int, family: Any, factory: Any) -> None:  # noqa: N803
        """See `IReactorSocket`: the first of a process is that of commands, then that of frames."""
        transport = StringTransport()
        factory.buildProtocol(None).makeConnection(transport)
        self.processes[-1].ends.append(transport)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:  # noqa: N802
        """See `IReactorTCP`."""
        super().listenTCP(port, factory, backlog, interface)
        self.ports.append(Port())
        return self.ports[-1]

    def close(self) -> None:
        """Close what is open."""
        for process in self.processes:
            process.close()
        for port in self.ports:
            port.socket.close()


__all__ = ["COMMANDS", "CONNECTIONS", "FRAMES", "FakeProcess", "Port", "ProcessReactor"]
