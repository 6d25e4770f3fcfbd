"""Upstream that serves the measured router in lock step with the measuring client.

It answers what `benchmarks.wire` describes, but it sends each event of a stream only when the
client asks for it, so that the router never finds two events in one read.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Final, Self

from benchmarks.certificates import Certificates
from benchmarks.feeds import feeds
from benchmarks.incoming import Incoming
from benchmarks.processes import HOST
from benchmarks.sealed import Opened, SealedEvents, SealedUpstream, sealed_reply
from benchmarks.wire import (
    STAMP_DIGITS,
    STREAM_HEAD,
    Templates,
    Wanted,
    json_head,
    templates,
    wanted,
)
from stub_backend.e2e import INSTANCES

_RECEIVE_BYTES: Final = 65536
_STAMP: Final = b"0" * STAMP_DIGITS


class Backend:
    """The upstream server, with one thread per connection."""

    def __init__(self, certificates: Certificates | None = None, *, sealed: bool = False) -> None:
        self._tls = None if certificates is None else _context(certificates)
        self._pages = {
            path: json_head("200 OK", len(body)) + body for path, body in feeds().items()
        }
        self._sealed = SealedUpstream(INSTANCES) if sealed else None
        self._turns: SimpleQueue[bool] = SimpleQueue()
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        # Closing alone would not wake the thread that accepts.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def send_event(self) -> None:
        """Send the next event of the stream that is open."""
        self._turns.put(True)

    def end_stream(self) -> None:
        """Send the end of the stream that is open."""
        self._turns.put(False)

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                connection, _address = self._listener.accept()
                Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        incoming = Incoming()
        with suppress(OSError), self._secured(connection) as sock:  # until the router is stopped
            while data := sock.recv(_RECEIVE_BYTES):
                if incoming.feed(data):
                    for part in self._answer(incoming):
                        sock.sendall(part)

    def _secured(self, connection: socket.socket) -> socket.socket:
        """Return the connection, after a handshake where there is TLS."""
        if self._tls is None:
            return connection
        return self._tls.wrap_socket(connection, server_side=True)

    def _answer(self, incoming: Incoming) -> Iterator[bytes]:
        """Yield the parts of a response, each when it is to be sent."""
        method, path, _rest = incoming.head.split(b" ", 2)
        if method != b"POST":
            yield self._page(path.decode())
            return
        if self._sealed is not None and path == b"/e2e/invoke":
            yield from self._sealed_answer(self._sealed.opened(incoming.head, incoming.body))
            return
        request = wanted(incoming.body)
        answer = templates(request.model.decode())
        if request.seed is None:
            yield answer.unary_before + _STAMP + answer.unary_after
        else:
            yield from self._stream(answer, request)

    def _page(self, target: str) -> bytes:
        page = self._pages.get(target.partition("?")[0])
        if page is None and self._sealed is not None:
            page = self._sealed.page(target)
        return page or json_head("404 Not Found", 0)

    def _sealed_answer(self, opened: Opened) -> Iterator[bytes]:
        answer = templates(opened.wanted.model.decode())
        if opened.wanted.seed is None:
            yield sealed_reply(answer, _STAMP, opened.key)
            return
        events = SealedEvents(answer, opened.key)
        yield STREAM_HEAD + events.first + events.event(_STAMP)
        while self._turns.get():
            yield events.event(_STAMP)
        yield events.ending()

    def _stream(self, answer: Templates, request: Wanted) -> Iterator[bytes]:
        event = answer.event_before + _STAMP + answer.event_after
        yield STREAM_HEAD + event
        while self._turns.get():
            yield event
        yield answer.ending


def _context(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificates.chain, certificates.key)
    return context
