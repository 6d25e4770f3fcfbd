"""Shutdown under load: each response is complete or has an error event."""

from __future__ import annotations

import signal
import socket
import time

from tests.process.faults.cases import PLAIN
from tests.process.faults.crowds import WORDS, CrowdTestCase, Midway, narrow
from tests.process.faults.upstreams import ONE, TWO, Script
from tests.process.processes import PATIENCE, Router, received, until
from tests.unit.relay.upstreams import JSON, ROLE, TOKEN, chunk, head, whole
from tests.unit.web.browsers import CHAT, ask, request
from tests.unit.web.responses import Response, responses

_SLACK = 5.0
"""The tolerance in seconds for a busy machine."""
_FINAL_WRITE_SECONDS = 1.0
"""The seconds that clients have to read the final error event."""


class ShutdownTestCase(CrowdTestCase):
    """A router that is stopped while clients receive their responses."""

    def stop(self, number: signal.Signals) -> float:
        """Send the signal and wait until the port is closed; return the time of the signal."""
        began = time.monotonic()
        self.router.signals(number)
        until(self.refuses)
        return began

    def half_sent(self, model: str) -> tuple[socket.socket, bytes]:
        """Return a connection with half a request, which the router has read, and the rest."""
        sent = request(CHAT, body=ask(model))
        client = self.client()
        self.addCleanup(client.close)
        # In one piece with another request, whose response shows that both have arrived.
        client.sendall(request(b"/healthz", method=b"GET") + sent[:-9])
        received(client, b"ok\n")
        return client, sent[-9:]

    def assert_ended(self, number: signal.Signals) -> None:
        """Check that the process exited by the signal and logged no error."""
        self.assertEqual(self.router.ends(), -number)
        for bad in ("Traceback", "Unhandled", "ReactorNotRunning"):
            self.assertNotIn(bad, self.router.log)

    def assert_draining(self, client: socket.socket) -> None:
        """Check for the error of a draining router, and for the end of the connection."""
        (answer,) = responses(received(client))
        self.assertEqual(answer.error, (503, "server_error", "draining"))
        self.assertEqual(answer.value(b"connection"), b"close")
        self.assertTrue(answer.whole)


class StreamsTests(ShutdownTestCase):
    """Two hundred streams, half of which complete by themselves."""

    def test_terminated(self) -> None:
        """Each stream is complete or ends with an error event."""
        drain = 2.0
        self.crowd(DRAIN_TIMEOUT_MS=str(int(drain * 1000)))
        finishing = [self.midway(ONE) for _ in range(100)]
        lingering = [self.midway(TWO) for _ in range(100)]
        began = self.stop(signal.SIGTERM)
        self.go_on.set()
        for each in finishing:
            self.assert_complete(each.rest())
        for each in lingering:
            self.assert_interrupted(each.rest())
        self.assertGreater(time.monotonic() - began, drain - 0.1)
        self.assert_ended(signal.SIGTERM)
        self.assertLess(time.monotonic() - began, drain + _FINAL_WRITE_SECONDS + _SLACK)

    def test_stalled_clients(self) -> None:
        """Clients that do not read do not delay the exit, and receive no clean end."""
        self.crowd(DRAIN_TIMEOUT_MS="300")
        self.upstream.scripts["one"] = self._talks
        stalled = [self._stalled() for _ in range(20)]
        until(lambda: len(self.upstream.asked) == len(stalled))
        began = self.stop(signal.SIGTERM)
        self.assert_ended(signal.SIGTERM)
        self.assertLess(time.monotonic() - began, 0.3 + _FINAL_WRITE_SECONDS + _SLACK)
        for client in stalled:
            self.assertFalse(Midway(client, b"").rest().whole)

    def _stalled(self) -> socket.socket:
        client = narrow(self.port)
        self.addCleanup(client.close)
        client.sendall(request(CHAT, body=ask(ONE)))
        return client

    def _talks(self, connection: socket.socket) -> None:
        connection.sendall(WORDS)
        while True:  # until the router closes
            connection.sendall(chunk(TOKEN) * 1000)


