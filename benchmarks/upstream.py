"""The upstream of every measurement: `python -m benchmarks.upstream --port P`.

It is a bare epoll loop, because it shares a core with the load, and both together must be far
cheaper per event than the cheapest proxy. `benchmarks.wire` defines its responses.
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
from collections.abc import Sequence
from time import monotonic_ns, process_time

from benchmarks.feeds import feeds
from benchmarks.incoming import Incoming
from benchmarks.pacing import Stream, Wheel
from benchmarks.poller import (
    READ,
    RECEIVE_BYTES,
    WOULD_BLOCK,
    WRITE,
    Channel,
    Poller,
    prepare_process,
)
from benchmarks.sealed import INVOKE, SealedEvents, SealedUpstream, sealed_reply
from benchmarks.wire import STREAM_HEAD, Templates, Wanted, json_head, templates, wanted

_BACKLOG = 4096
_STATS_PATH = "/stats"
_FOREVER_NS = 3_600_000_000_000


class _Caller(Channel):
    """A connection from the proxy; `stream` is set while one is being sent."""

    __slots__ = ("incoming", "stream")

    def __init__(self) -> None:
        super().__init__()
        self.incoming = Incoming()
        self.stream: Stream | None = None


class Upstream:
    """The server and its counters."""

    def __init__(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        self._listener = listener
        self._tls = tls
        self._poller = Poller()
        self._callers: dict[int, _Caller] = {}
        self._wheel = Wheel(self._await_room, self._drop, self._finish)
        self._templates: dict[bytes, Templates] = {}
        self._sealed: SealedUpstream | None = None
        self._pages = {
            path: json_head("200 OK", len(body)) + body for path, body in feeds().items()
        }
        self._requests = 0
        self._first_events = 0
        self._blocked = 0
        self._last_close = 0
        self._poller.register(listener.fileno(), READ)

    def serve(self) -> None:
        """Serve until the process ends."""
        wheel = self._wheel
        while True:
            self.turn(wheel.time_left() if wheel.running else _FOREVER_NS)

    def turn(self, ns: int) -> None:
        """Serve what is ready or becomes so within `ns`, and send the events that are due."""
        for fd, mask in self._poller.wait(ns):
            caller = self._callers.get(fd)
            if caller is None:
                self._accept()
            elif caller.shaking:
                self._shake(caller)
            else:
                if mask & WRITE:
                    self._flush(caller)
                if mask & ~WRITE:
                    self._read(caller)
        if self._wheel.running:
            self._wheel.turn()

    def streaming(self) -> list[Channel]:
        """Return the connections on which a stream is open."""
        return [each for each in self._callers.values() if each.stream is not None]

    def _accept(self) -> None:
        for _ in range(256):
            try:
                sock, _address = self._listener.accept()
            except OSError:  # no more, or no descriptor left for it
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            caller = _Caller()
            caller.open(sock)
            self._callers[caller.fd] = caller
            self._poller.register(caller.fd, READ)

    def _shake(self, caller: _Caller) -> None:
        try:
            self._poller.modify(caller.fd, caller.shake())
        except OSError:
            self._drop(caller)

    def _read(self, caller: _Caller) -> None:
        try:
            data = caller.recv(RECEIVE_BYTES)
        except WOULD_BLOCK:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(caller)
        elif caller.incoming.feed(data):
            self._answer(caller)

    def _answer(self, caller: _Caller) -> None:
        incoming = caller.incoming
        self._requests += 1
        if not incoming.head.startswith(b"POST "):
            self._send(caller, self._page(incoming.head))
            return
        if incoming.head.startswith(INVOKE):
            self._answer_sealed(caller)
            return
        asked = wanted(incoming.body)
        answer = self._answer_of(asked)
        if asked.seed is None:
            stamp = b"%020d" % monotonic_ns()
            self._send(caller, answer.unary_before + stamp + answer.unary_after)
        else:
            self._begin(caller, answer, asked)

    def _answer_sealed(self, caller: _Caller) -> None:
        incoming = caller.incoming
        opened = self._private().opened(incoming.head, incoming.body)
        answer = self._answer_of(opened.wanted)
        if opened.wanted.seed is None:
            self._send(caller, sealed_reply(answer, b"%020d" % monotonic_ns(), opened.key))
        else:
            self._begin(caller, answer, opened.wanted, SealedEvents(answer, opened.key))

    def _private(self) -> SealedUpstream:
        """Return the part for private mode, whose keys take a moment to read."""
        if self._sealed is None:
            self._sealed = SealedUpstream()
        return self._sealed

    def _answer_of(self, asked: Wanted) -> Templates:
        answer = self._templates.get(asked.model)
        if answer is None:
            answer = self._templates[asked.model] = templates(asked.model.decode())
        return answer

    def _begin(
        self,
        caller: _Caller,
        answer: Templates,
        asked: Wanted,
        sealed: SealedEvents | None = None,
    ) -> None:
        rate, events = asked.seed or 0, max(1, asked.events)
        stream = caller.stream = Stream(caller, answer, rate, events, sealed)
        self._first_events += 1
        first = b"" if sealed is None else sealed.first
        if self._send(caller, STREAM_HEAD + first + stream.event()) and stream.interval:
            self._wheel.add(stream)

    def _finish(self, stream: Stream) -> None:
        caller = stream.channel
        assert isinstance(caller, _Caller)
        self._wheel.remove(stream)
        caller.stream = None
        self._send(caller, stream.ending)

    def _send(self, caller: _Caller, data: bytes) -> bool:
        """Send a part of a response, and return whether the connection is still open."""
        try:
            all_gone = caller.push(data)
        except OSError:
            self._drop(caller)
            return False
        if not all_gone:
            self._await_room(caller)
        elif caller.incoming.closing and caller.stream is None:
            self._drop(caller)
        return True

    def _await_room(self, channel: Channel) -> None:
        self._blocked += 1
        self._poller.modify(channel.fd, READ | WRITE)

    def _flush(self, caller: _Caller) -> None:
        try:
            if not caller.flush():
                return
        except OSError:
            self._drop(caller)
            return
        if caller.incoming.closing and caller.stream is None:
            self._drop(caller)
        else:
            self._poller.modify(caller.fd, READ)

    def _drop(self, channel: Channel) -> None:
        caller = self._callers.pop(channel.fd, None)
        if caller is None:
            return
        if caller.stream is not None or caller.out:
            self._last_close = monotonic_ns()
        if caller.stream is not None and caller.stream.seat is not None:
            self._wheel.remove(caller.stream)
        caller.sock.close()

    def _page(self, head: bytes) -> bytes:
        """Return a feed or the counters; `lag_p99_us` covers the events since the last request."""
        target = head.split(b" ", 2)[1].decode()
        path = target.partition("?")[0]
        if path != _STATS_PATH:
            page = self._pages.get(path) or self._private().page(target)
            return page or json_head("404 Not Found", 0)
        lags = sorted(self._wheel.lags)
        del self._wheel.lags[:]
        body = json.dumps(
            {
                "open": len(self._callers),
                "requests": self._requests,
                "events": self._first_events + self._wheel.events,
                "cpu": process_time(),
                "lag_p99_us": lags[len(lags) * 99 // 100] / 1000 if lags else None,
                "last_close": self._last_close,
                "blocked": self._blocked,
            }
        ).encode()
        return json_head("200 OK", len(body)) + body


def _context(cert: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(cert, key)
    return context


def main(arguments: Sequence[str] | None = None) -> None:
    """Listen, print `ready`, and serve until the process ends."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upstream", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    options = parser.parse_args(arguments)
    tls = _context(options.cert, options.key) if options.cert else None
    listener = socket.create_server(("127.0.0.1", options.port), backlog=_BACKLOG)
    listener.setblocking(False)
    upstream = Upstream(listener, tls)
    prepare_process()
    print("ready", flush=True)
    upstream.serve()


if __name__ == "__main__":
    main()
