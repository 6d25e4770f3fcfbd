"""Tests of the parent, whose workers are played by the test."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any

from autopilot.attestation import private_wire
from autopilot.attestation.private_wire import Acquire, Hello
from autopilot.feeds.polling import FEEDS
from autopilot.feeds.shared_snapshot import Assembly
from autopilot.http.tls_server import CertificateError
from autopilot.service.frames import Kind
from autopilot.service.parent import ParentService
from autopilot.state.events import Failed, decode, encode
from autopilot.wiring.role import Place
from tests.unit.attestation.fake_instances import FakeInstances, attested
from tests.unit.attestation.sealed import instance_key
from tests.unit.service.platforms import Platform, ServiceTestCase, settings
from tests.unit.service.processes import FakeProcess, ProcessReactor


class ParentTestCase(ServiceTestCase):
    """A parent of two workers."""

    reactor: ProcessReactor

    def setUp(self) -> None:
        """Make the reactor."""
        super().setUp()
        self.reactor = ProcessReactor()
        self.addCleanup(self.reactor.close)
        self.platform = Platform(self.reactor)
        self.lines: list[str] = []

    def parent(self, count: int = 2, **given: Any) -> ParentService:
        """Return a running parent."""
        self.log = self.observed()
        service = ParentService(
            settings(**given), count, reactor=self.reactor, write=self.lines.append
        )
        service.startService()
        self.reactor.run()
        self.platform.take()
        return service

    @property
    def workers(self) -> list[FakeProcess]:
        """The processes, in the order of their start."""
        return self.reactor.processes

    def all_ready(self) -> None:
        """Let all processes that run report that they serve."""
        for each in self.workers:
            if not each.gone:
                each.tells("Ready")

    def end(self, service: ParentService) -> None:
        """Stop, and let the processes end."""
        stopped = service.stopService()
        for _ in range(30):
            for each in self.workers:
                if not each.gone and any(text.startswith("Drain ") for text in each.told):
                    each.ends_with()
            self.reactor.advance(0.05)
        self.successResultOf(stopped)
        self.assert_at_rest()

    def logged(self, part: str) -> int:
        """Return how many messages contain ``part``."""
        return sum(part in str(event.get("log_format")) for event in self.log)


class StartTests(ParentTestCase):
    """What workers are started with."""

    def test_assignments(self) -> None:
        """Workers share the limits and the router's random values."""
        service = self.parent(max_concurrent_requests=101, admin_listen_addr="127.0.0.1:0")
        given = [each.assignments[-1] for each in self.workers]
        self.assertEqual([each.role.worker for each in given], [0, 1])
        self.assertEqual({each.role.place for each in given}, {Place.WORKER})
        self.assertEqual(len({each.role.pseudonym for each in given}), 1)
        self.assertEqual(len({each.role.hash_key for each in given}), 1)
        self.assertEqual([each.settings.max_concurrent_requests for each in given], [51, 50])
        self.assertEqual(sorted(each.slot for each in given), [0, 1])
        admin = self.reactor.ports[1].getHost()
        self.assertEqual({each.admin for each in given}, {((admin.host, admin.port),)})
        self.end(service)

    def test_sockets(self) -> None:
        """The parent listens, but its own site reads nothing of the API's port."""
        service = self.parent()
        (port,) = self.reactor.ports
        self.assertFalse(port.reading)
        self.assertEqual(len(service.ports), 1)
        with socket.create_connection((port.getHost().host, port.getHost().port)):
            self.end(service)
        self.assertTrue(port.closed)

    def test_ready(self) -> None:
        """It is ready when the first worker is, not before."""
        service = self.parent()
        ready: list[bool] = []
        service._when_ready(lambda: ready.append(True))
        self.assertEqual(ready, [])
        self.all_ready()
        self.assertEqual(ready, [True])
        self.assertEqual(service.supervisor.serving, 2)
        self.end(service)

    def test_private(self) -> None:
        """The parent alone asks for instances, on behalf of the worker whose request needs one."""
        service = self.parent(private="ask")
        assert service._parts.private is not None
        own = FakeInstances(attested(instance_key(), "id", "nonce"))
        self.patch(service._answers, "_instances", own)
        self.all_ready()
        first, second = self.workers
        wish = Acquire(7, "chute", b"client", "Bearer a", (), None)
        for each in (first, second):
            each.protocol.frames._handlers[Kind.PRIVATE](private_wire.encode(Hello()))
        handlers = service._askers[first.protocol]
        self.patch(handlers, "_instances", own)
        first.protocol.frames._handlers[Kind.PRIVATE](private_wire.encode(wish))
        answers = [private_wire.answer.decode(each) for each in first.frames(Kind.PRIVATE)]
        self.assertEqual([type(each).__name__ for each in answers], ["Standing", "Found"])
        self.assertEqual(len(second.frames(Kind.PRIVATE)), 1)
        first.protocol.frames._handlers[Kind.PRIVATE](private_wire.encode(wish))
        first.ends_with(number=9)
        self.assertTrue(own.asked[-1].answer.called)
        self.reactor.advance(0)
        self.end(service)

    def test_no_secret_is_visible(self) -> None:
        """Neither arguments nor environment of a worker hold a setting."""
        key = "k" * 43 + "="
        service = self.parent(sticky_hash_key=b"k" * 32)
        for each in self.workers:
            shown = repr((each.given["args"], each.given["env"]))
            self.assertNotIn("kkkk", shown)
            self.assertNotIn(key, shown)
            self.assertNotIn("BACKEND_BASE_URL", shown)
            self.assertEqual(each.assignments[-1].settings.sticky_hash_key, b"k" * 32)
        self.end(service)

    def test_certificate(self) -> None:
        """A certificate that workers could not use is reported before anything starts."""
        broken = replace(settings())
        object.__setattr__(broken, "tls_cert_file", __file__)
        object.__setattr__(broken, "tls_key_file", __file__)
        self.assertRaises(CertificateError, ParentService, broken, 2, reactor=self.reactor)

    def test_cannot_start(self) -> None:
        """A process that the system refuses leaves nothing behind, and is tried again."""
        self.reactor.refusing = True
        service = self.parent()
        self.assertEqual(self.workers, [])
        self.assertEqual(self.logged("could not be started"), 2)
        self.reactor.refusing = False
        self.reactor.advance(1)
        self.assertEqual(len(self.workers), 2)
        self.end(service)

    def test_dies_at_once(self) -> None:
        """A process that ends while it is being started is replaced, and holds up no stop."""
        self.reactor.stillborn = 1
        service = self.parent()
        self.reactor.advance(0)
        self.assertEqual(service.supervisor.deaths, 1)
        self.reactor.advance(0)
        self.assertEqual([each.gone for each in self.workers], [True, False, False])
        self.all_ready()
        self.assertEqual(service.supervisor.serving, 2)
        self.end(service)


