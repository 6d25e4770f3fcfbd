"""The real nginx in front of a real router, on loopback."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from threading import Semaphore
from unittest import SkipTest

from trustme import CA

from tests.deploy.manager import free_port
from tests.process.faults.cases import FaultTestCase
from tests.process.faults.upstreams import ONE, TWO
from tests.process.processes import PATIENCE, received, until
from tests.unit.relay.upstreams import DONE, ROLE, TOKEN, chunk, head
from tests.unit.web.browsers import CHAT, ask, request
from tests.unit.web.responses import Response, responses

NAME = "llm.example.com"
_EVENTS = 3


def _program() -> str:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        raise SkipTest("nginx is not installed; `make system` installs it as root on Debian")
    return program


class NginxTestCase(FaultTestCase):
    """A client connects to nginx over TLS, nginx to the router, the router to a platform."""

    def setUp(self) -> None:
        """Make the folder, the port and the certificate of this test."""
        self.program = _program()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.front = free_port()
        authority = CA()
        authority.issue_cert(NAME).private_key_and_cert_chain_pem.write_to_path(
            str(self.folder / "pem")
        )
        self.trust = ssl.create_default_context()
        authority.configure_trust(self.trust)

    def command(self, site: str) -> tuple[str, ...]:
        """Write the files of nginx with this site, and return the command."""
        (self.folder / "site.conf").write_text(site)
        places = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"{each}_temp_path {self.folder}/{each};" for each in places)
        (self.folder / "main.conf").write_text(
            f"daemon off; master_process off; pid {self.folder}/pid;\n"
            f"error_log {self.folder}/errors; events {{}}\n"
            f"http {{ access_log off; {temporary} include {self.folder}/site.conf; }}\n"
        )
        return (self.program, "-p", str(self.folder), "-c", str(self.folder / "main.conf"))

    def start_nginx(self, site: str) -> None:
        """Start nginx with this site, and wait until it listens."""
        nginx = subprocess.Popen(self.command(site), stderr=subprocess.DEVNULL)
        self.addCleanup(nginx.wait, PATIENCE)
        self.addCleanup(nginx.terminate)
        until(self._listens)

    def before(self) -> ssl.SSLSocket:
        """Return a connection to nginx."""
        raw = socket.create_connection(("127.0.0.1", self.front), timeout=PATIENCE)
        client = self.trust.wrap_socket(raw, server_hostname=NAME)
        self.addCleanup(client.close)
        return client

    def through(self, path: bytes) -> Response:
        """Return the response to a GET that is the last on its connection."""
        client = self.before()
        client.sendall(request(path, b"Connection: close", method=b"GET"))
        (answer,) = responses(received(client))
        return answer

    def _listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.front)) == 0

    def assert_streams(self) -> None:
        """Check that the client receives each event before the platform sends the next."""
        arrived = Semaphore(0)

        def one_by_one(connection: socket.socket) -> None:
            connection.sendall(head() + chunk(ROLE))
            for _ in range(_EVENTS):
                if not arrived.acquire(timeout=PATIENCE):
                    return
                connection.sendall(chunk(TOKEN))
            arrived.acquire(timeout=PATIENCE)
            connection.sendall(chunk(DONE) + chunk(b""))

        self.upstream.scripts["two"] = one_by_one
        client = self.before()
        # The first event has no content, so the router would hold it back by default.
        fields = (b"X-Autopilot-Commit: byte", b"Connection: close")
        client.sendall(request(CHAT, *fields, body=ask(TWO)))
        got = received(client, b'"role"')
        for number in range(1, _EVENTS + 1):
            arrived.release()
            while got.count(b'"content"') < number:
                data = client.recv(65536)
                self.assertTrue(data, got)
                got += data
        arrived.release()
        got += received(client)
        (answer,) = responses(got)
        self.assertEqual(answer.body, ROLE + TOKEN * _EVENTS + DONE)
        self.assertTrue(answer.whole)

    def assert_leaves(self) -> None:
        """Check that a client that disconnects during a stream ends the upstream request."""

        def lingers(connection: socket.socket) -> None:
            connection.sendall(head() + chunk(ROLE) + chunk(TOKEN))
            self.upstream.waits(connection)

        self.upstream.scripts["two"] = lingers
        client = self.before()
        client.sendall(request(CHAT, body=ask(f"{TWO},{ONE}")))
        received(client, b'"content"')
        client.close()
        self.assertTrue(self.upstream.left.wait(PATIENCE))
        until(lambda: "client_gone" in self.router.log)
