"""Connections that pass from the parent to a worker as descriptors (unix(7), SCM_RIGHTS).

Each worker has a pair of sockets that keep messages apart: one message is one connection, with the
letter of its address family. Neither side reads or writes a byte of the client.
"""

from __future__ import annotations

import os
import socket
from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from twisted.internet.abstract import FileDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure

from autopilot.process.exhaustion import ExhaustionPause

if TYPE_CHECKING:
    from twisted.internet.interfaces import IProtocolFactory

    from autopilot.process.board import Slot

MOST_ON_THE_WAY: Final = 16
"""Connections passed to a worker that it has not received; its next turn receives them all."""

FAMILIES: Final = {b"4": socket.AF_INET, b"6": socket.AF_INET6}
_CONTROL_BYTES = socket.CMSG_SPACE(array("i").itemsize)
_FLAGS = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Connection(NamedTuple):
    """An accepted connection, with the letter of its address family."""

    letter: bytes
    socket: socket.socket


class PassedConnections(FileDescriptor):
    """The worker's side: receives connections, and gives each to a factory's protocol.

    ``descriptor`` is the worker's end of its pair, which this object owns. ``ended`` is called once
    the parent has closed its end, or has died, and everything before that has been received.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        descriptor: int,
        factory: IProtocolFactory,
        slot: Slot,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(reactor)
        self._adopting: Any = reactor
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, descriptor)
        self._socket.setblocking(False)
        self._factory = factory
        self._slot = slot
        self._ended = ended
        self._exhaustion = ExhaustionPause(reactor, self._exhaust, self._recover)

    def startListening(self) -> None:  # noqa: N802  as a port of Twisted's
        """Receive from now on."""
        self._factory.doStart()
        self.connected = 1
        self.startReading()

    def stopListening(self) -> None:
        """Receive what has arrived by now, then close; the parent takes back what comes later."""
        if self.connected:
            while self.connected and self._receive_one():
                pass
            self._close()

    def fileno(self) -> int:
        """See `IFileDescriptor`."""
        return self._socket.fileno()

    def doRead(self) -> None:
        """Receive what has arrived, up to the limit of a turn."""
        for _ in range(MOST_ON_THE_WAY):
            if not self._receive_one():
                return

    def connectionLost(self, reason: Failure) -> None:
        """See `IFileDescriptor`: the reactor stops, or reading has failed."""
        self._close()

    def _receive_one(self) -> bool:
        """Receive a connection; return whether there may be another one."""
        if not can_receive(self._socket):
            self._exhaustion.begin()
            return False
        try:
            message = receive(self._socket)
        except (EOFError, OSError):
            self._close()
            self._ended()
            return False
        if message is None:
            return False
        letter, descriptor = message
        self._slot.received += 1
        if descriptor is not None:
            self._adopt(FAMILIES[letter], descriptor)
        else:
            self._log.warn("No file descriptor was left for a client, whose connection is lost")
        return True

    def _adopt(self, family: socket.AddressFamily, descriptor: int) -> None:
        with socket.socket(family, socket.SOCK_STREAM, 0, descriptor) as connection:
            try:
                connection.getpeername()
            except OSError:  # the client has reset the connection meanwhile
                return
            try:
                self._adopting.adoptStreamConnection(descriptor, family, self._factory)
            except Exception:  # noqa: BLE001  a bug, which must not affect the next connection
                self._log.failure("A passed connection was closed because of an exception")

    def _exhaust(self) -> None:
        self._slot.exhausted = 1
        self.stopReading()

    def _recover(self) -> None:
        self._slot.exhausted = 0
        self.startReading()

    def _close(self) -> None:
        if self.connected:
            self.connected = 0
            self._exhaustion.cancel()
            self.stopReading()
            self._socket.close()
            self._factory.doStop()


def send(sending: socket.socket, connection: Connection) -> bool:
    """Pass a connection on; return whether there was room for it."""
    passed = array("i", (connection.socket.fileno(),))
    try:
        sending.sendmsg((connection.letter,), ((socket.SOL_SOCKET, socket.SCM_RIGHTS, passed),))
    except OSError:  # the queue is full, or the system has too many descriptors on their way
        return False
    return True


def can_receive(receiving: socket.socket) -> bool:
    """Return whether two descriptors are free: one for a connection, and one for its transport.

    A connection whose descriptor does not fit would be closed by the kernel (MSG_CTRUNC), and its
    client would lose it.
    """
    free: list[int] = []
    try:
        free.append(os.dup(receiving.fileno()))
        free.append(os.dup(receiving.fileno()))
    except OSError:
        return False
    finally:
        for descriptor in free:
            os.close(descriptor)
    return True


def receive(receiving: socket.socket) -> tuple[bytes, int | None] | None:
    """Return the letter and the descriptor of the next connection, or None if there is none now.

    The descriptor is None if the kernel had to close it.

    :raises EOFError: the other end is closed.
    """
    try:
        letter, control, _flags, _address = receiving.recvmsg(1, _CONTROL_BYTES, _FLAGS)
    except BlockingIOError:
        return None
    if not letter:
        raise EOFError
    passed = array("i")
    for _level, _type, data in control:
        passed.frombytes(data[: len(data) - len(data) % passed.itemsize])
    return letter, passed[0] if passed else None
