"""A balancer in front of a real router that cuts connections after two seconds of silence."""

from __future__ import annotations

import contextlib
import json
import select
import socket
from collections.abc import Mapping
from threading import Thread
from typing import ClassVar

from tests.process.serving import ServedTestCase
from tests.rigs.smoke.client import HOST, Exchange, NoAnswerError, Reply, post_head

COMMENT = b": keep-alive\n\n"
MODELS = "stub/503-cold,stub/slow-head"
SERVED = b"Served by stub/slow-head"
IDLE_CUT = 2.0
INTERVAL_MS = 1_000
SILENCE_MS = 3_500
# A machine that stands still for a moment must not look like a connection that is silent.
_TICK = 0.05
_MESSAGES = [{"role": "user", "content": "x"}]
_ASKED: Mapping[str, Mapping[str, object]] = {
    "/v1/chat/completions": {"messages": _MESSAGES},
    "/v1/completions": {"prompt": "x"},
    "/v1/responses": {"input": "x"},
    "/v1/messages": {"messages": _MESSAGES, "max_tokens": 16},
}
_ENDS = {
    "/v1/chat/completions": b"data: [DONE]\n\n",
    "/v1/completions": b"data: [DONE]\n\n",
    "/v1/responses": b"event: response.completed\n",
    "/v1/messages": b"event: message_stop\n",
}


class Balancer:
    """Relays each connection to a port until no byte has passed for the time of the cut."""

    def __init__(self, port: int) -> None:
        self._behind = port
        self._socket = socket.create_server((HOST, 0))
        self.port: int = self._socket.getsockname()[1]
        self.cuts: list[int] = []
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no more connections."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            client,
            socket.create_connection((HOST, self._behind)) as router,
        ):
            self._relay({client: router, router: client})

    def _relay(self, sides: dict[socket.socket, socket.socket]) -> None:
        ticks = 0
        while ticks * _TICK < IDLE_CUT:
            readable, _, _ = select.select(list(sides), (), (), _TICK)
            ticks = 0 if readable else ticks + 1
            for each in readable:
                data = each.recv(65_536)
                if not data:
                    return
                sides[each].sendall(data)
        self.cuts.append(ticks)


class IdleCutTests(ServedTestCase):
    """A router that bridges silence after a second, and a model that is silent for longer."""

    routers: ClassVar = {"router": {"KEEPALIVE_AFTER_MS": str(INTERVAL_MS)}}
    stub_options: ClassVar = ("--delay-ms", str(SILENCE_MS))

    def setUp(self) -> None:
        """Put the balancer in front of the router."""
        super().setUp()
        self.balancer = Balancer(self.served["router"].port)
        self.addCleanup(self.balancer.close)

    def ask(self, path: str, *fields: tuple[str, str]) -> Exchange:
        """Ask for a stream through the balancer."""
        body = json.dumps({"model": MODELS, "stream": True, **_ASKED[path]}).encode()
        length = ("Content-Length", str(len(body)))
        return Exchange(self.balancer.port, post_head(path, [length, *fields]) + body)

    def test_streams(self) -> None:
        """With bridging the streams of a slow model pass whole, without it each of them breaks."""
        bridged = {path: self.ask(path) for path in _ENDS}
        silent = [self.ask(path, ("X-Autopilot-Keepalive", "0")) for path in _ENDS]
        for path, exchange in bridged.items():
            self.assert_passed(exchange.finish(), _ENDS[path])
        for each in silent:
            with self.assertRaises(NoAnswerError):
                each.finish()
            self.assertEqual(each.received, b"")
        self.assertEqual(len(self.balancer.cuts), len(silent))

    def assert_passed(self, reply: Reply, end: bytes) -> None:
        """Check that an answer came whole, behind comments only."""
        self.assertEqual((reply.status, reply.clean), (200, True))
        comments = reply.body.count(COMMENT)
        self.assertGreaterEqual(comments, 2)
        events = reply.body.removeprefix(COMMENT * comments)
        self.assertFalse(events.startswith(b":"), reply.body[:200])
        self.assertIn(SERVED, events)
        self.assertIn(end, events[-2_000:])
