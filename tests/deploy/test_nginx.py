"""The real nginx with our configuration in front of a real router, on loopback."""

from __future__ import annotations

import re
import socket
import subprocess
from threading import Thread

from autopilot.http.limits import Limits
from autopilot.settings import Settings
from tests.deploy.manager import free_port
from tests.deploy.nginx import NginxTestCase
from tests.process.faults.cases import PLAIN
from tests.process.faults.upstreams import ONE, close_listener, says
from tests.process.processes import ROOT, received
from tests.unit.relay.upstreams import whole
from tests.unit.web.browsers import CHAT, ask, request
from tests.unit.web.responses import responses

CONFIGURATION = ROOT / "deploy" / "nginx" / "chutes-autopilot.conf"
_REQUESTS = 12


class NginxTests(NginxTestCase):
    """The configuration that is shipped."""

    def site(self, *routers: int) -> str:
        """Return the site with the ports and the certificate of this test."""
        text = CONFIGURATION.read_text("utf-8")
        for written, ours in (
            ("server 127.0.0.1:8080;", " ".join(f"server 127.0.0.1:{each};" for each in routers)),
            ("listen 443 ssl;", f"listen 127.0.0.1:{self.front} ssl;"),
            ("/etc/ssl/llm.example.com.crt", str(self.folder / "pem")),
            ("/etc/ssl/llm.example.com.key", str(self.folder / "pem")),
        ):
            self.assertEqual(text.count(written), 1, written)
            text = text.replace(written, ours)
        return text

    def test_valid(self) -> None:
        """`nginx -t` accepts the configuration, without a warning."""
        done = subprocess.run(
            (*self.command(self.site(8080)), "-t"), capture_output=True, text=True, check=False
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("[warn]", done.stderr)

    def test_times_and_sizes(self) -> None:
        """Its limits fit those of the router."""
        text, settings = CONFIGURATION.read_text("utf-8"), Settings()
        ((idle,), (silent,), (largest,)) = (
            re.findall(rf"^ *{name} (\d+)", text, re.MULTILINE)
            for name in ("keepalive_timeout", "proxy_read_timeout", "client_max_body_size")
        )
        self.assertLess(int(idle), Limits().idle_timeout)
        self.assertGreater(int(silent) * 1000, settings.total_deadline_ms)
        self.assertGreater(int(silent) * 1000, settings.upstream_unary_timeout_ms)
        self.assertGreater(int(largest) << 20, settings.max_request_bytes)

    def test_in_front_of_the_router(self) -> None:
        """Events pass one by one, a client's end is noticed, and operators' pages are hidden."""
        self.start(TRUST_PROXY_HEADERS="true", TRUSTED_PROXY_CIDRS="127.0.0.1")
        self.upstream.scripts["one"] = says(whole(200, PLAIN))
        self.start_nginx(self.site(self.port))
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

    def test_one_of_several_is_gone(self) -> None:
        """A router that accepts no connection costs no request; one that took it gets it once."""
        self.start()
        self.upstream.scripts["one"] = says(whole(200, PLAIN))
        dying = _Dying()
        self.addCleanup(dying.close)
        self.start_nginx(self.site(self.port, free_port(), dying.port))
        statuses = []
        for _ in range(_REQUESTS):
            client = self.before()
            body = ask(ONE, stream=False)
            client.sendall(request(CHAT, b"Connection: close", body=body))
            (answer,) = responses(received(client))
            statuses.append(answer.status)
        self.assertGreater(dying.requests, 0)
        self.assertEqual(statuses.count(502), dying.requests)
        self.assertEqual(statuses.count(200), len(self.upstream.asked))
        self.assertEqual(statuses.count(200) + statuses.count(502), _REQUESTS)


class _Dying:
    """A router that is killed whenever it has received a request."""

    def __init__(self) -> None:
        self.requests = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                received(connection, b"}")
                self.requests += 1

    def close(self) -> None:
        """Accept no more connections."""
        close_listener(self._socket)
