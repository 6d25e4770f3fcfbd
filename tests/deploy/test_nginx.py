"""The real nginx with our configuration in front of a real router, on loopback."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from threading import Semaphore
from unittest import SkipTest

from trustme import CA

from autopilot.http.limits import Limits
from autopilot.settings import Settings
from tests.deploy.manager import free_port
from tests.deploy.manifests import kubernetes
from tests.process.faults.cases import PLAIN, FaultTestCase
from tests.process.faults.upstreams import ONE, TWO, says
from tests.process.processes import PATIENCE, ROOT, received, until
from tests.unit.relay.upstreams import DONE, ROLE, TOKEN, chunk, head, whole
from tests.unit.web.browsers import CHAT, ask, request
from tests.unit.web.responses import Response, responses

CONFIGURATION = ROOT / "deploy" / "nginx" / "chutes-autopilot.conf"
_EVENTS = 3
_NAME = "llm.example.com"


def _program() -> str:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        raise SkipTest("nginx is not installed; `make system` installs it as root on Debian")
    return program


class NginxTests(FaultTestCase):
    """A client connects to nginx over TLS, nginx to the router, the router to a platform."""

    def setUp(self) -> None:
        """Write the configuration with the ports and the certificate of this test."""
        self.program = _program()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.front = free_port()
        authority = CA()
        authority.issue_cert(_NAME).private_key_and_cert_chain_pem.write_to_path(
            str(self.folder / "pem")
        )
        self.trust = ssl.create_default_context()
        authority.configure_trust(self.trust)

    def configure(self, router: int) -> tuple[str, ...]:
        """Write the main file, and return the command."""
        text = CONFIGURATION.read_text("utf-8")
        for written, ours in (
            ("server 127.0.0.1:8080;", f"server 127.0.0.1:{router};"),
            ("listen 443 ssl;", f"listen 127.0.0.1:{self.front} ssl;"),
            ("/etc/ssl/llm.example.com.crt", str(self.folder / "pem")),
            ("/etc/ssl/llm.example.com.key", str(self.folder / "pem")),
        ):
            self.assertEqual(text.count(written), 1, written)
            text = text.replace(written, ours)
        (self.folder / "site.conf").write_text(text)
        places = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"{each}_temp_path {self.folder}/{each};" for each in places)
        (self.folder / "main.conf").write_text(
            f"daemon off; master_process off; pid {self.folder}/pid;\n"
            f"error_log {self.folder}/errors; events {{}}\n"
            f"http {{ access_log off; {temporary} include {self.folder}/site.conf; }}\n"
        )
        return (self.program, "-p", str(self.folder), "-c", str(self.folder / "main.conf"))

    def test_valid(self) -> None:
        """`nginx -t` accepts the configuration, without a warning."""
        done = subprocess.run(
            (*self.configure(8080), "-t"), capture_output=True, text=True, check=False
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("[warn]", done.stderr)

    def test_times_and_sizes(self) -> None:
        """Its limits fit those of the router, and the Ingress says the same."""
        text, settings = CONFIGURATION.read_text("utf-8"), Settings()
        ((idle,), (silent,), (largest,)) = (
            re.findall(rf"^ *{name} (\d+)", text, re.MULTILINE)
            for name in ("keepalive_timeout", "proxy_read_timeout", "client_max_body_size")
        )
        self.assertLess(int(idle), Limits().idle_timeout)
        self.assertGreater(int(silent) * 1000, settings.total_deadline_ms)
        self.assertGreater(int(silent) * 1000, settings.upstream_unary_timeout_ms)
        self.assertGreater(int(largest) << 20, settings.max_request_bytes)
        noted = kubernetes().of_kind("Ingress")["metadata"]["annotations"]
        options = {name.rpartition("/")[2]: value for name, value in noted.items()}
        self.assertEqual(options.pop("proxy-body-size"), "9m")
        self.assertEqual(
            options,
            {"proxy-buffering": "off", "proxy-read-timeout": silent, "proxy-next-upstream": "off"},
        )

    def before(self) -> ssl.SSLSocket:
        """Return a connection to nginx."""
        raw = socket.create_connection(("127.0.0.1", self.front), timeout=PATIENCE)
        client = self.trust.wrap_socket(raw, server_hostname=_NAME)
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

    def test_in_front_of_the_router(self) -> None:
        """Events pass one by one, a client's end is noticed, and operators' pages are hidden."""
        self.start(TRUST_PROXY_HEADERS="true", TRUSTED_PROXY_CIDRS="127.0.0.1")
        self.upstream.scripts["one"] = says(whole(200, PLAIN))
        nginx = subprocess.Popen(self.configure(self.port), stderr=subprocess.DEVNULL)
        self.addCleanup(nginx.wait, PATIENCE)
        self.addCleanup(nginx.terminate)
        until(self._listens)
        self.assert_streams()
        self.assert_leaves()
        for path, status in (
            (b"/healthz", 200),
            (b"/v1/models", 200),
            (b"/metrics", 404),
            (b"/status", 404),
            (b"/readyz", 404),
            (b"/v1/../metrics", 404),
            (b"/v1/%2e%2e/status", 404),
        ):
            self.assertEqual((path, self.through(path).status), (path, status))

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
