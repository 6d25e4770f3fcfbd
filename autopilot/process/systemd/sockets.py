"""Listening sockets that a service manager opened and passes on (systemd's ``LISTEN_FDS``).

They outlive the process: what connects while the router restarts waits in the kernel's queue for
the next one, and is not refused.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

FIRST = 3
"""The number of the first descriptor that is passed."""
ADMIN = "admin"
"""``FileDescriptorName=`` of the sockets that are for operators; every other one is the API's."""


class SocketsError(ValueError):
    """Something was passed that the router cannot listen on; its text is for the operator."""


@dataclass(frozen=True, slots=True)
class Sockets:
    """Descriptors of listening sockets, as they were passed."""

    api: tuple[int, ...] = ()
    admin: tuple[int, ...] = ()


def passed_sockets(environ: Mapping[str, str], pid: int, first: int = FIRST) -> Sockets:
    """The sockets that the environment says were passed to the process `pid`.

    Raises ``SocketsError`` when they are not listening TCP sockets.
    """
    if environ.get("LISTEN_PID") != str(pid):
        return Sockets()
    count = environ.get("LISTEN_FDS", "")
    if not (count.isascii() and count.isdigit()):
        raise SocketsError(f"LISTEN_FDS: {count[:40]!a} is not a number of sockets")
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    named: dict[bool, list[int]] = {True: [], False: []}
    for position in range(int(count)):
        name = names[position] if position < len(names) else ""
        _check(first + position)
        named[name == ADMIN].append(first + position)
    return Sockets(api=tuple(named[False]), admin=tuple(named[True]))


def family_of(descriptor: int) -> socket.AddressFamily:
    """The address family of a socket."""
    with socket.socket(fileno=os.dup(descriptor)) as passed:
        return socket.AddressFamily(passed.family)


def _check(descriptor: int) -> None:
    try:
        with socket.socket(fileno=os.dup(descriptor)) as passed:
            tcp = passed.family in (socket.AF_INET, socket.AF_INET6)
            listening = passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError:
        tcp = listening = False
    if not (tcp and listening):
        raise SocketsError(
            f"LISTEN_FDS: descriptor {descriptor} is not a listening TCP socket; in the socket"
            " unit, give ListenStream= a port and leave Accept=no"
        )
