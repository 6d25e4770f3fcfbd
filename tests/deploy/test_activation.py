"""Socket activation: no restart refuses, loses or interrupts a client's request."""

from __future__ import annotations

import os
import signal
import socket
from functools import partial
from threading import Event

from twisted.trial.unittest import SynchronousTestCase

from tests.deploy.load import Load
from tests.deploy.manager import Activated, listening
from tests.process.faults.cases import GOOD, PLAIN
from tests.process.faults.crowds import REST, WORDS
from tests.process.faults.upstreams import ONE, TWO, Upstream, says
from tests.process.processes import PATIENCE, Router, received, until
from tests.unit.relay.upstreams import whole
from tests.unit.web.browsers import CHAT, ask, request
from tests.unit.web.responses import Response, responses

_READY = request(b"/readyz", b"Connection: close", method=b"GET")
_ALIVE = request(b"/healthz", b"Connection: close", method=b"GET")
_METRICS = request(b"/metrics", b"Connection: close", method=b"GET")

_TRIES = 5
"""The attempts of a test that depends on speed, because the machine may be busy."""


def closed(router: Router) -> bool:
    """Return whether the port is closed, as Twisted says at level debug."""
    return "(TCP Port" in router.log and "Closed)" in router.log


class ActivationTestCase(SynchronousTestCase):
    """A platform, and a socket that stays open while routers come and go."""

    def setUp(self) -> None:
        """Open both."""
        self.upstream = Upstream(one=says(GOOD), two=says(GOOD))
        self.addCleanup(self.upstream.close)
        self.socket = self.listening()

    def listening(self) -> socket.socket:
        """Return another socket to pass."""
        opened = listening()
        self.addCleanup(opened.close)
        return opened

    def router(self, *sockets: socket.socket, **variables: str) -> Activated:
        """Return a router to which the sockets are passed."""
        passed = sockets or (self.socket,)
        router = Activated(self.mktemp(), self.upstream.port, *passed, **variables)
        self.addCleanup(router.close)
        return router

    def client(self, opened: socket.socket | None = None) -> socket.socket:
        """Return a connection to a socket."""
        client = socket.create_connection((opened or self.socket).getsockname(), timeout=PATIENCE)
        self.addCleanup(client.close)
        return client

    def exchange(self, sent: bytes, opened: socket.socket | None = None) -> Response:
        """Return the response to a request that is the last on its connection."""
        client = self.client(opened)
        client.sendall(sent)
        (answer,) = responses(received(client))
        return answer

    def ready(self) -> None:
        """Wait until the router has its feeds."""
        until(lambda: self.exchange(_READY).status == 200)

    def assert_ended(self, router: Router) -> None:
        """Check that the router exited by the signal and logged no error."""
        self.assertEqual(router.ends(), -signal.SIGTERM)
        for bad in ("Traceback", "Unhandled", "ReactorNotRunning"):
            self.assertNotIn(bad, router.log)


class RestartTests(ActivationTestCase):
    """One router after the other on the same socket."""

    def test_before_the_start(self) -> None:
        """A request sent while no router runs is answered when one starts."""
        early = self.client()
        early.sendall(_ALIVE)
        router = self.router()
        (answer,) = responses(received(early))
        self.assertEqual((answer.status, answer.body), (200, b"ok\n"))
        self.assertEqual(router.port(), self.socket.getsockname()[1])

    def test_under_load(self) -> None:
        """During two restarts every request of every client gets a complete response."""
        assert_lossless(self)

    def test_while_streaming(self) -> None:
        """The old router completes its stream; a new client waits for the new router."""
        go_on = Event()
        self.addCleanup(go_on.set)

        def finishes(connection: socket.socket) -> None:
            connection.sendall(WORDS)
            go_on.wait(PATIENCE)
            connection.sendall(REST)

        self.upstream.scripts["two"] = finishes
        old = self.router()
        self.ready()
        streaming = self.client()
        streaming.sendall(request(CHAT, body=ask(TWO)))
        got = received(streaming, b"hi")
        idle = self.client()
        idle.sendall(request(b"/healthz", method=b"GET"))
        received(idle, b"ok\n")
        old.signals(signal.SIGTERM)
        self.assertEqual(received(idle), b"")  # the draining router accepts no more requests
        waiting = self.client()
        waiting.sendall(_ALIVE)
        self.assertIsNone(old.process.poll())
        go_on.set()
        (answer,) = responses(got + received(streaming))
        self.assertEqual((answer.status, answer.whole), (200, True))
        self.assert_ended(old)
        waiting.settimeout(0.2)
        self.assertRaises(TimeoutError, waiting.recv, 1)
        waiting.settimeout(PATIENCE)
        self.router()
        (answer,) = responses(received(waiting))
        self.assertEqual(answer.body, b"ok\n")

    def test_connected_and_silent(self) -> None:
        """A client that connected before the stop and then sends its request gets a response."""
        self.upstream.scripts["one"] = says(whole(200, PLAIN))
        asked = request(CHAT, body=ask(ONE, stream=False))
        answers: list[Response | None] = [None]
        for _ in range(_TRIES):
            router = self.router(LOG_LEVEL="debug")
            self.ready()
            late = self.client()
            kept = self.client()
            kept.sendall(request(b"/healthz", method=b"GET"))
            received(kept, b"ok\n")  # the router has accepted it before `late`
            router.signals(signal.SIGTERM)
            until(partial(closed, router))
            answers = [self._answered(client, asked) for client in (late, kept)]
            self.assert_ended(router)
            if None not in answers:
                break
        for answer in answers:
            assert answer is not None, "too late, each time"
            self.assertEqual((answer.status, answer.body), (200, PLAIN))
            self.assertEqual(answer.value(b"connection"), b"close")

    def _answered(self, client: socket.socket, asked: bytes) -> Response | None:
        """Return the response if the connection was still open for the request."""
        try:
            client.sendall(asked)
            got = received(client)
        except ConnectionError:
            return None
        return responses(got)[0] if got else None