class CallsTests(ShutdownTestCase):
    """Unary calls: with no response byte yet, with half a response, or completed in time."""

    def test_terminated(self) -> None:
        """Partial responses are truncated, and calls without a response are refused."""
        self.crowd(DRAIN_TIMEOUT_MS="1500")
        answer, half = whole(200, PLAIN), PLAIN[: len(PLAIN) // 2]
        begun = self._waiting_clients(self._after(answer[: len(half) - len(PLAIN)]), 25)
        begun += self._waiting_clients(self._after(head(200, JSON) + chunk(half)), 25)
        silent = self._waiting_clients(self._after(b""), 50)
        finishing = self._waiting_clients(self._in_time(answer), 50)
        for each in begun:
            each.got = received(each.client, b"\r\n\r\n")
        began = self.stop(signal.SIGTERM)
        self.go_on.set()
        for each in finishing:
            self.assertEqual(self._told_close(each), (200, PLAIN, True))
        for each in begun:
            got = each.rest()
            self.assertEqual((got.status, got.body, got.whole), (200, half, False))
        for each in silent:
            self.assert_draining(each.client)
        self.assert_ended(signal.SIGTERM)
        self.assertLess(time.monotonic() - began, 1.5 + _FINAL_WRITE_SECONDS + _SLACK)

    def _told_close(self, each: Midway) -> tuple[int, bytes, bool]:
        answer: Response = each.rest()
        self.assertEqual(answer.value(b"connection"), b"close")
        return answer.status, answer.body, answer.whole

    def _waiting_clients(self, script: Script, number: int) -> list[Midway]:
        """Return clients whose requests have reached this script."""
        begun: list[socket.socket] = []

        def counted(connection: socket.socket) -> None:
            begun.append(connection)
            script(connection)

        self.does(counted)
        clients = []
        for _ in range(number):
            client = self.client()
            self.addCleanup(client.close)
            client.sendall(request(CHAT, body=ask(ONE, stream=False)))
            clients.append(Midway(client, b""))
        until(lambda: len(begun) == number)
        return clients

    def _after(self, said: bytes) -> Script:
        def script(connection: socket.socket) -> None:
            connection.sendall(said)
            self.upstream.waits(connection)

        return script

    def _in_time(self, said: bytes) -> Script:
        def script(connection: socket.socket) -> None:
            self.go_on.wait(PATIENCE)
            connection.sendall(said)

        return script


class SignalTests(ShutdownTestCase):
    """Each signal, repeated signals, and what clients observe when the process is killed."""

    def test_kept_connections(self) -> None:
        """Idle connections close at once; a request that was arriving is refused."""
        self.crowd()
        stream = self.midway(ONE)
        idle = self.client()
        self.addCleanup(idle.close)
        idle.sendall(request(b"/healthz", method=b"GET"))
        received(idle, b"ok\n")
        half, other_half = self.half_sent(TWO)
        self.stop(signal.SIGTERM)
        self.assertEqual(idle.recv(1), b"")
        half.sendall(other_half)
        self.assert_draining(half)
        self.go_on.set()
        self.assert_complete(stream.rest())
        self.assert_ended(signal.SIGTERM)
        self.assertEqual(self.upstream.asked, [ONE])

    def test_terminated_twice(self) -> None:
        """A second SIGTERM does not end the drain early."""
        self.assert_patient(signal.SIGTERM, signal.SIGTERM)

    def test_terminated_and_interrupted(self) -> None:
        """A SIGINT after the SIGTERM does not either."""
        self.assert_patient(signal.SIGTERM, signal.SIGINT)

    def test_interrupted(self) -> None:
        """SIGINT drains like SIGTERM, and a SIGTERM has no effect then."""
        self.assert_patient(signal.SIGINT, signal.SIGTERM)

    def test_interrupted_twice(self) -> None:
        """A second SIGINT ends the drain that the first began."""
        self.crowd()
        stream = self.midway(ONE)
        self.stop(signal.SIGINT)
        self.router.signals(signal.SIGINT)
        self.assert_interrupted(stream.rest())
        self.assert_ended(signal.SIGINT)

    def assert_patient(self, first: signal.Signals, second: signal.Signals) -> None:
        """Check that the open stream completes after both signals."""
        self.crowd()
        stream = self.midway(ONE)
        half, other_half = self.half_sent(TWO)
        self.stop(first)
        self.router.signals(second)
        half.sendall(other_half)
        self.assert_draining(half)  # the router has handled the second signal by then
        self.assertIsNone(self.router.process.poll())
        self.go_on.set()
        self.assert_complete(stream.rest())
        self.assert_ended(first)

    def test_hung_up(self) -> None:
        """Signals of a closing terminal or of log rotation are harmless."""
        self.crowd()
        stream = self.midway(ONE)
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGUSR1):
            self.router.signals(number)
            self.assertEqual(self.exchange(request(b"/readyz", method=b"GET")).status, 200)
        self.go_on.set()
        stream.got += received(stream.client, b"0\r\n\r\n")
        self.assert_complete(responses(stream.got)[0])
        self.assertIsNone(self.router.process.poll())
        self.stop(signal.SIGTERM)
        self.assert_ended(signal.SIGTERM)

    def test_killed(self) -> None:
        """When the process is killed, connections break, and another process can take over."""
        self.crowd()
        streams = [self.midway(ONE) for _ in range(20)]
        calls = [self.midway(TWO) for _ in range(20)]
        self.router.signals(signal.SIGKILL)
        self.assertEqual(self.router.ends(), -signal.SIGKILL)
        for each in streams + calls:
            answer = each.rest()
            self.assertEqual((answer.body, answer.whole), (ROLE + TOKEN, False))
        self.router = Router(
            self.mktemp(), self.upstream.port, LISTEN_ADDR=f"127.0.0.1:{self.port}"
        )
        self.addCleanup(self.router.close)
        self.assertEqual(self.router.port(), self.port)
        until(lambda: self.exchange(request(b"/readyz", method=b"GET")).status == 200)
        self.go_on.set()
        self.assertTrue(self.ask(ONE).whole)
