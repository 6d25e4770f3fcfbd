"""Listening sockets passed by a service manager (sd_listen_fds(3), ``LISTEN_FDS``).

They outlive the process: while the router restarts, new connections wait in the kernel's queue for
the next process instead of being refused.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

FIRST = 3
"""The number of the first passed descriptor."""
ADMIN = "admin"
"""``FileDescriptorName=`` of the operators' sockets; all others serve the API."""


class SocketsError(ValueError):
    """A passed descriptor that the router cannot listen on; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class Sockets:
    """The passed descriptors of listening sockets."""

    api: tuple[int, ...] = ()
    admin: tuple[int, ...] = ()


def passed_sockets(environ: Mapping[str, str], pid: int, first: int = FIRST) -> Sockets:
    """Return the sockets that the environment declares as passed to the process `pid`.

    :raises SocketsError: one of them is not a listening TCP socket.
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
    """Return the address family of a socket."""
    with socket.socket(fileno=os.dup(descriptor)) as passed:
        return socket.AddressFamily(passed.family)


def _check(descriptor: int) -> None:
    """Raise `SocketsError` unless the descriptor is a listening TCP socket."""
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
