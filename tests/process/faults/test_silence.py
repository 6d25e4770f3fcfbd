"""Upstreams that fall silent, and those that cannot be reached: each phase has its deadline."""

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
}
_UNREACHABLE = {"UPSTREAM_CONNECT_TIMEOUT_MS": _SHORT}


class SilenceTests(FaultTestCase):
    """An upstream that takes the request and then says nothing, or nothing more."""

    def setUp(self) -> None:
        """Start with short deadlines."""
        self.start(**_DEADLINES)

    def falls_silent(self, *after: bytes) -> Script:
        """A script that does so after these bytes."""

        def script(connection: socket.socket) -> None:
            connection.sendall(b"".join(after))
            self.upstream.waits(connection)

        return script

    def test_next_candidate(self) -> None:
        """Silent before its first token, in whatever phase, it is given up for the next one."""
        for said in ((), (head(),), (head(), chunk(ROLE))):
            self.upstream.left.clear()
            self.does(self.falls_silent(*said))
            with self.subTest(said=len(said)):
                self.assert_falls_over()
                self.assertTrue(self.upstream.left.wait(20), "the connection was kept")
        self.assert_well()

    def test_no_other_candidate(self) -> None:
        """With nobody else to ask, the error says which phase took too long."""
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
        """Silent in the middle, the stream ends with an error event and no clean end."""
        self.does(self.falls_silent(head(), chunk(ROLE), chunk(TOKEN)))
        answer = self.ask(BOTH)
        self.assertFalse(answer.whole)
        self.assertTrue(answer.body.startswith(ROLE + TOKEN))
        self.assertIn(b"upstream_stream_interrupted", answer.body)
        self.assertTrue(self.upstream.left.wait(20), "the connection was kept")
        self.assert_well()

    def test_nothing_is_left_open(self) -> None:
        """Of many requests that were given up no descriptor stays."""
        self.does(says(whole(200, b"{}")))
        self.ask(ONE)
        before = self.settled()
        self.does(self.falls_silent(head()))
        for _ in range(8):
            self.ask(BOTH)
        self.assertEqual(self.settled(), before)

    def settled(self) -> int:
        """Descriptors once idle upstream connections have been let go."""
        counts: list[int] = []

        def same_for_a_while() -> bool:
            counts.append(self.descriptors())
            return len(counts) > 60 and len(set(counts[-60:])) == 1

        until(same_for_a_while)
        return counts[-1]


class UnreachableTests(FaultTestCase):
    """A backend that cannot be connected to."""

    def assert_unreachable(self, place: str) -> None:
        """Every candidate fails in time, and the error tells nothing of the place."""
        answer = self.ask(BOTH)
        self.assertEqual(answer.error, (502, "server_error", "upstream_connect_error"))
        self.assertNotIn(place.encode(), answer.body)
        alive = self.exchange(request(b"/healthz", method=b"GET"))
        self.assertEqual(alive.status, 200)
        self.assertNotIn("Traceback", self.router.log)

    def test_refused(self) -> None:
        """Nobody listens there."""
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            port = nobody.getsockname()[1]
            self.start(f"http://127.0.0.1:{port}", **_UNREACHABLE)
            self.assert_unreachable(str(port))

    def test_black_hole(self) -> None:
        """The place takes no more connections and does not say so: its queue is full."""
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
        """The name cannot be resolved (RFC 6761, section 6.4)."""
        self.start("http://router-test.invalid:81", **_UNREACHABLE)
        self.assert_unreachable("router-test")

    def test_no_tls(self) -> None:
        """Behind the TLS port somebody speaks plainly."""
        self.assert_no_tls(says(b"HTTP/1.1 400 Bad Request\r\n\r\n"))

    def test_hung_up(self) -> None:
        """Behind the TLS port somebody hangs up."""
        self.assert_no_tls(_hang_up)

    def test_no_handshake(self) -> None:
        """Behind the TLS port somebody listens and says nothing."""
        self.assert_no_tls(_wait)

    def assert_no_tls(self, script: Script) -> None:
        """A backend that does this instead of a handshake cannot be reached."""
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(close_listener, server)
        _serve(server, script)
        port = server.getsockname()[1]
        self.start(f"https://127.0.0.1:{port}", **_UNREACHABLE)
        self.assert_unreachable(str(port))


def _hang_up(connection: socket.socket) -> None:
    """Say goodbye first."""


def _wait(connection: socket.socket) -> None:
    """Keep it open until the other side goes."""
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
