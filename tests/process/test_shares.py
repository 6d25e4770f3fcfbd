"""Tests over real sockets of what one client address leaves to the others."""

from __future__ import annotations

import contextlib
import socket

from twisted.trial.unittest import SynchronousTestCase

from tests.process.processes import PATIENCE, Platform, Router, received, until
from tests.unit.relay.upstreams import DONE, TOKEN, chunk
from tests.unit.web.browsers import CHAT, ask, request
from tests.unit.web.responses import Response, responses

_MOST = 1_000_000


class ShareTests(SynchronousTestCase):
    """A client at 127.0.0.1 takes what it can; another one is at 127.0.0.2."""

    def setUp(self) -> None:
        """Start platform and router."""
        self.platform = Platform(chunk(TOKEN + DONE) + chunk(b""))
        self.platform.go_on.set()
        self.addCleanup(self.platform.close)
        self.router = Router(
            self.mktemp(),
            self.platform.port,
            MAX_CONCURRENT_REQUESTS="10",
            MAX_REQUEST_BYTES=str(_MOST // 2),
            MAX_BUFFERED_BYTES=str(_MOST),
            CLIENT_MAX_SHARE="0.5",
        )
        self.addCleanup(self.router.close)
        self.port = self.router.port()
        self.clients = contextlib.ExitStack()
        self.addCleanup(self.clients.close)

    def sends(self, data: bytes, host: str = "127.0.0.1") -> socket.socket:
        """Send this on a new connection from an address."""
        client = socket.create_connection(
            ("127.0.0.1", self.port), timeout=PATIENCE, source_address=(host, 0)
        )
        self.clients.enter_context(client)
        client.sendall(data)
        return client

    def answer(self, client: socket.socket) -> Response:
        """Return the only response on a connection that then ends."""
        (response,) = responses(received(client))
        return response

    def metrics(self) -> str:
        """Return the metrics page."""
        fields = b"Connection: close"
        got = self.answer(self.sends(request(b"/metrics", fields, method=b"GET"), "127.0.0.2"))
        return got.body.decode()

    def assert_others_are_served(self) -> None:
        """A client at another address gets its answer."""
        sent = request(CHAT, b"Connection: close", body=ask("acme/one", stream=False))
        other = self.sends(sent, "127.0.0.2")
        self.assertEqual(self.answer(other).status, 200)

    def test_requests(self) -> None:
        """Half of the places are the most that unfinished requests of one address take."""
        for _ in range(5):
            self.sends(request(CHAT, b"Content-Length: 9") + b"{")
        refused = self.sends(request(CHAT, b"Content-Length: 9"))
        self.assertEqual(self.answer(refused).error[::2], (429, "too_many_connections"))
        self.assert_others_are_served()

    def test_bytes(self) -> None:
        """A body that exceeds the share while it arrives is refused, which the client can read."""
        size = _MOST // 2 - 1
        self.sends(request(CHAT, b"Content-Length: %d" % size) + b" " * (size - 1))
        until(lambda: f"chutes_autopilot_buffered_bytes {size - 1}.0\n" in self.metrics())
        refused = self.sends(request(CHAT, b"Transfer-Encoding: chunked"))
        with contextlib.suppress(OSError):
            for _ in range(20):
                refused.sendall(chunk(b" " * 20_000))
        self.assertEqual(self.answer(refused).error[::2], (429, "too_many_connections"))
        self.assert_others_are_served()
        self.assertNotIn("Traceback", self.router.log)
