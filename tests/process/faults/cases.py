"""The base of all fault tests: a router process in front of an upstream that fails."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.process.faults.upstreams import BOTH, ONE, TWO, Script, Upstream, says
from tests.process.processes import PATIENCE, Router, until
from tests.unit.relay.upstreams import DONE, ROLE, STOP, TOKEN, chunk, head, whole
from tests.unit.web.browsers import CHAT, ask, request
from tests.unit.web.responses import Response, responses

GOOD = head() + b"".join(map(chunk, (ROLE, TOKEN, STOP, DONE, b"")))
"""A complete stream."""
PLAIN = b'{"id":"1","choices":[{"index":0,"message":{"role":"assistant","content":"hi"}}]}'
SECOND = b'{"id":"2"}'
"""The response of the second model only."""


class FaultTestCase(SynchronousTestCase):
    """The second model always responds; each test scripts the first.

    If a class `shares`, its tests with the same settings have one router, which is started once. It
    is for tests that leave the router as they found it.
    """

    shares: ClassVar = False
    _kept: ClassVar[dict[tuple[object, ...], tuple[Upstream, Router, int]]]

    @classmethod
    def setUpClass(cls) -> None:
        """Share no router with another class."""
        cls._kept = {}

    @classmethod
    def tearDownClass(cls) -> None:
        """Stop the shared routers."""
        for upstream, router, _ in cls._kept.values():
            router.close()
            upstream.close()
        cls._kept.clear()

    def start(self, backend: str = "", **settings: str) -> None:
        """Start upstream and router; the backend may differ from the host of the feeds."""
        key = (backend, *sorted(settings.items()))
        if key not in self._kept:
            self._start(key, backend, settings)
        self.upstream, self.router, self.port = self._kept[key]
        self.upstream.scripts.clear()
        self.upstream.scripts.update(two=says(whole(200, SECOND)))
        self.upstream.asked.clear()
        self.upstream.left.clear()
        until(lambda: self.exchange(request(b"/readyz", method=b"GET")).status == 200)

    def _start(self, key: tuple[object, ...], backend: str, settings: dict[str, str]) -> None:
        with ExitStack() as opened:
            upstream = Upstream(two=says(whole(200, SECOND)))
            opened.callback(upstream.close)
            # Nothing learned in one case may prevent the fault of the next.
            variables = {"COOLDOWN_FAILURES": "1000", "STICKY_TTL_SECS": "0", **settings}
            if backend:
                variables["BACKEND_BASE_URL"] = backend
            router = Router(self.mktemp(), upstream.port, **variables)
            opened.callback(router.close)
            self._kept[key] = upstream, router, router.port()
            if self.shares:
                opened.pop_all()
            else:
                self.addCleanup(self._kept.pop, key)
                self.addCleanup(opened.pop_all().close)

    def does(self, script: Script) -> None:
        """Script the first model."""
        self.upstream.scripts["one"] = script

    def client(self) -> socket.socket:
        """Return a connection to the router."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def exchange(self, sent: bytes) -> Response:
        """Send a request; return its response once it is complete or the connection ends."""
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
        """Send a chat request and return the response."""
        return self.exchange(request(CHAT, body=ask(model, stream=stream)))

    def assert_falls_over(self, *, stream: bool = True) -> None:
        """Check that the first model fails, and that the client receives the second's response."""
        self.upstream.asked.clear()
        answer = self.ask(BOTH, stream=stream)
        # If a reused connection closes without a response, the router repeats the request on a new
        # one.
        self.assertIn(self.upstream.asked, ([ONE, TWO], [ONE, ONE, TWO]))
        self.assertEqual(answer.value(b"x-chutes-autopilot-attempts"), b"2")
        self.assert_served_by_second(answer)

    def assert_served_by_second(self, answer: Response) -> None:
        """Check that the response is the second model's."""
        self.assertEqual((answer.status, answer.body, answer.whole), (200, SECOND, True))
        self.assertEqual(answer.value(b"x-chutes-autopilot-selected"), TWO.encode())

    def assert_well(self) -> None:
        """Check that the router serves, has no active request and has logged no traceback."""
        self.assert_served_by_second(self.ask(f"{TWO},{TWO}"))
        until(
            lambda: (
                self.exchange(request(b"/status.json", method=b"GET")).json["requests_active"] == 0
            )
        )
        self.assertNotIn("Traceback", self.router.log)

    def descriptors(self) -> int:
        """Return the number of the router's open files."""
        return len(list(Path(f"/proc/{self.router.process.pid}/fd").iterdir()))
