"""Writes that reach the socket at once instead of in the reactor's next turn.

A Twisted transport buffers what is written and sends it when the reactor reports the socket as
writable. Each write then costs two changes of the poll set, one more event and the delay of a turn.
A relay writes one small piece at a time into sockets that nearly always have room. It therefore
sends first and hands only the remainder to the transport, which keeps the order, signals its
producer and closes the connection when the socket fails.

Only undocumented attributes show what the transport has buffered. If one of those in ``_NEEDED`` is
missing, writes stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.tcp import Connection

_NEEDED = ("socket", "connected", "dataBuffer", "_tempDataLen")


def enable(transport: Any) -> bool:
    """Make ``transport.write`` send at once; return whether this type of transport permits it."""
    if not isinstance(transport, Connection) or getattr(transport, "TLS", True):
        return False
    if not all(hasattr(transport, name) for name in _NEEDED):
        return False
    transport.write = _immediate_write(transport, transport.write)  # type: ignore[method-assign]
    return True


def _immediate_write(
    transport: Any, buffered_write: Callable[[bytes], None]
) -> Callable[[bytes], None]:
    def write(data: bytes) -> None:
        # Bytes must not overtake those that are still buffered.
        if transport._tempDataLen or transport.dataBuffer or not transport.connected or not data:
            buffered_write(data)
            return
        try:
            sent = transport.socket.send(data)
        except OSError:
            # Full or broken: the transport will get the same error and handle it.
            sent = 0
        if sent < len(data):
            buffered_write(data[sent:] if sent else data)

    return write


def disable(transport: Any) -> None:
    """Undo :func:`enable` when the connection ends; the closure would keep the transport alive."""
    if isinstance(transport, Connection):
        vars(transport).pop("write", None)
