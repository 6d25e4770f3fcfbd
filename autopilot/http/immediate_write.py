"""Bytes to the socket now instead of in the reactor's next turn.

A Twisted transport collects what is written and sends it when the reactor says that the socket has
room, which costs two changes of the poll set, one more event and a turn's delay for every write. A
relay writes one small piece at a time into sockets that almost always have room, so it sends first
and leaves to the transport only what does not fit, with everything that follows from it: order,
producers, and closing when the socket fails.

What the transport has in store is told only by attributes that are not public; where one of them is
missing, writing stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.tcp import Connection

_NEEDED = ("socket", "connected", "dataBuffer", "_tempDataLen")


def hasten(transport: Any) -> bool:
    """Make ``transport.write`` send at once; whether this kind of transport lets it."""
    if not isinstance(transport, Connection) or getattr(transport, "TLS", True):
        return False
    if not all(hasattr(transport, name) for name in _NEEDED):
        return False
    transport.write = _at_once(transport, transport.write)  # type: ignore[method-assign]
    return True


def _at_once(transport: Any, store: Callable[[bytes], None]) -> Callable[[bytes], None]:
    def write(data: bytes) -> None:
        if transport._tempDataLen or transport.dataBuffer or not transport.connected or not data:
            store(data)
            return
        try:
            sent = transport.socket.send(data)
        except OSError:
            # Full, or broken: the transport meets the same error and closes as it always does.
            sent = 0
        if sent < len(data):
            store(data[sent:] if sent else data)

    return write


def relax(transport: Any) -> None:
    """Undo :func:`hasten` when a connection ends; else it would keep itself alive."""
    if isinstance(transport, Connection):
        vars(transport).pop("write", None)
