"""``twistd autopilot`` as a process: signals, the drain and exit statuses."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.process.processes import PATIENCE, Platform, Router, received, until
from tests.unit.relay.upstreams import DONE, STOP, TOKEN, chunk
from tests.unit.web.browsers import ask, request
from tests.unit.web.responses import responses


class TwistdTests(SynchronousTestCase):
    """One router, one stream."""

    def setUp(self) -> None:
        """Start a platform."""
        self.platform = Platform(chunk(STOP + DONE) + chunk(b""))
        self.addCleanup(self.platform.close)

    def router(self, **variables: str) -> Router:
        """Start a router."""
        router = Router(self.mktemp(), self.platform.port, **variables)
        self.addCleanup(router.close)
        return router

    def client(self, port: int) -> socket.socket:
        """Connect."""
        client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.addCleanup(client.close)
        return client

    def get(self, port: int, path: bytes) -> Any:
        """One page."""
        client = self.client(port)
        client.sendall(request(path, b"Connection: close", method=b"GET"))
        (response,) = responses(received(client))
        return response

    def stream(self, router: Router) -> tuple[socket.socket, bytes]:
        """A client in the middle of a stream, and what it got."""
        port = router.port()
        until(lambda: self.get(port, b"/readyz").status == 200)
        client = self.client(port)
        client.sendall(request(body=ask()))
        return client, received(client, TOKEN)

    def test_terminated(self) -> None:
        """On SIGTERM a stream in flight finishes, also if the signal comes twice; then it ends."""
        router = self.router()
        client, got = self.stream(router)
        port = router.port()
        idle = self.client(port)
        idle.sendall(request(b"/healthz", method=b"GET"))
        received(idle, b"ok\n")
        router.signals(signal.SIGTERM)
        self.assertEqual(idle.recv(1), b"")
        with self.assertRaises(ConnectionRefusedError):
            self.client(port)
        router.signals(signal.SIGTERM)
        router.signals(signal.SIGINT)
        self.platform.go_on.set()
        (response,) = responses(got + received(client))
        self.assertEqual(response.body, TOKEN + STOP + DONE)
        self.assertTrue(response.whole)
        self.assertEqual(router.ends(), -signal.SIGTERM)
        for bad in ("Traceback", "Unhandled", "ReactorNotRunning", "HTTP11Client"):
            self.assertNotIn(bad, router.log)

    def test_interrupted(self) -> None:
        """What does not finish in time ends with an error and a cut; SIGINT is no different."""
        router = self.router(DRAIN_TIMEOUT_MS="100", DRAIN_DELAY_MS="50")
        client, got = self.stream(router)
        router.signals(signal.SIGINT)
        (response,) = responses(got + received(client))
        self.assertIn(b"upstream_stream_interrupted", response.body)
        self.assertFalse(response.whole)
        self.assertEqual(router.ends(), -signal.SIGINT)
        self.assertNotIn("Traceback", router.log)

    def test_interrupted_twice(self) -> None:
        """A second SIGINT ends the drain that the first began; a stream ends as after its time."""
        router = self.router()
        client, got = self.stream(router)
        port = router.port()
        router.signals(signal.SIGINT)
        until(lambda: self._refuses(port))
        router.signals(signal.SIGINT)
        (response,) = responses(got + received(client))
        self.assertIn(b"upstream_stream_interrupted", response.body)
        self.assertFalse(response.whole)
        self.assertEqual(router.ends(), -signal.SIGINT)
        self.assertNotIn("Traceback", router.log)

    @staticmethod
    def _refuses(port: int) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) != 0

    def test_port_taken(self) -> None:
        """If its port is taken, one line says so and what to do, and the status is 1."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            address = f"127.0.0.1:{other.getsockname()[1]}"
            router = self.router(LISTEN_ADDR=address)
            self.assertEqual(router.ends(), 1)
        (line,) = (each for each in router.log.splitlines() if address in each)
        self.assertTrue(
            line.startswith(f"autopilot: {address} is in use by another program; "), line
        )
        self.assertNotIn("Traceback", router.log)

    def test_operators_port_taken(self) -> None:
        """If the usual port of the operators' pages is taken, the log names the one they are on."""
        usual = ("127.0.0.1", 8081)
        with contextlib.ExitStack() as taken:
            with contextlib.suppress(OSError):  # another process may have it already
                taken.enter_context(socket.create_server(usual))
            router = self.router(ADMIN_LISTEN_ADDR="")
            port = router.port()
            until(lambda: "(operators)" in router.log)
            found = re.search(r"127.0.0.1:8081 is taken, so that .* on 127.0.0.1:(\d+)", router.log)
            assert found is not None, router.log
            self.assertEqual(self.get(int(found[1]), b"/metrics").status, 200)
            self.assertEqual(self.get(port, b"/metrics").status, 404)
            self.assertIn(
                f" on http://127.0.0.1:{port} (API) and http://127.0.0.1:{found[1]} (operators)",
                router.log,
            )
