"""Upstreams that stop sending, and unreachable ones: each phase has a deadline."""

from __future__ import annotations

import contextlib
import socket
from threading import Thread

from tests.process.faults.cases import FaultTestCase
from tests.process.faults.upstreams import BOTH, ONE, Script, close_listener, says
from tests.process.processes import until
from tests.unit.relay.upstreams import ROLE, TOKEN, chunk, head, whole
from tests.unit.web.browsers import request

_SHORT = "300"
_DEADLINES = {
    "UPSTREAM_HEADER_TIMEOUT_MS": _SHORT,
    "UPSTREAM_UNARY_TIMEOUT_MS": _SHORT,
    "UPSTREAM_FIRST_BODY_BYTE_TIMEOUT_MS": _SHORT,
    "UPSTREAM_IDLE_TIMEOUT_MS": _SHORT,
    "UPSTREAM_POOL_IDLE_MS": "200",
    # It ends the wait for a first token behind a role, and is later than the others.
    "FAILOVER_AFTER_MS": "1000",
}
_UNREACHABLE = {"UPSTREAM_CONNECT_TIMEOUT_MS": _SHORT}


class SilenceTests(FaultTestCase):
    """An upstream that stops sending at some point after the request."""

    shares = True

    def setUp(self) -> None:
        """Start with short deadlines."""
        self.start(**_DEADLINES)

    def falls_silent(self, *after: bytes) -> Script:
        """Return a script that stops after these bytes."""

        def script(connection: socket.socket) -> None:
            connection.sendall(b"".join(after))
            self.upstream.waits(connection)

        return script

    def test_next_candidate(self) -> None:
        """An upstream that stops before its first token is replaced by the next, in every phase."""
        for said in ((), (head(),), (head(), chunk(ROLE))):
            self.upstream.left.clear()
            self.does(self.falls_silent(*said))
            with self.subTest(said=len(said)):
                self.assert_falls_over()
                self.assertTrue(self.upstream.left.wait(20), "the connection was kept")
        self.assert_well()

    def test_plain_request(self) -> None:
        """A silent model of a plain request is replaced by the next long before its full time."""
        self.start(PLAIN_FAILOVER_AFTER_MS=_SHORT)
        for said in ((), (whole(200, b"{}")[:-1],)):
            self.upstream.left.clear()
            self.does(self.falls_silent(*said))
            with self.subTest(said=len(said)):
                self.assert_falls_over(stream=False)
                self.assertTrue(self.upstream.left.wait(20), "the connection was kept")
        self.assert_well()

    def test_no_other_candidate(self) -> None:
        """Without another candidate, the error names the phase that took too long."""
        for stream, said, code in (
            (True, (), "upstream_header_timeout"),
            (False, (), "upstream_header_timeout"),
            (True, (head(),), "upstream_first_body_byte_timeout"),
        ):
            self.upstream.left.clear()
            self.does(self.falls_silent(*said))
            with self.subTest(stream=stream, code=code):
                self.assertEqual(self.ask(ONE, stream=stream).error, (504, "server_error", code))
                self.assertTrue(self.upstream.left.wait(20), "the connection was kept")
        self.assert_well()

    def test_in_the_stream(self) -> None:
        """A stream that stops after its first token ends with an error event, and uncleanly."""
        self.does(self.falls_silent(head(), chunk(ROLE), chunk(TOKEN)))
        answer = self.ask(BOTH)
        self.assertFalse(answer.whole)
        self.assertTrue(answer.body.startswith(ROLE + TOKEN))
        self.assertIn(b"upstream_stream_interrupted", answer.body)
        self.assertTrue(self.upstream.left.wait(20), "the connection was kept")
        self.assert_well()

    def test_nothing_is_left_open(self) -> None:
        """Aborted attempts leave no descriptor open."""
        self.does(says(whole(200, b"{}")))
        self.ask(ONE)
        before = self.settled()
        self.does(self.falls_silent(head()))
        for _ in range(8):
            self.ask(BOTH)
        self.assertEqual(self.settled(), before)

    def settled(self) -> int:
        """Return the open descriptors after idle upstream connections have closed."""
        counts: list[int] = []

        def same_for_a_while() -> bool:
            counts.append(self.descriptors())
            return len(counts) > 60 and len(set(counts[-60:])) == 1

        until(same_for_a_while)
        return counts[-1]


class UnreachableTests(FaultTestCase):
    """A backend to which no connection can be made."""

    def assert_unreachable(self, place: str) -> None:
        """Check that each candidate fails in time, and that the error hides the address."""
        answer = self.ask(BOTH)
        self.assertEqual(answer.error, (502, "server_error", "upstream_connect_error"))
        self.assertNotIn(place.encode(), answer.body)
        alive = self.exchange(request(b"/healthz", method=b"GET"))
        self.assertEqual(alive.status, 200)
        self.assertNotIn("Traceback", self.router.log)

    def test_refused(self) -> None:
        """The port is closed."""
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            port = nobody.getsockname()[1]
            self.start(f"http://127.0.0.1:{port}", **_UNREACHABLE)
            self.assert_unreachable(str(port))

    def test_black_hole(self) -> None:
        """The listener's queue is full, so that connection attempts time out."""
        with contextlib.ExitStack() as stack:
            full = stack.enter_context(socket.socket())
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            address = full.getsockname()
            for _ in range(8):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(address)
            self.start(f"http://127.0.0.1:{address[1]}", **_UNREACHABLE)
            self.assert_unreachable(str(address[1]))

    def test_no_such_name(self) -> None:
        """The name does not resolve (RFC 6761 §6.4)."""
        self.start("http://router-test.invalid:81", **_UNREACHABLE)
        self.assert_unreachable("router-test")

    def test_no_tls(self) -> None:
        """The TLS port sends plain text."""
        self.assert_no_tls(says(b"HTTP/1.1 400 Bad Request\r\n\r\n"))

    def test_hung_up(self) -> None:
        """The TLS port closes the connection."""
        self.assert_no_tls(_hang_up)

    def test_no_handshake(self) -> None:
        """The TLS port accepts and sends nothing."""
        self.assert_no_tls(_wait)

    def assert_no_tls(self, script: Script) -> None:
        """Check that a backend without a TLS handshake counts as unreachable."""
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(close_listener, server)
        _serve(server, script)
        port = server.getsockname()[1]
        self.start(f"https://127.0.0.1:{port}", **_UNREACHABLE)
        self.assert_unreachable(str(port))


def _hang_up(connection: socket.socket) -> None:
    """Close with a FIN."""


def _wait(connection: socket.socket) -> None:
    """Keep the connection open until the router closes it."""
    while connection.recv(65536):
        pass


def _serve(server: socket.socket, script: Script) -> None:
    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            Thread(target=run, args=(connection,), daemon=True).start()

    def run(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            script(connection)

    Thread(target=accept, daemon=True).start()
