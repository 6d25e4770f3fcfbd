"""The service on sockets that were passed: what it listens on, and how it lets go of them."""

from __future__ import annotations

import os
import socket
from typing import Any

from autopilot import AutopilotService
from autopilot.process.systemd.sockets import Sockets
from tests.unit.relay.upstreams import SSE, STOP, TOKEN, chunk, head, whole
from tests.unit.service.platforms import ServiceTestCase, settings
from tests.unit.web.browsers import Browser, ask, request


class PassedSocketsTests(ServiceTestCase):
    """A reactor in memory, and real sockets that it is given."""

    def passed(self, family: socket.AddressFamily = socket.AF_INET) -> int:
        """The descriptor of a socket, which whoever it is passed to has to close."""
        opened = socket.socket(family)
        self.addCleanup(opened.close)
        return os.dup(opened.fileno())

    def running_on(self, sockets: Sockets, **given: Any) -> AutopilotService:
        """A service on these sockets that has both feeds."""
        service = AutopilotService(settings(**given), reactor=self.reactor, passed=sockets)
        service.startService()
        self.platform.take()
        return service

    def arrives(self, number: int = 0) -> Browser:
        """A client of a socket, in the order of listening."""
        return self.browse(self.reactor.adoptedPorts[number][2])

    def test_listens(self) -> None:
        """On all sockets with one site, of each family, and on nothing of the settings."""
        four, six = self.passed(), self.passed(socket.AF_INET6)
        service = self.running_on(Sockets(api=(four, six)))
        adopted = self.reactor.adoptedPorts
        self.assertEqual(
            [each[:2] for each in adopted], [(four, socket.AF_INET), (six, socket.AF_INET6)]
        )
        self.assertIs(adopted[0][2], adopted[1][2])
        self.assertEqual(self.reactor.tcpServers, [])
        self.successResultOf(service.stopService())
        for each in (four, six):  # the reactor's port has a duplicate
            self.assertRaises(OSError, os.fstat, each)
        self.assert_at_rest()

    def test_operators(self) -> None:
        """A socket for operators is theirs alone, whether or not the settings name an address."""
        for named in ("127.0.0.1:8082", None):
            self.reactor.adoptedPorts.clear()
            sockets = Sockets(api=(self.passed(),), admin=(self.passed(),))
            service = self.running_on(sockets, admin_listen_addr=named)
            for number, status in ((0, 404), (1, 200)):
                browser = self.arrives(number)
                browser.sends(request(b"/metrics", method=b"GET"))
                self.assertEqual(browser.response.status, status)
                browser.leaves()
            self.assertEqual(self.reactor.tcpServers, [])
            self.successResultOf(service.stopService())

    def test_one_of_each(self) -> None:
        """What is not passed is listened for at its address."""
        service = self.running_on(Sockets(admin=(self.passed(),)), listen_addr="127.0.0.1:8081")
        self.assertEqual([port for port, *_ in self.reactor.tcpServers], [8081])
        self.assertEqual(len(service.ports), 2)
        self.successResultOf(service.stopService())

    def test_last_requests(self) -> None:
        """After the port is let go, a connection has one more answer; then it is told to go."""
        service = self.running_on(Sockets(api=(self.passed(),)))
        late, kept, half, silent = (self.arrives() for _ in range(4))
        kept.sends(request(b"/healthz", method=b"GET"))
        half.sends(request(body=ask())[:-3])
        stopped = service.stopService()
        self.assertEqual(service.ports, [])
        self.assertFalse(late.closed or kept.closed or silent.closed)
        half.sends(request(body=ask())[-3:])
        late.sends(request(body=ask(stream=False)))
        kept.sends(request(b"/healthz", method=b"GET"))
        self.platform.take()
        for wire in self.platform.wires[-2:]:
            wire.says(whole(200, b"{}"))
        for each in (half, late, kept):
            self.assertEqual(each.got[-1].status, 200)
            self.assertEqual(each.got[-1].value(b"connection"), b"close")
            self.assertTrue(each.closed)
            each.leaves()
        self.reactor.pump([0.05] * 19)
        self.assertFalse(silent.closed)
        self.reactor.advance(0.05)
        self.assertTrue(silent.closed)
        silent.leaves()
        self.successResultOf(stopped)
        self.assert_at_rest()

    def test_nobody_to_wait_for(self) -> None:
        """Streams under way drain as ever; with nothing else open nothing is waited for."""
        service = self.running_on(Sockets(api=(self.passed(),)))
        streaming = self.arrives()
        streaming.sends(request(body=ask()))
        self.platform.wire.says(head(200, SSE), chunk(TOKEN))
        stopped = service.stopService()
        self.platform.wire.says(chunk(STOP), chunk(b""))
        self.assertTrue(streaming.response.whole and streaming.closed)
        streaming.leaves()
        self.successResultOf(stopped)
        self.assert_at_rest()
