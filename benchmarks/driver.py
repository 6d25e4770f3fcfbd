"""The base of all load generators: connections, the phases of a run, and failures.

A subclass decides what a connection sends and reads. This class opens the connection, reopens it
after a failure, and reports when the measured window begins and ends.
"""

from __future__ import annotations

import heapq
import os
import re
import socket
import ssl
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from errno import EINPROGRESS
from itertools import count
from time import monotonic_ns, process_time
from typing import Generic, TypeVar

from benchmarks.job import Job
from benchmarks.poller import READ, WRITE, Channel, Poller
from benchmarks.samples import FIRST_BYTE, LATENCY, Samples

SECOND = 1_000_000_000
_MILLISECOND = 1_000_000
_RETRY_NS = SECOND // 10
_FOREVER_NS = 1_000_000 * SECOND
_MOST_OF_ONE_ADDRESS = 20_000
_BIND_ADDRESS_NO_PORT = 24

_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_SHUT, _CONNECTING, _OPEN = range(3)


class Client(Channel):
    """One client of the load, which uses one connection after the other.

    `up`: it has had its first response, on any connection. `closing`: the peer has announced
    the end of the current connection.
    """

    __slots__ = ("closing", "first_byte", "sent", "stage", "tail", "up")

    def __init__(self) -> None:
        super().__init__()
        self.stage = _SHUT
        self.up = False
        self.closing = False
        self.tail = b""
        self.sent = 0
        self.first_byte = False


AnyClient = TypeVar("AnyClient", bound=Client)