def assert_lossless(case: ActivationTestCase, **settings: str) -> None:
    """Check that no client loses a request during two restarts of a router with these settings."""
    settings["UNKNOWN_MODELS"] = "forward"  # so that no request waits for feeds
    case.upstream.scripts["one"] = says(whole(200, PLAIN))
    router = case.router(**settings)
    case.ready()
    load = Load(
        case.socket.getsockname()[1],
        fresh=[request(CHAT, body=ask(TWO))] * 4,
        # The head of a stream cannot announce that its connection will end.
        keeping=[request(CHAT, body=ask(ONE, stream=False))] * 4,
    )
    case.addCleanup(load.stop)

    def serves_more() -> None:
        """Wait until the current router has answered many requests, or one failed."""
        before = load.good
        until(lambda: load.good >= before + 100 or load.bad)

    for _ in range(2):
        serves_more()
        router.signals(signal.SIGTERM)
        case.assert_ended(router)
        router = case.router(**settings)
    serves_more()
    load.stop()
    case.assertEqual(load.bad, [])


class WorkersTests(ActivationTestCase):
    """Routers with workers, one after the other on the same socket."""

    def test_under_load(self) -> None:
        """Another version takes over, by SIGTERM and a new start, and no request is lost."""
        assert_lossless(self, WORKERS="2")

    def test_operators(self) -> None:
        """The parent serves the socket for operators, whose pages the API then lacks."""
        admin = self.listening()
        self.router(self.socket, admin, LISTEN_FDNAMES="http:admin", WORKERS="2")
        self.assertEqual(self.exchange(_METRICS, admin).status, 200)
        self.assertEqual(self.exchange(_METRICS).status, 404)


class PassingTests(ActivationTestCase):
    """The passed sockets, and their effect on the addresses in the settings."""

    def test_in_place_of_the_address(self) -> None:
        """Passed sockets replace the address in the settings; all of them serve."""
        with listening() as taken:
            other = self.listening()
            port = taken.getsockname()[1]
            self.router(self.socket, other, LISTEN_ADDR=f"127.0.0.1:{port}")
            for each in (self.socket, other):
                self.assertEqual(self.exchange(_ALIVE, each).body, b"ok\n")
                self.assertEqual(self.exchange(_METRICS, each).status, 200)

    def test_operators(self) -> None:
        """A socket named admin serves the operator pages, which the other sockets then lack."""
        admin = self.listening()
        self.router(self.socket, admin, LISTEN_FDNAMES="http:admin")
        self.assertEqual(self.exchange(_METRICS, admin).status, 200)
        self.assertEqual(self.exchange(_METRICS).status, 404)
        self.assertEqual(self.exchange(request(CHAT, b"Connection: close"), admin).status, 404)

    def test_meant_for_another(self) -> None:
        """Descriptors that were passed to another process are ignored."""
        router = Router(
            self.mktemp(), self.upstream.port, LISTEN_FDS="1", LISTEN_PID=str(os.getpid())
        )
        self.addCleanup(router.close)
        self.assertNotEqual(router.port(), self.socket.getsockname()[1])

    def test_unusable(self) -> None:
        """A descriptor that is not a listening socket is an error, with the remedy on one line."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wrong:
            router = self.router(self.socket, wrong)
            self.assertEqual(router.ends(), 1)
        self.assertIn("LISTEN_FDS: descriptor 4 is not a listening TCP socket", router.log)
        self.assertNotIn("Traceback", router.log)

    def test_let_go(self) -> None:
        """A router that has exited holds no copy of the socket; its owner can free the port."""
        router = self.router(DRAIN_TIMEOUT_MS="0")
        self.ready()
        router.signals(signal.SIGTERM)
        self.assert_ended(router)
        address = self.socket.getsockname()
        self.socket.close()
        with socket.socket() as client:
            self.assertRaises(ConnectionRefusedError, client.connect, address)

    def test_draining(self) -> None:
        """A draining router has closed its copy of the socket."""
        go_on = Event()
        self.addCleanup(go_on.set)

        def lingers(connection: socket.socket) -> None:
            connection.sendall(WORDS)
            go_on.wait(PATIENCE)

        self.upstream.scripts["two"] = lingers
        router = self.router(LOG_LEVEL="debug")
        self.ready()
        streaming = self.client()
        streaming.sendall(request(CHAT, body=ask(TWO)))
        received(streaming, b"hi")
        address = self.socket.getsockname()
        router.signals(signal.SIGTERM)
        until(lambda: closed(router))
        self.socket.close()
        with socket.socket() as client:
            self.assertRaises(ConnectionRefusedError, client.connect, address)
        self.assertIsNone(router.process.poll())
