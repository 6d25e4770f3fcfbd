"""The load of plain requests: closed loop or fixed rate, on kept or new connections."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from time import monotonic_ns

from benchmarks.driver import SECOND, Client, Driver, reason_of, says_close
from benchmarks.job import UNARY_NEW, Job
from benchmarks.poller import RECEIVE_BYTES, WOULD_BLOCK
from benchmarks.wire import LAST_CHUNK, chat_request

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_LEAST_WAIT_NS = 1_000_000
_UNTIL_CHUNK = -1
_UNTIL_HEAD = -2
_NOTHING_ASKED = -3


class _Asking(Client):
    """A client; `left` is the response's bytes still to come, `since` the time it was due."""

    __slots__ = ("left", "since", "status")

    def __init__(self) -> None:
        super().__init__()
        self.left = _NOTHING_ASKED
        self.since = 0
        self.status = b""


class RequestLoad(Driver[_Asking]):
    """Kinds `unary`, `unary-new` and `upload`."""

    def __init__(self, job: Job, say: Callable[[str], None]) -> None:
        super().__init__(job, say, _Asking)
        self._anew = job.kind == UNARY_NEW
        headers = {**job.headers, "Connection": "close"} if self._anew else job.headers
        self._request = chat_request(
            host=f"{job.host}:{job.port}",
            path=job.path,
            model=job.model,
            headers=headers,
            body_bytes=job.body_bytes,
        )
        rate = job.requests_per_second
        self._interval = SECOND / rate if rate else 0.0
        self._idle: deque[_Asking] = deque()
        self._next = 0.0
        self._window_began = 0

    def window_begins(self, now: int) -> None:
        """Count the first bytes of requests sent from now on."""
        self._window_began = now

    def all_up(self) -> None:
        """Start to pace the requests."""
        if self._interval:
            self._next = float(monotonic_ns())
            self._pace()

    def _pace(self) -> None:
        """Send the requests that are due on idle connections."""
        while self._idle and self._next <= monotonic_ns():
            self._take(self._idle.popleft(), late=False)
        self.at(max(int(self._next), monotonic_ns() + _LEAST_WAIT_NS), self._pace)

    def _take(self, client: _Asking, *, late: bool) -> None:
        """Send the next request; the latency of a `late` one counts from when it was due."""
        due, self._next = self._next, self._next + self._interval
        client.since = int(due) if late else monotonic_ns()
        if self._anew:
            self.open(client)
        else:
            self._ask(client)

    def connected(self, client: _Asking) -> None:
        """Send a request at once, unless requests are paced and this is not the client's first."""
        if client.up and self._interval and not self._anew:
            self._idle.append(client)
        else:
            client.since = client.since or monotonic_ns()
            self._ask(client)

    def _ask(self, client: _Asking) -> None:
        client.left = _UNTIL_HEAD
        client.sent = monotonic_ns()
        client.first_byte = False
        self.send(client, self._request)

    def failed(self, client: _Asking, reason: str) -> None:
        """Remove the client from the idle ones."""
        client.left = _NOTHING_ASKED
        client.since = 0
        if client in self._idle:
            self._idle.remove(client)
        super().failed(client, reason)

    def read(self, client: _Asking) -> None:
        """Read a response or a part of it."""
        try:
            data = client.recv(RECEIVE_BYTES)
        except WOULD_BLOCK:
            return
        except OSError as error:
            self.failed(client, reason_of(error))
            return
        now = monotonic_ns()
        self.bytes += len(data)
        if not data:
            self._cut(client)
            return
        if not client.first_byte:
            client.first_byte = True
            if client.sent >= self._window_began:
                self.first_bytes.add(now - client.sent)
        if self._is_complete(client, data):
            self._answered(client, now)

    def _is_complete(self, client: _Asking, data: bytes) -> bool:
        if client.left == _UNTIL_HEAD:
            data = client.tail + data
            end = data.find(b"\r\n\r\n") + 4
            if end == 3:
                client.tail = data
                return False
            client.tail = b""
            client.status = data[9:12]
            client.closing = self._anew or says_close(data[:end])
            length = _LENGTH.search(data, 0, end)
            client.left = int(length[1]) if length else _UNTIL_CHUNK
            data = data[end:]
        if client.left == _UNTIL_CHUNK:
            client.tail = (client.tail + data)[-len(LAST_CHUNK) :]
            return client.tail == LAST_CHUNK
        client.left -= len(data)
        return client.left <= 0

    def _answered(self, client: _Asking, now: int) -> None:
        client.left = _NOTHING_ASKED
        client.tail = b""
        since, client.since = client.since, 0
        if client.status != b"200":
            self.failed(client, f"status {client.status.decode()}")
            return
        self.requests += 1
        self.latency.add(now - since)
        if not client.up:
            self.came_up(client)
        if not client.closing:
            self.rest(client, self._again)

    def _again(self, client: _Asking) -> None:
        """Continue after a response."""
        if not self._interval:
            client.since = monotonic_ns()
            if self._anew:
                self.open(client)
            else:
                self._ask(client)
        elif self._next <= monotonic_ns():
            self._take(client, late=True)
        else:
            self._idle.append(client)

    def _cut(self, client: _Asking) -> None:
        """Handle a connection closed by the peer, expectedly or not."""
        if client.left != _NOTHING_ASKED:
            self.failed(client, "closed before the answer was complete")
        elif client.closing:
            self.shut(client)
            self.rest(client, self._again if self._anew else self.open)
        else:
            self.failed(client, "closed while idle")
