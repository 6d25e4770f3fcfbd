"""A router with workers, its processes, and clients that are in the middle of a stream."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from tests.process.processes import Platform, Router, received
from tests.process.processes import until as until_in_time
from tests.unit.relay.upstreams import DONE, TOKEN, chunk
from tests.unit.web.browsers import CHAT, ask, request
from tests.unit.web.responses import Response, responses

REST = chunk(DONE) + chunk(b"")
LONG = 120.0
"""Seconds in which as many processes as there are workers start on a slow and busy machine."""
READYZ = request(b"/readyz", b"Connection: close", method=b"GET")


def until(true: Callable[[], object]) -> None:
    """Poll until the condition is true."""
    until_in_time(true, LONG)


def children(pid: int) -> list[int]:
    """Return the child processes of a process."""
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def runs(pid: int) -> bool:
    """Return whether a process runs, and is not only waiting to be reaped."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


class WorkersTestCase(SynchronousTestCase):
    """A router with workers, which `start` starts and `end` ends."""

    count: ClassVar[int] = 4
    settings: ClassVar[dict[str, str]] = {}
    platform: Platform
    router: Router
    port: int
    folder: Path
    _open: ClassVar[ExitStack]

    @classmethod
    def start(cls) -> None:
        """Start platform and router, and wait until all workers serve."""
        with ExitStack() as opened:
            cls.folder = Path(opened.enter_context(TemporaryDirectory(prefix="workers-")))
            cls.platform = Platform(REST)
            cls.platform.patience = LONG
            opened.callback(cls.platform.close)
            cls.router = Router(
                f"{cls.folder}/router",
                cls.platform.port,
                **{"WORKERS": str(cls.count), **cls.settings},
            )
            opened.callback(cls.router.close)
            until(lambda: cls.router.process.poll() is not None or "(API)" in cls.router.log)
            cls.port = cls.router.port()
            until(lambda: cls.router.log.count(") serves") == cls.count)
            until(lambda: all(cls.ask(READYZ).status == 200 for _ in range(cls.count)))
            cls._open = opened.pop_all()

    @classmethod
    def end(cls) -> None:
        """End them."""
        cls._open.close()

    def setUp(self) -> None:
        """Let the platform wait in its streams, until this test lets it go on or ends."""
        self.platform.go_on.clear()
        self.addCleanup(self.platform.go_on.set)

    @property
    def workers(self) -> list[int]:
        """The processes of the workers."""
        return children(self.router.process.pid)

    @classmethod
    def client(cls) -> socket.socket:
        """Return a connection."""
        return socket.create_connection(("127.0.0.1", cls.port), timeout=LONG)

    @classmethod
    def ask(cls, sent: bytes) -> Response:
        """Return the only response on a connection of its own."""
        with cls.client() as client:
            client.sendall(sent)
            (response,) = responses(received(client))
            return response

    def stream(self) -> socket.socket:
        """Return a connection in the middle of a stream."""
        client = self.client()
        self.addCleanup(client.close)
        client.sendall(request(CHAT, b"Connection: close", body=ask()))
        self.assertIn(TOKEN, received(client, TOKEN))
        return client

    def finished(self, client: socket.socket) -> bool:
        """Return whether a stream came to its proper end, and did not break off."""
        try:
            return received(client).endswith(REST)
        except ConnectionError:
            return False

    def metric(self, name: str, **labels: str) -> float:
        """Return a sample of the router's /metrics, as the worker that answers returns it."""
        got = self.ask(request(b"/metrics", b"Connection: close", method=b"GET"))
        self.assertEqual(got.status, 200, got.body)
        for family in text_string_to_metric_families(got.body.decode()):
            for sample in family.samples:
                if sample.name == f"chutes_autopilot_{name}" and sample.labels == labels:
                    return sample.value
        return 0.0

    def completed(self) -> float:
        """Return the number of completed requests by /metrics."""
        return self.metric("outcomes_total", outcome="completed")

    def serves(self) -> int:
        """Return how many times a worker has begun to serve."""
        return len(re.findall(r"Worker \d+ \(process \d+\) serves", self.router.log))

    def assert_calm(self) -> None:
        """Assert that nothing failed in the router or its workers."""
        for bad in ("Traceback", "Unhandled"):
            self.assertNotIn(bad, self.router.log)


def kill(pid: int, number: int) -> None:
    """Send a signal to a process, which may have ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
