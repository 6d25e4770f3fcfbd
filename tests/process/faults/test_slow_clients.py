"""Clients that are slow in every way: each is disconnected in time, and delays no other."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from contextlib import ExitStack
from threading import Event
from typing import NamedTuple

from tests.process.faults.cases import FaultTestCase
from tests.process.faults.crowds import narrow
from tests.process.faults.upstreams import ONE, TWO
from tests.process.faults.vitals import released, resident, settled
from tests.process.processes import PATIENCE, received, until
from tests.unit.relay.upstreams import TOKEN, chunk, head
from tests.unit.web.browsers import CHAT, ask, request
from tests.unit.web.responses import responses

_MIB = 1 << 20


class _Slow(NamedTuple):
    """What a slow client sends, in which portions, its deadline, and the expected status."""

    sends: bytes
    at_once: int
    due: float
    status: int | None


_HEAD = b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 5000
_BODY = request(CHAT, body=ask(ONE) + b" " * 5000)
_KINDS = (
    _Slow(b"", 0, 1.0, None),
    _Slow(_HEAD, 1, 1.0, 408),
    _Slow(_BODY, len(_BODY) - 5000, 1.5, 408),
)


class DrippingTests(FaultTestCase):
    """Single bytes at intervals do not extend a connection beyond its deadline."""

    def test_many_at_once(self) -> None:
        """Slow heads, slow bodies and silence end in time, while other clients are served."""
        self.start(
            CLIENT_HEADER_TIMEOUT_MS="1000",
            CLIENT_BODY_TIMEOUT_MS="1500",
            UPSTREAM_POOL_IDLE_MS="0",
        )
        at_rest = settled(self.router.process.pid)
        with ExitStack() as stack:
            began = time.monotonic()
            slow: dict[socket.socket, _Slow] = {}
            for kind in _KINDS * 20:
                client = stack.enter_context(self.client())
                client.send(kind.sends[: kind.at_once])
                slow[client] = kind
            drips = 0
            while slow:
                self.assertLess(time.monotonic() - began, PATIENCE, "some clients stay connected")
                self.assert_served_by_second(self.ask(f"{TWO},{TWO}"))
                for client in select.select(list(slow), [], [], 0.02)[0]:
                    self._is_disconnected(client, slow.pop(client), began)
                for client, kind in slow.items():
                    with contextlib.suppress(ConnectionError):
                        client.send(kind.sends[kind.at_once + drips :][:1])
                drips += 1
        self.assert_well()
        self.assertTrue(released(self.router.process.pid, at_rest))

    def _is_disconnected(self, client: socket.socket, kind: _Slow, began: float) -> None:
        """Return whether the router has sent a response or closed."""
        self.assertGreater(time.monotonic() - began, kind.due - 0.1)
        got = responses(client.recv(65536))
        self.assertEqual([each.status for each in got], [kind.status] if kind.status else [])


class NotReadingTests(FaultTestCase):
    """Clients that request a large response and do not read it."""

    clients = 10

    def setUp(self) -> None:
        """Make the first model send more than all buffers on the path hold."""
        self.start(UPSTREAM_IDLE_TIMEOUT_MS="1500", UPSTREAM_POOL_IDLE_MS="0")
        self.sent = 0
        self.broken = Event()
        self.does(self._floods)

    def _floods(self, connection: socket.socket) -> None:
        connection.sendall(head())
        piece = chunk(TOKEN * 500)
        for _ in range(400 * _MIB // len(piece)):
            try:
                connection.sendall(piece)
            except OSError:
                self.broken.set()
                raise
            self.sent += len(piece)

    def test_upstream_waits(self) -> None:
        """The upstream is paused, memory stays constant, and the deadline ends both connections."""
        pid = self.router.process.pid
        at_rest, memory = settled(pid), resident(pid)
        with ExitStack() as stack:
            stalled = [stack.enter_context(self._stalls()) for _ in range(self.clients)]
            until(lambda: len(self.upstream.asked) == self.clients)
            sent = -1
            while sent != self.sent:  # It sends until everything on the path is full.
                sent = self.sent
                self.assert_served_by_second(self.ask(f"{TWO},{TWO}"))
                time.sleep(0.1)
            self.assertLess(self.sent, self.clients * 20 * _MIB)
            self.assertLess(resident(pid) - memory, self.clients * _MIB)
            self.assertTrue(self.broken.wait(PATIENCE), "the upstream still has its connection")
            until(lambda: self.router.log.count("client_stalled") == self.clients)
            for client in stalled:
                self.assertFalse(_rest(client).endswith(b"\r\n0\r\n\r\n"))
        self.assert_well()
        self.assertTrue(released(pid, at_rest))

    def _stalls(self) -> socket.socket:
        client = narrow(self.port)
        client.sendall(request(CHAT, body=ask(ONE)))
        return client


class HalfCloseTests(FaultTestCase):
    """A client that closes its sending half counts as disconnected, even before the response."""

    def test_before_the_answer(self) -> None:
        """The upstream attempt, whose response has no reader, is aborted at once."""
        self.start()
        self.does(self.upstream.waits)
        for stream in (True, False):
            self.upstream.left.clear()
            self.upstream.asked.clear()
            with self.client() as client:
                client.sendall(request(CHAT, body=ask(ONE, stream=stream)))
                until(lambda: self.upstream.asked)
                client.shutdown(socket.SHUT_WR)
                self.assertEqual(received(client), b"")
            self.assertTrue(self.upstream.left.wait(PATIENCE), "the connection was kept")
        self.assert_well()


def _rest(client: socket.socket) -> bytes:
    """Read the rest of a connection, however it ends."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while data := client.recv(65536):
            got = got[-64:] + data
    return got