class ChangeTests(ParentTestCase):
    """A parent whose workers serve."""

    def setUp(self) -> None:
        """Start."""
        super().setUp()
        self.router = self.parent()
        self.all_ready()

    def test_reload(self) -> None:
        """Live settings reach every worker, each with its share."""
        before = self.router.settings
        self.router.reload(replace(before, max_concurrent_requests=21, max_attempts=9))
        for each, share in zip(self.workers, (11, 10), strict=True):
            first, last = each.assignments
            self.assertEqual(last.settings.max_attempts, 9)
            self.assertNotEqual(first.settings.max_attempts, 9)
            self.assertEqual(last.settings.max_concurrent_requests, share)
        self.end(self.router)

    def test_death(self) -> None:
        """A worker that dies is replaced, in the same place and with a slot of its own."""
        self.workers[1].ends_with(number=9)
        self.reactor.advance(0)
        self.assertEqual(len(self.workers), 3)
        self.assertEqual(self.workers[2].assignments[0].role.worker, 1)
        self.assertEqual(self.router.supervisor.deaths, 1)
        (event,) = (each for each in self.log if "how" in each)
        self.assertEqual(event["how"], "was killed by SIGKILL")
        self.workers[2].ends_with(status=3)
        self.assertEqual(
            [each["how"] for each in self.log if "how" in each][1], "ended with status 3"
        )
        self.end(self.router)

    def test_rolling_restart(self) -> None:
        """The old worker drains once the new one is ready, and the pair of sockets ends first."""
        self.router._restart_workers()
        new = self.workers[2]
        self.assertEqual(self.workers[0].told, [])
        new.tells("Ready")
        self.assertEqual(self.workers[0].told, ["Drain False"])
        with socket.socket(
            socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, self.workers[0].descriptors.pop(5)
        ) as connections:
            self.assertEqual(connections.recv(1), b"")
        self.end(self.router)
        self.assertEqual(self.router.supervisor.deaths, 0)

    def test_held(self) -> None:
        """A worker without a heartbeat is killed after a minute; the other one stays."""
        slots = [each.slot(each.assignments[0].slot) for each in self.workers]
        slots[1].heartbeat = 1
        for second in range(65):
            slots[0].heartbeat = second + 1
            self.reactor.advance(1)
        self.assertEqual([each.signals for each in self.workers], [[], ["KILL"]])
        self.workers[1].gone = True
        self.router._processes.running[1].kill()
        self.workers[1].gone = False
        self.end(self.router)

    def test_stop(self) -> None:
        """Workers first report not to be ready, and drain once the ports have closed."""
        self.router.reload(replace(self.router.settings, drain_delay_ms=2000))
        stopped = self.router.stopService()
        self.assertEqual([each.told for each in self.workers], [["Draining"]] * 2)
        self.assertFalse(self.reactor.ports[0].closed)
        self.reactor.advance(2)
        self.assertTrue(self.reactor.ports[0].closed)
        self.assertEqual([each.told for each in self.workers], [["Draining", "Drain False"]] * 2)
        self.assertNoResult(stopped)
        self.workers[0].tells("Ready")  # on its way since before the drain
        self.router.end_drain()
        self.assertEqual(self.workers[0].told[2:], ["Drain True"])
        for each in self.workers:
            each.ends_with()
        for _ in range(30):
            self.reactor.advance(0.05)
        self.successResultOf(stopped)
        self.assert_at_rest()

    def test_shared_state(self) -> None:
        """What one worker learns reaches the other, and each worker that starts later."""
        batch = b"".join(
            encode([Failed((1, 7), 5, b"c" * 16, "acme/one", 20, b"s" * 16, b"", False)])
        )
        self.workers[0].tells("Events", batch=batch)
        self.assertEqual([len(each.told) for each in self.workers], [0, 1])
        self.assertEqual(self.workers[0].frames(Kind.STATE), [b""])
        self.router._restart_workers()
        self.reactor.advance(0)
        *known, end = self.workers[2].frames(Kind.STATE)
        self.assertEqual(end, b"")
        self.assertIn("failed", [each.kind for one in known for each in decode(one)])
        self.end(self.router)

    def test_feeds(self) -> None:
        """A worker that starts learns which feeds it is to wait for, and gets them."""
        self.router._restart_workers()
        first, later = self.workers[0], self.workers[2]
        self.assertEqual(first.assignments[0].awaited, ())
        self.assertEqual(set(later.assignments[0].awaited), set(FEEDS))
        while (pull := later.ends[1].producer) is not None:
            pull.resumeProducing()
        heads = [Assembly().add(each, 0.0) for each in later.frames(Kind.FEED) if each[:1] == b"B"]
        self.assertEqual(len(heads), len(FEEDS))
        self.end(self.router)

    def test_feeds_of_a_slow_start(self) -> None:
        """A worker that became ready without them, or with one, reads what was fetched meanwhile.

        One that has waited long enough serves.
        """
        self.router._restart_workers()
        slow = self.workers[2]
        one = bytes([0, len(FEEDS[0])]) + FEEDS[0].encode()
        missing = [
            f"Await {b''.join(bytes([0, len(each)]) + each.encode() for each in some).decode()}"
            for some in (sorted(FEEDS), [FEEDS[1]])
        ]
        for feeds in (b"", one):
            slow.tells("Ready", feeds=feeds)
        self.assertEqual([each for each in slow.told if each.startswith("Await")], missing)
        self.assertEqual(self.workers[0].told, [])
        slow.tells("Ready")
        self.assertEqual([each.split()[0] for each in self.workers[0].told], ["Drain"])
        self.end(self.router)

    def test_output(self) -> None:
        """Workers' lines are passed on whole, the last one also without its end."""
        first, second = (each.protocol for each in self.workers)
        first.childDataReceived(1, b"one\ntw")
        second.childDataReceived(2, b"other\n")
        first.childDataReceived(1, b"o\nrest")
        self.assertEqual(self.lines, ["one", "other", "two"])
        first.childDataReceived(2, b"x" * (1 << 20) + b"y")
        self.assertEqual(len(self.lines[-1]), (1 << 20) + 1)
        self.end(self.router)
        self.assertEqual(self.lines[-1], "rest")
