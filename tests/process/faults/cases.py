"""What all fault tests start from: a router process before an upstream that fails."""

from __future__ import annotations

import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.process.faults.upstreams import BOTH, ONE, TWO, Script, Upstream, says
from tests.process.processes import PATIENCE, Router, until
from tests.unit.relay.upstreams import DONE, ROLE, STOP, TOKEN, chunk, head, whole
from tests.unit.web.browsers import CHAT, ask, request
from tests.unit.web.responses import Response, responses

GOOD = head() + b"".join(map(chunk, (ROLE, TOKEN, STOP, DONE, b"")))
"""A stream from its first byte to its last."""
PLAIN = b'{"id":"1","choices":[{"index":0,"message":{"role":"assistant","content":"hi"}}]}'
SECOND = b'{"id":"2"}'
"""What the second model answers; no other says so."""


class FaultTestCase(SynchronousTestCase):
    """The second model always answers; what the first one does is the test's."""

    def start(self, backend: str = "", **settings: str) -> None:
        """Start both; the backend may be somewhere else than the feeds."""
        self.upstream = Upstream(two=says(whole(200, SECOND)))
        self.addCleanup(self.upstream.close)
        # Nothing that was learned from one case may spare the next one its fault.
        variables = {"COOLDOWN_FAILURES": "1000", "STICKY_TTL_SECS": "0", **settings}
        if backend:
            variables["BACKEND_BASE_URL"] = backend
        self.router = Router(self.mktemp(), self.upstream.port, **variables)
        self.addCleanup(self.router.close)
        self.port = self.router.port()
        until(lambda: self.exchange(request(b"/readyz", method=b"GET")).status == 200)

    def does(self, script: Script) -> None:
        """What the first model does from now on."""
        self.upstream.scripts["one"] = script

    def client(self) -> socket.socket:
        """A connection to the router."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def exchange(self, sent: bytes) -> Response:
        """The one answer to a request, read until it is whole or the connection ends."""
        with self.client() as client:
            client.sendall(sent)
            got = b""
            while data := client.recv(65536):
                got += data
                if b"\r\n\r\n" in got and responses(got)[0].whole:
                    break
        (response,) = responses(got)
        return response

    def ask(self, model: str, *, stream: bool = True) -> Response:
        """The answer to a chat request."""
        return self.exchange(request(CHAT, body=ask(model, stream=stream)))

    def assert_falls_over(self, *, stream: bool = True) -> None:
        """The first model is asked, then the second, and nothing of the first is to be seen."""
        self.upstream.asked.clear()
        answer = self.ask(BOTH, stream=stream)
        # On a connection that was used before, silence may mean only that it had become stale.
        self.assertIn(self.upstream.asked, ([ONE, TWO], [ONE, ONE, TWO]))
        self.assertEqual(answer.value(b"x-chutes-autopilot-attempts"), b"2")
        self.assert_served_by_second(answer)

    def assert_served_by_second(self, answer: Response) -> None:
        """The second model answered."""
        self.assertEqual((answer.status, answer.body, answer.whole), (200, SECOND, True))
        self.assertEqual(answer.value(b"x-chutes-autopilot-selected"), TWO.encode())

    def assert_well(self) -> None:
        """The router serves on, has nothing under way and nothing to complain of."""
        self.assert_served_by_second(self.ask(f"{TWO},{TWO}"))
        until(
            lambda: (
                self.exchange(request(b"/status.json", method=b"GET")).json["requests_active"] == 0
            )
        )
        self.assertNotIn("Traceback", self.router.log)

    def descriptors(self) -> int:
        """Files that the router has open."""
        return len(list(Path(f"/proc/{self.router.process.pid}/fd").iterdir()))
