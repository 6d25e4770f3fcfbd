"""The limit of open files is reached: streams continue, clients wait, and the router recovers.

The limit is lowered in the running process, so that few connections suffice.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from contextlib import ExitStack
from unittest import skipUnless

from tests.process.faults.cases import SECOND
from tests.process.faults.crowds import WORDS, CrowdTestCase
from tests.process.faults.upstreams import ONE, TWO, says
from tests.process.faults.vitals import cpu_seconds, leave_room, released, settled
from tests.process.processes import received, until
from tests.unit.relay.upstreams import DONE, TOKEN, chunk, whole
from tests.unit.web.browsers import CHAT, ask, request
from tests.unit.web.responses import Response, responses

_ATTEMPTS = 200


@skipUnless(hasattr(resource, "prlimit"), "the limits of another process cannot be set here")
class DescriptorTests(CrowdTestCase):
    """A router that may open no more files."""

    def setUp(self) -> None:
        """Start; each call opens an upstream connection of its own."""
        self.crowd(UPSTREAM_POOL_IDLE_MS="0")
        self.pid = self.router.process.pid

    def test_clients(self) -> None:
        """If clients exceed the descriptors, streams continue, and the process idles."""
        self.upstream.scripts["one"] = self._ticks
        self.upstream.scripts["two"] = says(whole(200, SECOND))
        before = settled(self.pid)
        streams = [self.midway(ONE) for _ in range(5)]
        lines, noted = self.router.log.count("\n"), len(self.router.log)
        leave_room(self.pid, 10)
        with ExitStack() as stack:
            began, used = time.monotonic(), cpu_seconds(self.pid)
            for number in range(_ATTEMPTS):
                self._tries(stack, keep=number % 4 == 0)
            until(lambda: time.monotonic() - began > 1.5)
            share = (cpu_seconds(self.pid) - used) / (time.monotonic() - began)
            for stream in streams:
                stream.got += received(stream.client, TOKEN)
            self.assertLess(share, 0.5, "it spins")
        said = self.router.log[noted:]
        self.assertLess(self.router.log.count("\n") - lines, 20, said[:2000])
        self.assertNotIn("127.0.0.1", said)
        until(self._serves)
        self.go_on.set()
        for stream in streams:
            stream.got += received(stream.client, b"0\r\n\r\n")
            self.assertTrue(responses(stream.got)[0].whole)
            stream.client.close()
        self.assert_well()
        self.assertTrue(released(self.pid, before))

    def _ticks(self, connection: socket.socket) -> None:
        connection.sendall(WORDS)
        while not self.go_on.wait(0.02):
            connection.sendall(chunk(TOKEN))
        connection.sendall(chunk(DONE) + chunk(b""))

    def _tries(self, stack: ExitStack, *, keep: bool) -> None:
        """Connect a silent client; the router may accept it, leave it waiting or refuse it."""
        client = self.client()
        if keep:
            stack.enter_context(client)
        else:
            client.settimeout(0.005)
            with client, contextlib.suppress(TimeoutError, ConnectionError):
                client.recv(1)

    def _serves(self) -> bool:
        try:
            with self.client() as client:
                client.sendall(request(b"/healthz", b"Connection: close", method=b"GET"))
                return b"200 OK" in received(client)
        except ConnectionError:
            return False

    def test_upstreams(self) -> None:
        """If no descriptor is left for the upstream, the client receives a retriable error."""
        self.upstream.scripts["one"] = says(whole(200, SECOND))
        stream = self.midway(TWO)
        with self.client() as client:
            client.sendall(request(b"/healthz", method=b"GET"))
            received(client, b"ok\n")
            settled(self.pid)
            leave_room(self.pid, 0)
            for _ in range(3):
                answer = self._asks(client)
                self.assertEqual(answer.error, (502, "server_error", "upstream_connect_error"))
            leave_room(self.pid, 20)
            self.assertEqual(self._asks(client).body, SECOND)
        self.assertNotIn("Traceback", self.router.log)
        self.assertTrue(self.router.process.poll() is None)
        stream.client.close()

    def _asks(self, client: socket.socket) -> Response:
        client.sendall(request(CHAT, body=ask(ONE, stream=False)))
        got = b""
        while not (b"\r\n\r\n" in got and responses(got)[0].whole):
            data = client.recv(65536)
            self.assertTrue(data, "it was closed")
            got += data
        return responses(got)[0]
