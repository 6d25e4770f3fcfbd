"""The epoll wrapper and the connections shared by upstream and load generator."""

from __future__ import annotations

import gc
import resource
import select
import socket
import ssl
from typing import Final

WOULD_BLOCK: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
READ: Final = select.EPOLLIN
WRITE: Final = select.EPOLLOUT
RECEIVE_BYTES: Final = 65_536
"""More than a TLS record (16 KiB), so that one read leaves no data in the TLS layer."""

_COARSE_NS: Final = 3_000_000


def prepare_process() -> None:
    """Raise the limit on sockets, and disable garbage collection: nothing here creates cycles."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.collect()
    gc.freeze()
    gc.disable()


class Poller:
    """An epoll object with an exact timeout; epoll itself rounds to milliseconds."""

    __slots__ = ("_only", "epoll", "modify", "poll", "register")

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.poll = self.epoll.poll
        self.register = self.epoll.register
        self.modify = self.epoll.modify
        self._only = [self.epoll.fileno()]

    def wait(self, ns: int) -> list[tuple[int, int]]:
        """Return what is ready now or becomes ready within `ns`."""
        if ns <= 0:
            return self.poll(0)
        if ns > _COARSE_NS:
            return self.poll(ns // 1_000_000 / 1000)
        select.select(self._only, (), (), ns / 1e9)
        return self.poll(0)


class Channel:
    """One connection, plain or TLS, and its unsent bytes."""

    __slots__ = ("fd", "out", "recv", "send", "shaking", "sock")

    def __init__(self) -> None:
        self.out = bytearray()

    def open(self, sock: socket.socket) -> None:
        """Use this socket from now on; a TLS socket still needs its handshake."""
        self.sock = sock
        self.fd = sock.fileno()
        self.recv = sock.recv
        self.send = sock.send
        self.shaking = isinstance(sock, ssl.SSLSocket)
        self.out.clear()

    def push(self, data: bytes) -> bool:
        """Send `data`, buffer the rest, and return whether all was sent. Raises `OSError`."""
        if self.out:
            self.out += data
            return False
        try:
            sent = self.send(data)
        except WOULD_BLOCK:
            sent = 0
        if sent == len(data):
            return True
        self.out += data[sent:]
        return False

    def flush(self) -> bool:
        """Send buffered data, and return whether all was sent. Raises `OSError`."""
        try:
            while self.out:
                sent = self.send(self.out)
                del self.out[:sent]
        except WOULD_BLOCK:
            return False
        return True

    def shake(self) -> int:
        """Continue the TLS handshake, and return the events to wait for. Raises `OSError`."""
        assert isinstance(self.sock, ssl.SSLSocket)
        try:
            self.sock.do_handshake()
        except ssl.SSLWantReadError:
            return READ
        except ssl.SSLWantWriteError:
            return WRITE
        self.shaking = False
        return READ
