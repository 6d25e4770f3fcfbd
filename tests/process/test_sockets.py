"""Behaviour that only real sockets show: early refusals, half-closes, silence."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from tempfile import TemporaryDirectory
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.process.processes import PATIENCE, Platform, Router, received, until
from tests.unit.relay.upstreams import DONE, TOKEN, chunk
from tests.unit.web.browsers import CHAT, ask, request
from tests.unit.web.responses import Response, responses

_LIMIT = 1_000_000


class SocketTests(SynchronousTestCase):
    """A router for all tests, with short deadlines."""

    platform: Platform
    router: Router
    port: int
    _open: ClassVar[ExitStack]

    @classmethod
    def setUpClass(cls) -> None:
        """Start platform and router."""
        with ExitStack() as opened:
            folder = opened.enter_context(TemporaryDirectory(prefix="sockets-"))
            cls.platform = Platform(chunk(DONE) + chunk(b""))
            opened.callback(cls.platform.close)
            cls.router = Router(
                f"{folder}/router",
                cls.platform.port,
                MAX_REQUEST_BYTES=str(_LIMIT),
                CLIENT_HEADER_TIMEOUT_MS="400",
                CLIENT_BODY_TIMEOUT_MS="400",
            )
            opened.callback(cls.router.close)
            cls.port = cls.router.port()
            cls._open = opened.pop_all()

    @classmethod
    def tearDownClass(cls) -> None:
        """Stop them."""
        cls._open.close()

    def setUp(self) -> None:
        """Let the platform wait in its streams, until this test lets it go on or ends."""
        self.platform.go_on.clear()
        self.addCleanup(self.platform.go_on.set)

    @contextlib.contextmanager
    def client(self) -> Iterator[socket.socket]:
        """Return a connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as client:
            yield client

    def answer(self, client: socket.socket) -> Response:
        """Return the only response on a connection that then ends."""
        (response,) = responses(received(client))
        return response

    def test_too_large(self) -> None:
        """A client that keeps sending can still read why its request was refused."""
        declared = request(CHAT, b"Content-Length: %d" % (50 * _LIMIT))
        chunked = request(CHAT, b"Transfer-Encoding: chunked")
        piece = b"x" * 65536
        for head, data in ((declared, piece), (chunked, chunk(piece))):
            with self.client() as client:
                client.sendall(head)
                for _ in range(300):
                    client.sendall(data)
                self.assertEqual(self.answer(client).error[::2], (413, "request_too_large"))
        self.assertNotIn("Traceback", self.router.log)

    def test_exactly_the_limit(self) -> None:
        """A body of exactly the limit is accepted."""
        with self.client() as client:
            client.sendall(request(CHAT, b"Connection: close", body=b"x" * _LIMIT))
            self.assertEqual(self.answer(client).error[::2], (400, "invalid_json"))

    def test_too_slow(self) -> None:
        """Silence, a slow head and a slow body each end in time."""
        for sent, status in (
            (b"", None),
            (b"GET / HTTP/1.1\r\n", 408),
            (request(CHAT, b"Content-Length: 9"), 408),
        ):
            with self.client() as client:
                began = time.monotonic()
                client.sendall(sent)
                got = responses(received(client))
                self.assertEqual([each.status for each in got], [status] if status else [])
                self.assertGreater(time.monotonic() - began, 0.3)

    def test_half_close(self) -> None:
        """A client that closes its sending half counts as disconnected."""
        until(lambda: self.ready())
        before = self.router.log.count("client_gone")
        with self.client() as client:
            client.sendall(request(body=ask()))
            self.assertIn(TOKEN, received(client, TOKEN))
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(client.recv(1), b"")
        until(lambda: self.router.log.count("client_gone") > before)

    def ready(self) -> bool:
        """Return whether the feeds have been fetched."""
        with self.client() as client:
            client.sendall(request(b"/readyz", b"Connection: close", method=b"GET"))
            return self.answer(client).status == 200

    def test_chunks_arrive_at_once(self) -> None:
        """Each chunk arrives before the platform sends the next; pipelined requests follow."""
        until(lambda: self.ready())
        with self.client() as client:
            last = request(b"/healthz", b"Connection: close", method=b"GET")
            client.sendall(request(body=ask()) + last)
            got = received(client, TOKEN)
            self.platform.go_on.set()
            stream, page = responses(got + received(client))
        self.assertEqual(stream.body, TOKEN + DONE)
        self.assertTrue(stream.whole)
        self.assertEqual(page.body, b"ok\n")

    def test_leaves_behind_a_pipeline(self) -> None:
        """A client that leaves is noticed, although what it pipelined has not been read."""
        until(lambda: self.ready())
        before = self.router.log.count("client_gone")
        with self.client() as client:
            client.sendall(request(body=ask()))
            self.assertIn(TOKEN, received(client, TOKEN))
            client.sendall(request(b"/healthz", method=b"GET") * 2000)
        until(lambda: self.router.log.count("client_gone") > before)

    def test_last_response_arrives(self) -> None:
        """A client that sends more behind its last request still receives the whole response."""
        until(lambda: self.ready())
        last = request(b"/metrics", b"Connection: close", method=b"GET")
        more = request(b"/healthz", method=b"GET") * 100
        for _ in range(5):
            with socket.socket() as client:
                client.settimeout(PATIENCE)
                # So small that most of the response waits in the router's kernel.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                client.connect(("127.0.0.1", self.port))
                client.sendall(last)
                began = client.recv(1)  # the router has written its response
                client.sendall(more)
                (response,) = responses(began + received(client))
            self.assertEqual((response.status, response.whole), (200, True))


class UnreadLogTests(SynchronousTestCase):
    """A router whose standard output is a pipe that its reader has stopped reading."""

    def test_every_request_is_answered(self) -> None:
        """Requests whose records would fill the pipe several times over are answered."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        platform = Platform(chunk(DONE) + chunk(b""))
        self.addCleanup(platform.close)
        self.patch(Router, "output", writing)
        with socket.create_server(("127.0.0.1", 0)) as held:
            port = held.getsockname()[1]
        address = f"127.0.0.1:{port}"
        router = Router(self.mktemp(), platform.port, LISTEN_ADDR=address, LOG_FORMAT="json")
        self.addCleanup(router.close)
        os.close(writing)
        until(lambda: self.connects(port))
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
            for _ in range(20):
                client.sendall(request(body=b"{}") * 99 + request(b"/healthz", method=b"GET"))
                self.assertIn(b"ok\n", received(client, b"ok\n"))

    def connects(self, port: int) -> bool:
        """Return whether a router listens on the port."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        return False
