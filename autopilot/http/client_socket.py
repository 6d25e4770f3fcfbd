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
_MOST_LAYERS = 5
"""Channels, TLS and proxy protocols, which may lie above a socket, and its own transport."""


def buffered_bytes(transport: Any) -> int | None:
    """Return the written bytes that this process still holds, or None if it is unknown."""
    *wrappers, innermost = _layers(transport)
    try:
        count: int = len(innermost.dataBuffer) - innermost.offset + innermost._tempDataLen
        for each in wrappers:
            count += sum(map(len, getattr(each, "_appSendBuffer", ())))
    except (AttributeError, TypeError):  # a transport of a test
        return None
    return count


def unsent_bytes(transport: Any) -> int | None:
    """Return the bytes that ``transport`` and the kernel still hold, or None if it is unknown."""
    count = buffered_bytes(transport)
    if count is None or sys.platform != "linux":
        return None
    try:
        # SIOCOUTQ of tcp(7) and unix(7): what has not been sent, or not been acknowledged.
        held = ioctl(_layers(transport)[-1].fileno(), TIOCOUTQ, bytes(4))
    except (AttributeError, OSError, TypeError, ValueError):  # closed
        return None
    unsent: int = struct.unpack("i", held)[0]
    return count + unsent


def _layers(transport: Any) -> list[Any]:
    """Return a transport and those below it; the last one is the socket's."""
    found = [transport]
    while len(found) < _MOST_LAYERS:
        inner = getattr(found[-1], "transport", None)
        if inner is None:
            break
        found.append(inner)
    return found


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
