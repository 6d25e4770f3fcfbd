"""The clients of one input, in a process of their own."""

from __future__ import annotations

import contextlib
import gc
import selectors
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from typing import Final

from tests.rigs.hold.input import Input, Leaves, Reads
from tests.rigs.hold.wire import NUMBER_FIELD
from tests.rigs.smoke.client import HOST

_LINGER: Final = struct.pack("ii", 1, 0)
_READ: Final = 262_144
_STATUS_LINE: Final = len(b"HTTP/1.1 200")
_UNREAD_BUFFER: Final = 4096
_TICK: Final = 0.05
_CONNECTING: Final = 20.0


@dataclass(frozen=True, slots=True)
class Played:
    """What the clients sent, and the first status that each received."""

    sent: int
    request: int
    statuses: Counter[int] = field(default_factory=Counter)
    finished: bool = True
    seconds: float = 0.0


class Client:
    """One connection."""

    def __init__(self, port: int, wire: memoryview, given: Input, tls: ssl.SSLContext | None):
        self._wire = wire
        self._given = given
        self.sent = 0
        self.first = b""
        self.ended = False
        self.socket = socket.socket()
        if given.reads is Reads.NOTHING:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UNREAD_BUFFER)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(_CONNECTING)
        self.socket.connect((HOST, port))
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname=HOST)
        self.socket.setblocking(False)

    @property
    def interest(self) -> int:
        """The events that this connection waits for."""
        sending = selectors.EVENT_WRITE if self.sent < len(self._wire) and not self.ended else 0
        reading = selectors.EVENT_READ if self._given.reads is Reads.ALL else 0
        return 0 if self.ended else sending | reading

    @property
    def done(self) -> bool:
        """Whether everything has been sent and, if the client reads, received."""
        return self.ended or (
            self.sent == len(self._wire)
            and (self._given.reads is Reads.NOTHING or self._given.leaves is not Leaves.AFTER)
        )

    def work(self, events: int) -> None:
        """Send and receive as much as the socket allows at once."""
        try:
            if events & selectors.EVENT_WRITE:
                end = self.sent + self._given.piece if self._given.piece else len(self._wire)
                self.sent += self.socket.send(self._wire[self.sent : end])
            if events & selectors.EVENT_READ:
                self._read()
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            self.ended = True

    def _read(self) -> None:
        data = self.socket.recv(_READ)
        while isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
            data += self.socket.recv(_READ)  # what it has decrypted shows in no event
        self.ended = not data
        if len(self.first) < _STATUS_LINE:
            self.first += data[:_STATUS_LINE]

    def leave(self) -> None:
        """Close as the input says."""
        with contextlib.suppress(OSError):
            if self._given.leaves is Leaves.RESET:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
            self.socket.close()

    def status(self) -> int:
        """Return the first status received, 0 if there is none."""
        if not self.first and self._given.reads is Reads.NOTHING:
            with contextlib.suppress(OSError, ValueError):
                self.first = self.socket.recv(_STATUS_LINE, socket.MSG_PEEK)
        digits = self.first[len(b"HTTP/1.1 ") : _STATUS_LINE]
        return int(digits) if digits.isdigit() else 0


def request_bytes(given: Input, number: int) -> bytes:
    """Return the bytes that each client of an input sends."""
    wire = given.request()
    if given.response is None:
        return wire
    line = b"\r\n%b: %d\r\n" % (NUMBER_FIELD.encode(), number)
    return wire.replace(b"\r\n", line, 1)


def play(
    pipe: Pipe, given: Input, number: int, port: int, tls: ssl.SSLContext | None = None
) -> None:
    """Build the bytes, report it, wait for the start, play, and report the result."""
    gc.disable()
    wire = memoryview(request_bytes(given, number))
    pipe.send("ready")
    pipe.recv()
    pipe.send(played(given, port, wire, tls))
    pipe.close()


def played(given: Input, port: int, wire: memoryview, tls: ssl.SSLContext | None = None) -> Played:
    """Play an input whose bytes are there."""
    began = time.monotonic()
    clients = list(_connected(given, port, wire, tls))
    finished = _run(clients, began + given.seconds)
    time.sleep(given.stay)
    statuses = Counter(each.status() for each in clients)
    for each in clients:
        each.leave()
    sent = sum(each.sent for each in clients)
    return Played(sent, len(wire), statuses, finished, time.monotonic() - began)


def _connected(
    given: Input, port: int, wire: memoryview, tls: ssl.SSLContext | None
) -> Iterator[Client]:
    """Yield the clients as they connect; if that takes a while, each one sends at once."""
    for _ in range(given.connections):
        each = Client(port, wire, given, tls)
        if given.spread:
            each.work(selectors.EVENT_WRITE)
            time.sleep(given.spread / given.connections)
        yield each


def _run(clients: Iterable[Client], end: float) -> bool:
    """Work on all connections until every one is done; return False at the end of the time."""
    with selectors.DefaultSelector() as selector:
        waiting = set(clients)
        for each in waiting:
            if each.interest:
                selector.register(each.socket, each.interest, each)
        while waiting := {each for each in waiting if not each.done}:
            if time.monotonic() > end:
                return False
            for key, events in selector.select(_TICK):
                _turn(selector, key, events)
    return True


def _turn(selector: selectors.BaseSelector, key: selectors.SelectorKey, events: int) -> None:
    client: Client = key.data
    client.work(events)
    wanted = client.interest
    if not wanted:
        selector.unregister(client.socket)
    elif wanted != key.events:
        selector.modify(client.socket, wanted, client)
