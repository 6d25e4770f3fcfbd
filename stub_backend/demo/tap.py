"""A listener between router and platform, which keeps each byte that passes in either direction."""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Thread

from stub_backend.demo.processes import HOST

_READ = 65_536


class Tap:
    """Forwards connections to a port, and keeps the bytes of each by its direction.

    `sent` has those to the platform, one entry for each connection; `received` those from it.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server((HOST, 0))
        self._open: list[socket.socket] = []
        self.sent: list[bytearray] = []
        self.received: list[bytearray] = []
        self.port: int = self._listener.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def clear(self) -> None:
        """Forget the bytes so far."""
        for each in (*self.sent, *self.received):
            each.clear()

    def close(self) -> None:
        """Close the listener and all connections."""
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                inner, _address = self._listener.accept()
                outer = socket.create_connection((HOST, self._target))
                self._open += [inner, outer]
                for source, to, kept in (
                    (inner, outer, self.sent),
                    (outer, inner, self.received),
                ):
                    kept.append(bytearray())
                    Thread(target=_copy, args=(source, to, kept[-1]), daemon=True).start()


def _copy(source: socket.socket, to: socket.socket, kept: bytearray) -> None:
    with suppress(OSError):
        while data := source.recv(_READ):
            kept += data
            to.sendall(data)
        to.shutdown(socket.SHUT_WR)
