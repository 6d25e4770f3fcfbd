"""The number of bytes written to a client that the client has not yet acknowledged.

A transport reports room in its socket only when much of the kernel's buffer is free, a megabyte or
more. Until then a client that reads slowly looks like one that reads nothing; the kernel's count of
what it still holds tells them apart.
"""

from __future__ import annotations

import struct
import sys
from typing import Any

if sys.platform == "linux":  # the only system on which the request exists for sockets
    from fcntl import ioctl
    from termios import TIOCOUTQ

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
