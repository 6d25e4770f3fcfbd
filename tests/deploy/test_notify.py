"""Notifications of a real process to a service manager, including the real systemd."""

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
    """Ready, watchdog and stopping, at both kinds of address."""

    def manager(self, address: str) -> Hearer:
        """Return the manager's socket."""
        manager = Hearer(address)
        self.addCleanup(manager.close)
        return manager

    def test_path(self) -> None:
        """A path in the file system, which must be short."""
        folder = mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        self.assert_notified(self.manager(f"{folder}/notify"))

    def test_abstract(self) -> None:
        """An abstract address; with workers, the parent notifies once the first one serves."""
        router = self.assert_notified(self.manager(f"@autopilot-{os.getpid()}"), WORKERS="2")
        self.assertIn(") serves", router.log)

    def assert_notified(self, manager: Hearer, **variables: str) -> Router:
        """Check that the router is ready without feeds, and extends its timeout for the drain."""
        router = Router(
            self.mktemp(),
            9,  # where no server responds
            NOTIFY_SOCKET=manager.address,
            DRAIN_DELAY_MS="60000",
            DRAIN_TIMEOUT_MS="200000",
            **variables,
        )
        self.addCleanup(router.close)
        self.assertEqual(manager.next()["READY"], "1")
        self.port = router.port()
        self.assertEqual(self.exchange(request(b"/readyz", method=b"GET")).status, 503)
        router.signals(signal.SIGTERM)
        told = manager.next()
        self.assertIsNone(router.process.poll())
        self.assertEqual(told["STOPPING"], "1")
        self.assertGreater(int(told["EXTEND_TIMEOUT_USEC"]), 260e6)
        self.assertNotIn("Could not notify", router.log)
        return router

    def test_watchdog(self) -> None:
        """Watchdog notifications continue until the process exits, even during the drain."""
        manager = self.manager(f"@autopilot-watched-{os.getpid()}")
        router = Router(
            self.mktemp(),
            9,
            NOTIFY_SOCKET=manager.address,
            WATCHDOG_USEC="100000",
            DRAIN_DELAY_MS="60000",
        )
        self.addCleanup(router.close)
        manager.until("READY")
        manager.until("WATCHDOG")
        manager.until("WATCHDOG")
        router.signals(signal.SIGTERM)
        manager.until("STOPPING")
        manager.until("WATCHDOG")
        self.assertIsNone(router.process.poll())

    def test_nobody_there(self) -> None:
        """A missing manager is logged, and does not stop the service."""
        self.start(NOTIFY_SOCKET="/nonexistent/notify")
        self.assertIn("Could not notify the service manager of READY=1", self.router.log)
        self.assertNotIn("Traceback", self.router.log)


class RealActivationTests(ActivationTestCase):
    """systemd's tool for testing socket activation."""

    def test_socket_activate(self) -> None:
        """The tool opens the socket, waits for a client, and executes the router."""
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
        """Connect as soon as the tool has opened its socket."""
        client = socket.socket()
        self.addCleanup(client.close)
        client.settimeout(PATIENCE)
        until(lambda: client.connect_ex(("127.0.0.1", port)) == 0)
        return client


class _Activated(Router):
    """A router behind ``systemd-socket-activate``, which passes only selected variables."""

    def __init__(self, folder: str, platform_port: int, activate: str, port: int) -> None:
        kept = ("PYTHONPATH", "BACKEND_BASE_URL", "MODELS_URL", "UTILIZATION_URL", "API_BASE_URL")
        self.launcher = (activate, f"--listen=127.0.0.1:{port}", *(f"-E{name}" for name in kept))
        super().__init__(folder, platform_port)