class Driver(ABC, Generic[AnyClient]):
    """A run of one job. `say` is called with `steady` at the instant the window begins."""

    def __init__(
        self, job: Job, say: Callable[[str], None], client: Callable[[], AnyClient]
    ) -> None:
        self.job = job
        self.latency = Samples()
        self.first_bytes = Samples()
        self.requests = self.events = self.bytes = self.max_gap = 0
        self.errors: Counter[str] = Counter()
        self._earlier: Counter[str] = Counter()
        self._say = say
        self._poller = Poller()
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = count()
        self._up = 0
        self._steady = False
        self._over = False
        self._window = (0, 0.0)
        self._tls = ssl.create_default_context(cafile=job.ca_file) if job.ca_file else None
        self.clients = [client() for _ in range(job.connections)]
        self._by_fd: dict[int, AnyClient] = {}

    @abstractmethod
    def connected(self, client: AnyClient) -> None:
        """Use a connection that has just been established."""

    @abstractmethod
    def read(self, client: AnyClient) -> None:
        """Read from a connection that is readable."""

    def all_up(self) -> None:
        """React to the start of the warm-up, when every connection is up."""

    def window_begins(self, now: int) -> None:
        """React to the start of the window, after the counters have been cleared."""

    def window_ends(self, now: int) -> None:
        """React to the end of the window."""

    def run(self) -> dict[str, object]:
        """Open the connections, warm up, measure, and return the result of the window."""
        begin = monotonic_ns()
        patience = self.job.connections / self.job.ramp_per_second + self.job.patience
        self._ramp(begin, 0)
        self.at(begin + int(patience * SECOND), self._warm_up)
        self.at(begin + _FOREVER_NS, self._end_window)
        while not self._over:
            self._turn()
        self.window_ends(monotonic_ns())
        return self._result()

    def close(self) -> None:
        """Close all connections."""
        for client in self._by_fd.values():
            client.sock.close()
        self._by_fd.clear()
        self._poller.epoll.close()

    def at(self, when: int, do: Callable[[], None]) -> None:
        """Call `do` at a time of the monotonic clock, in nanoseconds."""
        heapq.heappush(self._timers, (when, next(self._numbers), do))

    def came_up(self, client: AnyClient) -> None:
        """Record the client's first response."""
        client.up = True
        self._up += 1
        if self._up == len(self.clients):
            self._warm_up()

    def failed(self, client: AnyClient, reason: str) -> None:
        """Count a failure, and open a new connection a little later."""
        self.errors[reason] += 1
        if client.up:
            client.up = False
            self._up -= 1
        self.shut(client)
        self.at(monotonic_ns() + _RETRY_NS, lambda: self.open(client))

    def rest(self, client: AnyClient, begin: Callable[[AnyClient], None]) -> None:
        """Call `begin` after the job's pause, unless the connection fails first."""
        if not self.job.think:
            begin(client)
            return
        sock = client.sock

        def then() -> None:
            if client.sock is sock:
                begin(client)

        self.at(monotonic_ns() + int(self.job.think * SECOND), then)

    def shut(self, client: AnyClient) -> None:
        """Close the client's connection."""
        if self._by_fd.pop(client.fd, None) is not None:
            client.sock.close()
        client.stage = _SHUT

    def open(self, client: AnyClient) -> None:
        """Start to connect."""
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.job.connections > _MOST_OF_ONE_ADDRESS:
            sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            sock.bind((f"127.0.0.{1 + sock.fileno() % 8}", 0))
        failure = sock.connect_ex((self.job.host, self.job.port))
        client.open(sock)
        client.stage = _CONNECTING
        client.closing = False
        client.tail = b""
        self._by_fd[client.fd] = client
        self._poller.register(client.fd, WRITE)
        if failure not in (0, EINPROGRESS):
            self.failed(client, os.strerror(failure))

    def send(self, client: AnyClient, data: bytes) -> bool:
        """Send a request, and return whether the connection is still open."""
        try:
            if not client.push(data):
                self._poller.modify(client.fd, READ | WRITE)
        except OSError as error:
            self.failed(client, reason_of(error))
            return False
        return True

    def _turn(self) -> None:
        timers = self._timers
        now = monotonic_ns()
        while timers[0][0] <= now:
            heapq.heappop(timers)[2]()
        if self._over:
            return
        by_fd, read = self._by_fd, self.read
        for fd, mask in self._poller.wait(timers[0][0] - now):
            client = by_fd.get(fd)
            if client is None:
                continue
            if mask == READ and client.stage == _OPEN:
                read(client)
            else:
                self._unusual(client, mask)
        self.latency.fold()
        self.first_bytes.fold()

    def _unusual(self, client: AnyClient, mask: int) -> None:
        """Handle a connection that is connecting, writable again, or closed by the peer."""
        if client.stage == _CONNECTING:
            self._connect_further(client)
            return
        if mask & WRITE:
            try:
                if client.flush():
                    self._poller.modify(client.fd, READ)
            except OSError as error:
                self.failed(client, reason_of(error))
                return
        if mask & ~WRITE:
            self.read(client)

    def _connect_further(self, client: AnyClient) -> None:
        try:
            failure = client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failure:
                self.failed(client, os.strerror(failure))
                return
            if self._tls is not None and not client.shaking:
                self._wrap(client, self._tls)
            wait_for = client.shake() if client.shaking else READ
            self._poller.modify(client.fd, wait_for)
        except OSError as error:
            self.failed(client, reason_of(error))
            return
        if not client.shaking:
            client.stage = _OPEN
            self.connected(client)

    def _wrap(self, client: AnyClient, tls: ssl.SSLContext) -> None:
        name = self.job.server_name or self.job.host
        client.open(
            tls.wrap_socket(client.sock, do_handshake_on_connect=False, server_hostname=name)
        )

    def _ramp(self, begin: int, opened: int) -> None:
        now = monotonic_ns()
        due = int((now - begin) / SECOND * self.job.ramp_per_second) + 1
        for client in self.clients[opened:due]:
            self.open(client)
        if due < len(self.clients):
            self.at(now + _MILLISECOND, lambda: self._ramp(begin, max(opened, due)))

    def _warm_up(self) -> None:
        if not self._steady:
            self._steady = True
            self.all_up()
            self.at(monotonic_ns() + int(self.job.warmup * SECOND), self._begin_window)

    def _begin_window(self) -> None:
        self.latency.clear()
        self.first_bytes.clear()
        self.requests = self.events = self.bytes = self.max_gap = 0
        self._earlier = self.errors.copy()
        self.errors.clear()
        now = monotonic_ns()
        self._window = (now, process_time())
        self.window_begins(now)
        self._say("steady")
        self.at(now + int(self.job.seconds * SECOND), self._end_window)

    def _end_window(self) -> None:
        self._over = True

    def _result(self) -> dict[str, object]:
        begin, cpu = self._window
        return {
            "requests": self.requests,
            "events": self.events,
            "errors": self.errors.total(),
            "reasons": dict(self.errors),
            "reasons_before": dict(self._earlier),
            "up": self._up,
            "bytes": self.bytes,
            "elapsed": (monotonic_ns() - begin) / SECOND,
            "cpu": process_time() - cpu,
            "latency_us": self.latency.percentiles(**LATENCY),
            "mean_us": self.latency.mean(),
            "first_byte_us": self.first_bytes.percentiles(**FIRST_BYTE),
            "max_gap_ms": round(self.max_gap / _MILLISECOND, 3),
        }


def says_close(head: bytes) -> bool:
    """Return whether a response head announces the end of the connection."""
    return _CLOSE.search(head) is not None


def reason_of(error: OSError) -> str:
    """Return a short text that is equal for equal failures."""
    return error.strerror or type(error).__name__
