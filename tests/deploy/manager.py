"""A stand-in for systemd: passes sockets to router processes, and receives their notifications."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from random import sample
from time import monotonic

from tests.process.processes import PATIENCE, Router

_BECOME = """
import fcntl, os, sys
original = [int(each) for each in sys.argv[1].split(",")]
passed = [fcntl.fcntl(each, fcntl.F_DUPFD, 100) for each in original]
for each in original:
    os.close(each)
for number, descriptor in enumerate(passed, 3):
    os.dup2(descriptor, number)
    os.close(descriptor)
os.environ.update(LISTEN_FDS=str(len(passed)), LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Runs between fork and exec, as in systemd, where the process id is known."""


class Activated(Router):
    """A router to which these sockets are passed, from descriptor 3 upwards."""

    options = ("--reactor=autopilot",)

    def __init__(
        self,
        folder: str,
        platform_port: int,
        *sockets: socket.socket,
        **variables: str,
    ) -> None:
        self.descriptors = tuple(each.fileno() for each in sockets)
        self.launcher = (sys.executable, "-c", _BECOME, ",".join(map(str, self.descriptors)))
        super().__init__(folder, platform_port, **variables)


class Hearer:
    """The socket for notifications, at a path or, with ``@``, at an abstract address."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1) if address[0] == "@" else address)
        self._socket.settimeout(PATIENCE)

    def next(self) -> dict[str, str]:
        """Return the next notification."""
        told = self._socket.recv(4096).decode()
        return dict(line.split("=", 1) for line in told.split("\n"))

    def until(self, name: str) -> dict[str, str]:
        """Return the next notification that contains this variable."""
        end = monotonic() + PATIENCE
        while monotonic() < end:
            if name in (told := self.next()):
                return told
        raise AssertionError(f"no notification of {name}")

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def listening() -> socket.socket:
    """Return a listening socket like systemd's."""
    return socket.create_server(("127.0.0.1", 0), backlog=1024)


def free_port() -> int:
    """Return a free port outside the system's range of ephemeral ports."""
    for port in sample(range(20_000, 32_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")
