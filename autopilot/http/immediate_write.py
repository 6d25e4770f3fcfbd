"""Writes that reach the socket at once instead of in the reactor's next turn.

A Twisted transport buffers what is written and sends it when the reactor reports the socket as
writable. Each write then costs two changes of the poll set, one more event and the delay of a turn.
A relay writes one small piece at a time into sockets that nearly always have room. It therefore
sends first and hands only the remainder to the transport, which keeps the order, signals its
producer and closes the connection when the socket fails.

What is read goes to the protocol at once as well: without the call in which Twisted separates an
end of file from bytes, which every event of a stream would pay.

Only undocumented attributes show what the transport has buffered. If one of those in ``_NEEDED`` is
missing, writes and reads stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import EWOULDBLOCK
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.tcp import Connection

_NEEDED = ("socket", "connected", "dataBuffer", "_tempDataLen", "bufferSize", "protocol")


def enable(transport: Any) -> bool:
    """Make ``transport`` write and read directly; return whether its type permits that."""
    if not isinstance(transport, Connection) or getattr(transport, "TLS", True):
        return False
    if not all(hasattr(transport, name) for name in _NEEDED):
        return False
    transport.write = _immediate_write(transport, transport.write)  # type: ignore[method-assign]
    transport.doRead = _direct_read(transport)  # type: ignore[method-assign]
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


def _direct_read(transport: Any) -> Callable[[], ConnectionDone | ConnectionLost | None]:
    def read() -> ConnectionDone | ConnectionLost | None:
        # As `Connection.doRead`.
        try:
            data = transport.socket.recv(transport.bufferSize)
        except OSError as error:
            return None if error.args[0] == EWOULDBLOCK else CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        transport.protocol.dataReceived(data)
        return None

    return read


def disable(transport: Any) -> None:
    """Undo :func:`enable` when the connection ends; the closures would keep the transport alive."""
    if isinstance(transport, Connection):
        for name in ("write", "doRead"):
            vars(transport).pop(name, None)
