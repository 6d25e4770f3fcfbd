"""The load of event streams, at a steady rate or silent."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns

from benchmarks.driver import Client, Driver, reason_of, says_close
from benchmarks.job import SILENT, Job
from benchmarks.poller import RECEIVE_BYTES, WOULD_BLOCK
from benchmarks.wire import DONE, STAMP, chat_request, is_whole, split_events

_find = STAMP.findall


class _Listening(Client):
    """A client; `plain` while it is past the head and holds no partial event."""

    __slots__ = ("done", "last", "plain", "started")

    def __init__(self) -> None:
        super().__init__()
        self.plain = False
        self.started = False
        self.done = False
        self.last = 0


class StreamLoad(Driver[_Listening]):
    """Kinds `stream` and `silent`."""

    def __init__(self, job: Job, say: Callable[[str], None]) -> None:
        super().__init__(job, say, _Listening)
        self._request = chat_request(
            host=f"{job.host}:{job.port}",
            path=job.path,
            model=job.model,
            headers=job.headers,
            body_bytes=job.body_bytes,
            seed=0 if job.kind == SILENT else job.rate,
            events=job.events_of_a_stream,
        )
        self._window_began = 0

    def window_begins(self, now: int) -> None:
        """Measure gaps from now on."""
        self._window_began = now
        for client in self.clients:
            client.last = now

    def window_ends(self, now: int) -> None:
        """Count the time since each stream's last event as a gap, too."""
        if self.job.kind != SILENT:
            self.max_gap = max([self.max_gap, *(now - client.last for client in self.clients)])

    def connected(self, client: _Listening) -> None:
        """Request a stream."""
        client.plain = client.started = client.done = client.first_byte = False
        client.tail = b""
        client.sent = client.last = monotonic_ns()
        self.requests += 1
        self.send(client, self._request)

    def read(self, client: _Listening) -> None:
        """Read events; this is the hot path, so it makes no calls that it can avoid."""
        try:
            data = client.recv(RECEIVE_BYTES)
        except WOULD_BLOCK:
            return
        except OSError as error:
            self.failed(client, reason_of(error))
            return
        now = monotonic_ns()
        self.bytes += len(data)
        gap = now - client.last
        if gap > self.max_gap:
            self.max_gap = gap
        client.last = now
        if not (client.plain and is_whole(data)):
            data = self._unusual_read(client, data, now)
        add = self.latency.add
        for stamp in _find(data):
            self.events += 1
            add(now - int(stamp))

    def _unusual_read(self, client: _Listening, data: bytes, now: int) -> bytes:
        """Handle a partial event or a stream's start or end, and return the complete events."""
        if not data:
            self._closed(client)
            return b""
        if not client.first_byte:
            client.first_byte = True
            if client.sent >= self._window_began:
                self.first_bytes.add(now - client.sent)
        data = client.tail + data
        if not client.started:
            data = self._after_head(client, data)
        events, client.tail = split_events(data)
        client.plain = client.started and not client.tail
        if events and not client.up:
            self.came_up(client)
        client.done = client.done or DONE in events
        if client.done and data.endswith(b"\r\n\r\n"):
            self._ended(client)
        return events

    def _after_head(self, client: _Listening, data: bytes) -> bytes:
        end = data.find(b"\r\n\r\n") + 4
        if end == 3:
            return data
        if data[9:12] != b"200":
            self.failed(client, f"status {data[9:12].decode()}")
            return b""
        client.started = True
        client.closing = says_close(data[:end])
        return data[end:]

    def _closed(self, client: _Listening) -> None:
        """Handle the end of an unframed stream, or a cut one."""
        if client.done:
            self.shut(client)
            self.rest(client, self.open)
        else:
            self.failed(client, "closed before the stream was over")

    def _ended(self, client: _Listening) -> None:
        client.tail = b""
        if not client.closing:
            self.rest(client, self.connected)
