"""Hanging name lookups: only requests to that name fail, and they fail in time."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.process.faults.cases import SECOND, FaultTestCase
from tests.process.faults.names import HANGS, WORKS, HangingResolver
from tests.process.faults.upstreams import ONE, TWO, Upstream, says
from tests.process.processes import received, until
from tests.unit.relay.upstreams import whole
from tests.unit.web.browsers import ask, request
from tests.unit.web.responses import Response

_TIMEOUT = 0.5
_MANY = 40
"""The number of concurrent requests: several times the number of resolver threads."""
_SLACK = 5.0
"""The tolerance in seconds for a busy machine."""
_BY_NAME, _BY_ADDRESS = b"/v1/messages", b"/v1/responses"


class HangingLookupTests(FaultTestCase):
    """Chats go to a name that hangs, messages to one that works, responses to an address."""

    def setUp(self) -> None:
        """Start, with no name resolved yet."""
        self.backend = Upstream(one=says(whole(200, SECOND)), two=says(whole(200, SECOND)))
        self.addCleanup(self.backend.close)
        self.names = HangingResolver(Path(self.mktemp()))
        self.addCleanup(self.names.go_on)
        port = self.backend.port
        self.start(
            f"http://{HANGS}:{port}",
            MESSAGES_BASE_URL=f"http://{WORKS}:{port}",
            RESPONSES_BASE_URL=f"http://127.0.0.1:{port}",
            UPSTREAM_CONNECT_TIMEOUT_MS=str(int(_TIMEOUT * 1000)),
            PYTHONPATH=self.names.path,
        )

    def post(self, path: bytes) -> Response:
        """Make one call."""
        return self.exchange(request(path, body=ask(TWO, stream=False)))

    def hang(self) -> list[tuple[Response, float]]:
        """Send concurrent requests to the hanging name; return each response and its duration."""
        with ThreadPoolExecutor(_MANY) as pool:
            return list(pool.map(lambda _: self._timed(), range(_MANY)))

    def _timed(self) -> tuple[Response, float]:
        began = time.monotonic()
        answer = self.ask(ONE)
        return answer, time.monotonic() - began

    def test_in_time(self) -> None:
        """The connect timeout covers the lookup; later requests to the name succeed."""
        for answer, taken in self.hang():
            self.assertEqual(answer.error, (502, "server_error", "upstream_connect_error"))
            self.assertNotIn(HANGS.encode(), answer.body)
            self.assertTrue(_TIMEOUT - 0.1 < taken < _TIMEOUT + _SLACK, taken)
        self.assertGreater(self.names.hanging, 0)
        self.names.go_on()
        until(lambda: self.ask(ONE).body == SECOND)
        self.assertNotIn("Traceback", self.router.log)

    def test_other_origins(self) -> None:
        """Calls to an address, to a resolved name, and to a new name are not delayed."""
        self.hang()
        self.assertEqual(self.post(_BY_ADDRESS).body, SECOND)
        self.assertEqual(self.post(_BY_NAME).body, SECOND, "a name that works was not looked up")
        self.hang()
        self.assertEqual(self.post(_BY_NAME).body, SECOND)
        self.assertEqual(self.exchange(request(b"/readyz", method=b"GET")).status, 200)

    def test_shutdown(self) -> None:
        """The process exits although lookups still hang."""
        self.hang()
        began = time.monotonic()
        self.router.signals(signal.SIGTERM)
        self.assertEqual(self.router.ends(), -signal.SIGTERM)
        self.assertLess(time.monotonic() - began, _SLACK)
        self.assertNotIn("Traceback", self.router.log)

    def test_shutdown_with_requests(self) -> None:
        """The process exits although requests still wait for a lookup."""
        with self.client() as client:
            client.sendall(request(body=ask(ONE)))
            until(lambda: self.names.hanging)
            began = time.monotonic()
            self.router.signals(signal.SIGTERM)
            self.assertIn(b"upstream_connect_error", received(client))
        self.assertEqual(self.router.ends(), -signal.SIGTERM)
        self.assertLess(time.monotonic() - began, _SLACK)
