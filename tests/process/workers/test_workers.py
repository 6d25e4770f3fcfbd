"""Workers that serve, die, are held, follow settings and are restarted one after the other."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections import Counter
from functools import partial
from threading import Event, Thread
from typing import ClassVar

from autopilot.web.shared_rendering import FRESHNESS
from tests.process.processes import received
from tests.process.workers.cases import LONG, READYZ, WorkersTestCase, kill, runs, until
from tests.unit.relay.upstreams import TOKEN
from tests.unit.web.browsers import CHAT, ask, request

STATUS = request(b"/status.json", b"Connection: close", method=b"GET")
LAST = b"\r\n0\r\n\r\n"


class WorkersTests(WorkersTestCase):
    """Four workers; each test leaves as many."""

    settings: ClassVar[dict[str, str]] = {
        "LOG_FORMAT": "json",
        # Streams pause while processes start.
        "DRAIN_TIMEOUT_MS": "240000",
        "UPSTREAM_IDLE_TIMEOUT_MS": "240000",
    }

    @classmethod
    def setUpClass(cls) -> None:
        """Start."""
        cls.start()

    @classmethod
    def tearDownClass(cls) -> None:
        """End."""
        cls.end()

    def tearDown(self) -> None:
        """Wait until all workers serve again."""
        until(lambda: len(self.workers) == self.count)
        self.assert_calm()

    def test_every_worker_serves(self) -> None:
        """Streams are spread evenly; each record has the number of its worker, each page all."""
        before, completed = len(self.records()), self.completed()
        clients = [self.stream() for _ in range(2 * self.count)]
        self.platform.go_on.set()
        self.assertTrue(all(map(self.finished, clients)))
        until(lambda: len(self.records()) == before + len(clients))
        served = [each["worker"] for each in self.records()[before:]]
        self.assertEqual(sorted(served), sorted([*range(self.count)] * 2))
        until(lambda: self.completed() == completed + len(clients))
        time.sleep(FRESHNESS)
        pages = [self.ask(STATUS) for _ in range(self.count)]
        reports = [json.loads(each.body) for each in pages]
        self.assertFalse(any("worker_alone" in each for each in reports))
        for each in reports:
            self.assertEqual(each["workers"]["serving"], self.count)
            self.assertEqual({one["worker"] for one in each["recent"]}, set(range(self.count)))

    def test_long_streams_are_even(self) -> None:
        """Of 400 streams that come as fast as they can, no worker has over 1.15 times its share."""
        before = len(self.records())
        clients = []
        for _ in range(400):
            clients.append(self.client())
            self.addCleanup(clients[-1].close)
            clients[-1].sendall(request(CHAT, b"Connection: close", body=ask()))
        for client in clients:
            self.assertIn(TOKEN, received(client, TOKEN))
        self.platform.go_on.set()
        self.assertTrue(all(map(self.finished, clients)))
        until(lambda: len(self.records()) == before + len(clients))
        self.assertLessEqual(max(self.served_since(before).values()), 1.15 * 100)

    def test_kept_connections_are_even(self) -> None:
        """Of 32 connections with several requests each, no worker has over twice its share."""
        before = len(self.records())
        self.platform.go_on.set()
        clients = []
        for _ in range(32):
            clients.append(self.client())
            self.addCleanup(clients[-1].close)
        for _ in range(3):
            for client in clients:
                client.sendall(request(CHAT, body=ask()))
            for client in clients:
                self.assertIn(TOKEN, received(client, LAST))
        until(lambda: len(self.records()) == before + 3 * 32)
        served = self.served_since(before)
        self.assertEqual({count % 3 for count in served.values()}, {0})
        self.assertLessEqual(max(served.values()) / 3, 2 * 8)

    def served_since(self, before: int) -> Counter[object]:
        """Return how many requests each worker has served, without those of the first records."""
        return Counter(each["worker"] for each in self.records()[before:])

    def records(self) -> list[dict[str, object]]:
        """Return the records of the requests so far."""
        lines = map(json.loads, self.router.log.splitlines())
        return [each for each in lines if each.get("req_id") and "outcome" in each]

    def test_no_secret_is_visible(self) -> None:
        """Neither arguments nor environment of a worker name a setting."""
        for worker in self.workers:
            for file in ("cmdline", "environ"):
                with open(f"/proc/{worker}/{file}", "rb") as shown:
                    self.assertNotIn(b"BASE_URL", shown.read())

    def test_killed(self) -> None:
        """A killed worker cuts its own streams only, without a proper end, and is replaced."""
        clients = [self.stream() for _ in range(2 * self.count)]
        served, victim = self.serves(), self.workers[0]
        deaths = self.metric("worker_deaths_total")
        kill(victim, signal.SIGKILL)
        until(lambda: self.serves() == served + 1)
        self.platform.go_on.set()
        self.assertEqual([self.finished(each) for each in clients].count(False), 2)
        self.assertIn("was killed by SIGKILL; its connections are cut", self.router.log)
        until(lambda: self.metric("worker_deaths_total") == deaths + 1)
        self.assertEqual([self.ask(READYZ).status for _ in range(8)], [200] * 8)

    def test_reload(self) -> None:
        """SIGHUP reaches every worker."""
        keyless = request(CHAT, b"Connection: close", body=ask())
        path = self.folder / "router" / ".env"
        for text, status in (("REQUIRE_KEY=on\n", 401), ("REQUIRE_KEY=auto\n", 200)):
            path.write_text(text)
            self.platform.go_on.set()
            self.router.signals(signal.SIGHUP)
            until(partial(self.all_answer, keyless, status))

    def all_answer(self, sent: bytes, status: int) -> bool:
        """Return whether all workers answer a request with this status."""
        return all(self.ask(sent).status == status for _ in range(2 * self.count))

    def test_rolling_restart(self) -> None:
        """Under load, no request is refused or cut, on new connections and on old ones."""
        old, served, completed = self.workers, self.serves(), self.completed()
        long = [self.stream() for _ in range(self.count)]
        end, problems, counts = Event(), list[object](), [0, 0]
        clients = [
            Thread(target=self.keep_asking, args=(end, problems, counts, kept))
            for kept in (True, False, True, False)
        ]
        for each in clients:
            each.start()
        try:
            self.router.signals(signal.SIGUSR2)
            until(lambda: self.serves() == served + self.count)
            until(lambda: "All workers have been restarted" in self.router.log)
        finally:
            end.set()
            for each in clients:
                each.join()
        self.assertEqual(problems, [])
        self.assertGreater(min(counts), self.count)
        self.platform.go_on.set()
        self.assertTrue(all(map(self.finished, long)))
        until(lambda: not any(map(runs, old)))
        # Every worker has reported what it had counted before it ended.
        time.sleep(FRESHNESS)
        self.assertEqual(self.completed(), completed + len(long))

    def keep_asking(
        self, end: Event, problems: list[object], counts: list[int], kept: bool
    ) -> None:
        """Send short requests, on a connection that is kept or on one each."""
        sent = request(b"/readyz", *(() if kept else (b"Connection: close",)), method=b"GET")
        client: socket.socket | None = None
        while not end.is_set():
            try:
                if client is None:
                    client = self.client()
                client.sendall(sent)
                got = received(client, b"\r\n\r\n")
                head = got.partition(b"\r\n\r\n")[0]
                if not got.startswith(b"HTTP/1.1 200"):
                    problems.append(got)
                    return
                counts[kept] += 1
                size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                missing = size + len(head) + 4 - len(got)
                while missing > 0:
                    missing -= len(client.recv(missing)) or missing
                if b"connection: close" in head.lower():
                    client.close()
                    client = None
            except OSError as error:
                problems.append(error)
                return
        if client is not None:
            client.close()

    def test_held(self) -> None:
        """A held worker delays its clients for seconds only, and the log names it in time."""
        held = self.workers[0]
        kill(held, signal.SIGSTOP)
        try:
            self.assertEqual([self.ask(READYZ).status for _ in range(8)], [200] * 8)
            until(lambda: "has been held for 1" in self.router.log)
            self.assertIn(f"(process {held}) has been held", self.router.log)
        finally:
            kill(held, signal.SIGCONT)
        until(lambda: f"(process {held}) runs again" in self.router.log)


class StopTests(WorkersTestCase):
    """Two workers, which end with their parent."""

    count = 2

    def setUp(self) -> None:
        """Start for each test."""
        self.start()
        self.addCleanup(self.end)
        super().setUp()

    def test_terminated(self) -> None:
        """Streams in flight finish; then all processes are gone."""
        clients = [self.stream() for _ in range(6)]
        workers = self.workers
        self.router.signals(signal.SIGTERM)
        until(self.refuses)
        self.platform.go_on.set()
        self.assertTrue(all(map(self.finished, clients)))
        self.assertEqual(self.router.ends(), -signal.SIGTERM)
        self.assertFalse(any(map(runs, workers)))
        self.assertEqual(self.router.log.count("has drained and ended"), 2)
        self.assert_calm()

    def refuses(self) -> bool:
        """Return whether no connection is accepted any more."""
        try:
            self.client().close()
        except ConnectionRefusedError:
            return True
        return False

    def test_parent_dies(self) -> None:
        """Workers without a parent finish their streams, and end."""
        clients = [self.stream() for _ in range(4)]
        workers = self.workers
        kill(self.router.process.pid, signal.SIGKILL)
        self.assertEqual(self.router.process.wait(LONG), -signal.SIGKILL)
        until(lambda: self.router.log.count("The parent process has ended") == 2)
        self.assertTrue(all(map(runs, workers)))
        self.platform.go_on.set()
        self.assertTrue(all(map(self.finished, clients)))
        until(lambda: not any(map(runs, workers)))
        self.assert_calm()
