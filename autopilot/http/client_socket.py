"""What the kernel knows of a client's socket, and a transport does not report.

A transport reports room in its socket only when much of the kernel's buffer is free, a megabyte or
more. Until then a client that reads slowly looks like one that reads nothing; the kernel's count of
what it still holds tells them apart. And a transport that does not read, because enough is waiting
already, does not notice the end of the connection either.
"""

from __future__ import annotations

import select
import struct
import sys
from typing import Any

if sys.platform == "linux":  # the only system on which the request exists for sockets
    from fcntl import ioctl
    from termios import TIOCOUTQ

# The client has closed its sending side, or the connection is lost (poll(2)).
_LOST = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR | select.POLLNVAL
_MOST_LAYERS = 4
"""Channels, TLS and proxy protocols: layers that may lie above a socket."""


def unsent_bytes(transport: Any) -> int | None:
    """Return the bytes that ``transport`` and the kernel still hold, or None if it is unknown."""
    if sys.platform != "linux":
        return None
    count: int = 0
    try:
        for _ in range(_MOST_LAYERS):
            inner = getattr(transport, "transport", None)
            if inner is None:
                break
            count += sum(map(len, getattr(transport, "_appSendBuffer", ())))
            transport = inner
        count += len(transport.dataBuffer) - transport.offset + transport._tempDataLen
        # SIOCOUTQ of tcp(7) and unix(7): what has not been sent, or not been acknowledged.
        held: int = struct.unpack("i", ioctl(transport.fileno(), TIOCOUTQ, bytes(4)))[0]
    except (AttributeError, OSError, TypeError, ValueError):  # closed, or a transport of a test
        return None
    return count + held


def has_hung_up(transport: Any) -> bool:
    """Return whether the client has closed the connection, or its side of it, behind unread bytes.

    False also if that is unknown: the transport is closed, or not one of the operating system's.
    """
    try:
        poll = select.poll()
        poll.register(transport.fileno(), _LOST)
        return bool(poll.poll(0))
    except (AttributeError, OSError, TypeError, ValueError):
        return False
