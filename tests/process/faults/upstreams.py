"""An upstream that fails on request, with threads and blocking sockets.

The feeds always respond. The model of a chat request selects the script that answers it.
"""

from __future__ import annotations

import fcntl
import json
import socket
import struct
import termios
from collections.abc import Callable
from threading import Event, Thread
from time import monotonic, sleep

from tests.process.processes import PATIENCE
from tests.unit.feeds.records import catalog_body, entry, record, utilization_body
from tests.unit.relay.upstreams import whole

ONE, TWO = "acme/one", "acme/two"
BOTH = f"{ONE},{TWO}"
Script = Callable[[socket.socket], None]


class Upstream:
    """An upstream; ``scripts`` has a script for each model, ``asked`` lists the requested models.

    ``left`` is set when the router closes a connection on which a script waits.
    """

    def __init__(self, **scripts: Script) -> None:
        self.scripts = dict(scripts)
        self.asked: list[str] = []
        self.left = Event()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._socket.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no more connections."""
        close_listener(self._socket)

    def waits(self, connection: socket.socket) -> None:
        """Send nothing more until the router closes."""
        connection.settimeout(PATIENCE)
        try:
            gone = connection.recv(1) == b""
        except ConnectionError:
            gone = True
        except TimeoutError:
            gone = False
        if gone:
            self.left.set()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while (asked := _request(connection)) is not None:
                    self._answer(connection, *asked)
            except OSError:
                return

    def _answer(self, connection: socket.socket, line: bytes, body: bytes) -> None:
        if line.startswith(b"GET /v1/models"):
            connection.sendall(whole(200, catalog_body(entry(ONE), entry(TWO))))
        elif line.startswith(b"GET /chutes"):
            connection.sendall(whole(200, utilization_body(record(ONE), record(TWO))))
        else:
            model = json.loads(body)["model"]
            self.asked.append(model)
            self.scripts[model.partition("/")[2]](connection)


def close_listener(listener: socket.socket) -> None:
    """Close the listener and wake the thread in `accept`, which closing alone does not do."""
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def says(*pieces: bytes) -> Script:
    """Return a script that sends these bytes and keeps the connection."""
    return lambda connection: connection.sendall(b"".join(pieces))


def ends(connection: socket.socket) -> None:
    """Close with a FIN, even if the response is incomplete."""
    connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def resets(connection: socket.socket) -> None:
    """Reset the connection after the peer has received the bytes sent so far."""
    until_taken(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def until_taken(connection: socket.socket) -> None:
    """Wait until the peer has acknowledged all bytes, because a reset discards the others."""
    end = monotonic() + PATIENCE
    while monotonic() < end:
        unsent = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0" * 4)
        if struct.unpack("i", unsent)[0] == 0:
            sleep(0.05)  # acknowledged bytes may still be unread
            return
        sleep(0.001)


def _request(connection: socket.socket) -> tuple[bytes, bytes] | None:
    """Read the next request; return its first line and body, or None at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        received = connection.recv(65536)
        if not received:
            return None
        data += received
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    length = int(fields.get(b"content-length", b"0"))
    while len(body) < length:
        body += connection.recv(65536)
    return head.partition(b"\r\n")[0], body
