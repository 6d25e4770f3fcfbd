"""Tests of the service on passed sockets: listening on them, and handing them over."""

from __future__ import annotations

import os
import socket
from typing import Any

import trustme

from autopilot import AutopilotService, Settings
from autopilot.http.tls_server import TLSServerFactory
from autopilot.process.systemd.sockets import Sockets
from autopilot.web.site import AutopilotSite
from tests.unit.relay.upstreams import SSE, STOP, TOKEN, chunk, head, whole
from tests.unit.service.platforms import ServiceTestCase, settings
from tests.unit.web.browsers import Browser, ask, request


class PassedSocketsTests(ServiceTestCase):
    """A reactor in memory with real sockets."""

    def passed(self, family: socket.AddressFamily = socket.AF_INET) -> int:
        """Return the descriptor of a socket, which its receiver must close."""
        opened = socket.socket(family)
        self.addCleanup(opened.close)
        return os.dup(opened.fileno())

    def running_on(self, sockets: Sockets, **given: Any) -> AutopilotService:
        """Return a running service on these sockets with both feeds."""
        service = AutopilotService(settings(**given), reactor=self.reactor, passed=sockets)
        service.startService()
        self.platform.take()
        return service

    def arrives(self, number: int = 0) -> Browser:
        """Connect a client to a socket, in the order of listening."""
        return self.browse(self.reactor.adoptedPorts[number][2])

    def test_listens(self) -> None:
        """All sockets of either family serve one site; the settings' address is not used."""
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

    def test_tls(self) -> None:
        """With a certificate the sockets of the API speak TLS; those for operators do not."""
        leaf = trustme.CA().issue_cert("router.test")
        cert_file, key_file = self.mktemp(), self.mktemp()
        leaf.cert_chain_pems[0].write_to_path(cert_file)
        leaf.private_key_pem.write_to_path(key_file)
        sockets = Sockets(api=(self.passed(),), admin=(self.passed(),))
        service = self.running_on(sockets, tls_cert_file=cert_file, tls_key_file=key_file)
        api, admin = (each[2] for each in self.reactor.adoptedPorts)
        self.assertIsInstance(api, TLSServerFactory)
        self.assertIsInstance(api.wrappedFactory, AutopilotSite)
        self.assertIsInstance(admin, AutopilotSite)
        self.successResultOf(service.stopService())
        self.assert_at_rest()

    def test_operators(self) -> None:
        """A socket for operators serves them only, whatever the settings say."""
        for named in ("127.0.0.1:8082", "-"):
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
        """If only one kind of socket is passed, the other listens on the settings' address."""
        service = self.running_on(Sockets(admin=(self.passed(),)), listen_addr="127.0.0.1:8081")
        self.assertEqual([port for port, *_ in self.reactor.tcpServers], [8081])
        self.assertEqual(len(service.ports), 2)
        self.successResultOf(service.stopService())

    def test_only_the_api(self) -> None:
        """If only sockets of the API are passed, the operators' pages keep their usual address."""
        usual = Settings().admin_listen_addr
        service = self.running_on(Sockets(api=(self.passed(),)), admin_listen_addr=usual)
        listening = [(port, host) for port, _, _, host in self.reactor.tcpServers]
        self.assertEqual(listening, [(8081, "127.0.0.1")])
        self.successResultOf(service.stopService())

    def test_last_requests(self) -> None:
        """After the handover a connection gets one more response, with Connection: close."""
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
        """Without open requests the handover does not wait; streams drain as usual."""
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
