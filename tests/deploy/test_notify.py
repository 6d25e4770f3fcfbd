"""What a service manager hears from a real process, and the real systemd's part in passing."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from tempfile import mkdtemp
from unittest import SkipTest

from tests.deploy.manager import Hearer, free_port
from tests.deploy.test_activation import ActivationTestCase
from tests.process.faults.cases import FaultTestCase
from tests.process.processes import PATIENCE, Router, received, until
from tests.unit.web.browsers import request
from tests.unit.web.responses import responses


class NotifyTests(FaultTestCase):
    """Ready, alive, stopping, at both kinds of address."""

    def hearer(self, address: str) -> Hearer:
        """The manager's ear."""
        hearer = Hearer(address)
        self.addCleanup(hearer.close)
        return hearer

    def test_path(self) -> None:
        """At a path of the file system, whose names may not be long."""
        folder = mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        self.assert_told(self.hearer(f"{folder}/notify"))

    def test_abstract(self) -> None:
        """At a name that is in no file system."""
        self.assert_told(self.hearer(f"@autopilot-{os.getpid()}"))

    def assert_told(self, hearer: Hearer) -> None:
        """It is ready when it listens, though no feed is; stopping takes what the drain may."""
        router = Router(
            self.mktemp(),
            9,  # where nothing answers
            NOTIFY_SOCKET=hearer.address,
            DRAIN_DELAY_MS="60000",
            DRAIN_TIMEOUT_MS="200000",
        )
        self.addCleanup(router.close)
        self.assertEqual(hearer.next()["READY"], "1")
        self.port = router.port()
        self.assertEqual(self.exchange(request(b"/readyz", method=b"GET")).status, 503)
        router.signals(signal.SIGTERM)
        told = hearer.next()
        self.assertIsNone(router.process.poll())
        self.assertEqual(told["STOPPING"], "1")
        self.assertGreater(int(told["EXTEND_TIMEOUT_USEC"]), 260e6)
        self.assertNotIn("Could not notify", router.log)

    def test_watchdog(self) -> None:
        """Signs of life come for as long as the process lives, the drain included."""
        hearer = self.hearer(f"@autopilot-watched-{os.getpid()}")
        router = Router(
            self.mktemp(),
            9,
            NOTIFY_SOCKET=hearer.address,
            WATCHDOG_USEC="100000",
            DRAIN_DELAY_MS="60000",
        )
        self.addCleanup(router.close)
        hearer.until("READY")
        hearer.until("WATCHDOG")
        hearer.until("WATCHDOG")
        router.signals(signal.SIGTERM)
        hearer.until("STOPPING")
        hearer.until("WATCHDOG")
        self.assertIsNone(router.process.poll())

    def test_nobody_there(self) -> None:
        """A manager that does not listen is worth a line, not the service."""
        self.start(NOTIFY_SOCKET="/nonexistent/notify")
        self.assertIn("Could not notify the service manager of READY=1", self.router.log)
        self.assertNotIn("Traceback", self.router.log)


class RealActivationTests(ActivationTestCase):
    """The program that ships with systemd for trying socket activation."""

    def test_socket_activate(self) -> None:
        """It opens the socket, waits for a client, and becomes the router that serves it."""
        activate = shutil.which("systemd-socket-activate")
        if activate is None:
            raise SkipTest("systemd-socket-activate is not installed")
        port = free_port()
        router = _Activated(self.mktemp(), self.upstream.port, activate, port)
        self.addCleanup(router.close)
        client = self._connected(port)
        client.sendall(request(b"/healthz", b"Connection: close", method=b"GET"))
        (answer,) = responses(received(client))
        self.assertEqual(answer.body, b"ok\n")
        self.assertEqual(router.port(), port)

    def _connected(self, port: int) -> socket.socket:
        """A connection, as soon as the program has opened its socket."""
        client = socket.socket()
        self.addCleanup(client.close)
        client.settimeout(PATIENCE)
        until(lambda: client.connect_ex(("127.0.0.1", port)) == 0)
        return client


class _Activated(Router):
    """A router behind ``systemd-socket-activate``, which hands on only what it is told to."""

    def __init__(self, folder: str, platform_port: int, activate: str, port: int) -> None:
        kept = ("PYTHONPATH", "BACKEND_BASE_URL", "MODELS_URL", "UTILIZATION_URL", "API_BASE_URL")
        self.launcher = (activate, f"--listen=127.0.0.1:{port}", *(f"-E{name}" for name in kept))
        super().__init__(folder, platform_port)
