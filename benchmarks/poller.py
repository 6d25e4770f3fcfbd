"""The epoll loop's bottom, and the connections on it: what upstream and load have in common."""

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
"""More than a TLS record holds, so that nothing ever stays behind in the TLS layer."""

_COARSE_NS: Final = 3_000_000


def prepare_process() -> None:
    """Allow as many sockets as may be had, and no garbage collection: nothing here makes cycles."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.collect()
    gc.freeze()
    gc.disable()


class Poller:
    """An epoll object whose wait is exact: epoll itself counts in whole milliseconds."""

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
    """One connection, plain or TLS, and the bytes that its peer was too slow to take."""

    __slots__ = ("fd", "out", "recv", "send", "shaking", "sock")

    def __init__(self) -> None:
        self.out = bytearray()

    def open(self, sock: socket.socket) -> None:
        """Use this socket from now on; a TLS one has still to shake hands."""
        self.sock = sock
        self.fd = sock.fileno()
        self.recv = sock.recv
        self.send = sock.send
        self.shaking = isinstance(sock, ssl.SSLSocket)
        self.out.clear()

    def push(self, data: bytes) -> bool:
        """Send `data`, keeping what cannot go now; whether nothing is kept. Raises `OSError`."""
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
        """Send what was kept; whether nothing is kept any more. Raises `OSError`."""
        try:
            while self.out:
                sent = self.send(self.out)
                del self.out[:sent]
        except WOULD_BLOCK:
            return False
        return True

    def shake(self) -> int:
        """Go on with the TLS handshake; what to wait for next. Raises `OSError`."""
        assert isinstance(self.sock, ssl.SSLSocket)
        try:
            self.sock.do_handshake()
        except ssl.SSLWantReadError:
            return READ
        except ssl.SSLWantWriteError:
            return WRITE
        self.shaking = False
        return READ
