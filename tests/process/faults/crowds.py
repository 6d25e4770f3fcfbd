"""Clients that have received part of their response."""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Event

from tests.process.faults.cases import FaultTestCase
from tests.process.processes import PATIENCE, received
from tests.unit.relay.upstreams import DONE, ROLE, STOP, TOKEN, chunk, head
from tests.unit.web.browsers import CHAT, ask, request
from tests.unit.web.responses import Response, responses

WORDS = head() + chunk(ROLE) + chunk(TOKEN)
"""The beginning of a stream."""
REST = chunk(STOP) + chunk(DONE) + chunk(b"")
"""The rest of that stream."""


class Midway:
    """A client that has received part of its response."""

    def __init__(self, client: socket.socket, got: bytes) -> None:
        self.client = client
        self.got = got

    def rest(self) -> Response:
        """Read to the end of the connection, clean or not; return the response."""
        with self.client, suppress(ConnectionError):
            while data := self.client.recv(65536):
                self.got += data
        (response,) = responses(self.got)
        return response


def narrow(port: int) -> socket.socket:
    """Return a connection with a small receive buffer, so that unread bytes stay in the router."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(PATIENCE)
    client.connect(("127.0.0.1", port))
    return client


class CrowdTestCase(FaultTestCase):
    """The first model completes its streams once ``go_on`` is set, the second never does."""

    def crowd(self, **settings: str) -> None:
        """Start with these scripts."""
        self.start(**settings)
        self.go_on = Event()
        self.addCleanup(self.go_on.set)
        self.upstream.scripts.update(one=self._finishes, two=self._lingers)

    def midway(self, model: str) -> Midway:
        """Return a client that has received the first token of a stream."""
        client = self.client()
        self.addCleanup(client.close)
        client.sendall(request(CHAT, body=ask(model)))
        return Midway(client, received(client, TOKEN))

    def refuses(self) -> bool:
        """Return whether the router refuses connections."""
        try:
            self.client().close()
        except ConnectionRefusedError:
            return True
        return False

    def assert_complete(self, answer: Response) -> None:
        """Check that the stream is complete, including its end."""
        self.assertEqual((answer.status, answer.whole), (200, True))
        self.assertEqual(answer.body, ROLE + TOKEN + STOP + DONE)

    def assert_interrupted(self, answer: Response) -> None:
        """Check that the stream ends with an error event, and not cleanly."""
        self.assertEqual((answer.status, answer.whole), (200, False))
        self.assertTrue(answer.body.startswith(ROLE + TOKEN))
        self.assertEqual(answer.body.count(b"upstream_stream_interrupted"), 1)
        self.assertNotIn(DONE, answer.body)

    def _finishes(self, connection: socket.socket) -> None:
        connection.sendall(WORDS)
        self.go_on.wait(PATIENCE)
        connection.sendall(REST)

    def _lingers(self, connection: socket.socket) -> None:
        connection.sendall(WORDS)
        self.upstream.waits(connection)
