"""Upstream connections that have just closed, or whose peer has vanished."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Lock
from unittest import skipUnless

from tests.process.faults.cases import SECOND, FaultTestCase
from tests.process.faults.standing import SeparateUpstream
from tests.process.faults.upstreams import BOTH, ONE, Script, says, until_taken
from tests.process.faults.vitals import released, settled
from tests.process.processes import PATIENCE, until
from tests.unit.relay.upstreams import ROLE, TOKEN, chunk, head, whole
from tests.unit.web.responses import Response

_ANSWER = whole(200, SECOND)
_TCP_REPAIR = 19
"""Linux option: closing a socket in repair mode sends nothing to the peer."""


def _may_repair() -> bool:
    with socket.socket() as probe:
        try:
            probe.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
        except OSError:
            return False
    return True


class _Calls(dict[str, Script]):
    """A script for any model; records which calls it answered."""

    def __init__(self, then: Script) -> None:
        super().__init__()
        self._then = then
        self._lock = Lock()
        self.answered: Counter[str] = Counter()

    def __missing__(self, name: str) -> Script:
        def script(connection: socket.socket) -> None:
            with self._lock:
                self.answered[name] += 1
            connection.sendall(_ANSWER)
            self._then(connection)

        return script


class ClosingUpstreamTests(FaultTestCase):
    """An upstream that closes connections just as the router reuses them."""

    keep_alive = 0.02
    clients = 4

    def begin(self, then: Script) -> None:
        """Start; the upstream ends each connection in this way after a response."""
        self.start(UNKNOWN_MODELS="forward")
        self.calls = _Calls(then)
        self.upstream.scripts = self.calls
        self.closed = 0

    def assert_each_once(self, calls: int, pause: Callable[[], float]) -> None:
        """Check that each call is answered exactly once; some run concurrently, after a pause."""
        names = [f"acme/{number}" for number in range(calls)]
        answers: list[Response] = []
        with ThreadPoolExecutor(self.clients) as pool:
            for start in range(0, calls, self.clients):
                answers += pool.map(self._call, names[start : start + self.clients])
                time.sleep(pause())
        seen = {(each.status, each.body, each.whole) for each in answers}
        self.assertEqual(seen, {(200, SECOND, True)})
        self.assertEqual(set(self.calls.answered.values()), {1})
        self.assertEqual(len(self.calls.answered), calls)
        self.assertNotIn("Traceback", self.router.log)

    def _call(self, model: str) -> Response:
        return self.ask(model, stream=False)

    def test_at_its_keep_alive(self) -> None:
        """Calls arrive just when the upstream closes idle connections."""
        self.begin(self._closes_when_idle)
        self.assert_each_once(400, lambda: self.keep_alive * random.uniform(0.8, 1.2))
        self.assertGreater(self.closed, 20)

    def _closes_when_idle(self, connection: socket.socket) -> None:
        connection.settimeout(self.keep_alive)
        try:
            connection.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            self.closed += 1
            raise
        connection.settimeout(None)

    def test_with_the_call_under_way(self) -> None:
        """The upstream closes with the call in its buffer, unread."""
        self.begin(self._closes_upon_use)
        self.assert_each_once(200, lambda: 0.0)
        self.assertGreater(self.closed, 20)

    def _closes_upon_use(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        if connection.recv(1, socket.MSG_PEEK):
            self.closed += 1
            raise ConnectionError

    def test_never_twice(self) -> None:
        """After any response byte, the call is not repeated on the same model."""
        self.start()
        lost, interrupted = "upstream_connect_error", "upstream_stream_interrupted"
        beginnings = ((b"H", lost), (b"HTTP/1.1 200 OK\r\n", lost), (head(), interrupted))
        for said, code in beginnings:
            self.does(says(_ANSWER))
            self.assertEqual(self.ask(ONE, stream=False).status, 200)
            self.upstream.asked.clear()
            self.does(_says_and_closes(said))
            with self.subTest(said=said):
                self.assertEqual(self.ask(ONE).error[::2], (502, code))
                self.assertEqual(self.upstream.asked, [ONE])
        self.assert_well()


def _is_stopped(pid: int) -> bool:
    """Return whether every thread of a process has stopped (proc(5))."""
    stats = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(each.read_text().rpartition(")")[2].split()[0] == "T" for each in stats)


def _says_and_closes(said: bytes) -> Script:
    def script(connection: socket.socket) -> None:
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            connection.recv(1)

    return script


@skipUnless(_may_repair(), "sockets cannot be made to vanish without CAP_NET_ADMIN")
class VanishedPeerTests(FaultTestCase):
    """The peer has vanished without a FIN or reset."""

    shares = True

    def setUp(self) -> None:
        """Start with short deadlines."""
        self.start(
            UPSTREAM_HEADER_TIMEOUT_MS="400",
            UPSTREAM_FIRST_BODY_BYTE_TIMEOUT_MS="400",
            UPSTREAM_IDLE_TIMEOUT_MS="400",
            UPSTREAM_POOL_IDLE_MS="200",
            FAILOVER_AFTER_MS="1000",
        )
        self.at_rest = settled(self.router.process.pid)

    def test_before_the_answer(self) -> None:
        """The attempt ends at its deadline, and the next model responds."""
        for said in (b"", head(), head() + chunk(ROLE)):
            self.does(_vanishes(said))
            self.assert_falls_over()
        self.assert_nothing_left()

    def test_in_the_answer(self) -> None:
        """The stream ends with an error event, and uncleanly."""
        self.does(_vanishes(head() + chunk(ROLE) + chunk(TOKEN)))
        answer = self.ask(BOTH)
        self.assertFalse(answer.whole)
        self.assertIn(b"upstream_stream_interrupted", answer.body)
        self.assert_nothing_left()

    def test_while_idle(self) -> None:
        """An idle connection to a vanished peer costs one more attempt, nothing else."""
        for _ in range(5):
            vanished = Event()
            self.does(_vanishes(_ANSWER, vanished))
            self.assertEqual(self.ask(ONE, stream=False).body, SECOND)
            self.assertTrue(vanished.wait(PATIENCE))
            self.does(says(_ANSWER))
            self.assertEqual(self.ask(ONE, stream=False).body, SECOND)
        self.assert_nothing_left()

    def assert_nothing_left(self) -> None:
        """Check that the descriptors are released."""
        self.assert_well()
        self.assertTrue(released(self.router.process.pid, self.at_rest))


def _vanishes(said: bytes, vanished: Event | None = None) -> Script:
    def script(connection: socket.socket) -> None:
        connection.sendall(said)
        until_taken(connection)
        connection.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
        connection.close()
        if vanished is not None:
            vanished.set()

    return script


class StoppedUpstreamTests(FaultTestCase):
    """A stopped upstream process: its kernel accepts connections and data, but nothing responds."""

    def test_stopped_and_continued(self) -> None:
        """Each call ends at its deadline without leaks; a continued upstream serves again."""
        upstream = SeparateUpstream(self.mktemp())
        self.addCleanup(upstream.close)
        self.start(
            f"http://127.0.0.1:{upstream.port}",
            UPSTREAM_HEADER_TIMEOUT_MS="500",
            UPSTREAM_UNARY_TIMEOUT_MS="500",
            UPSTREAM_POOL_IDLE_MS="300",
        )
        pid = self.router.process.pid
        at_rest = settled(pid)
        self.assertEqual(self.ask(ONE).body, SECOND)
        upstream.process.send_signal(signal.SIGSTOP)
        until(lambda: _is_stopped(upstream.process.pid))  # else it may answer one more call
        try:
            with ThreadPoolExecutor(20) as pool:
                answers = list(
                    pool.map(lambda number: self.ask(ONE, stream=number % 2 == 0), range(20))
                )
            self.assertEqual(
                {each.error for each in answers}, {(504, "server_error", "upstream_header_timeout")}
            )
            self.assertTrue(released(pid, at_rest))
        finally:
            upstream.process.send_signal(signal.SIGCONT)
        until(lambda: self.ask(ONE).body == SECOND)
        self.assertNotIn("Traceback", self.router.log)

    def _asks(self, number: int) -> Response:
        return self.ask(ONE, stream=number % 2 == 0)
