"""The real Caddy with our Caddyfile in front of a real router, on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from threading import Semaphore
from typing import Any
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.limits import Limits
from autopilot.settings import Settings, split_address
from autopilot.web.shared_rendering import FRESHNESS
from tests.deploy.manager import free_port
from tests.process.faults.cases import PLAIN, FaultTestCase
from tests.process.faults.upstreams import ONE, TWO, says
from tests.process.processes import PATIENCE, ROOT, received, until
from tests.unit.relay.upstreams import DONE, ROLE, TOKEN, chunk, head, whole
from tests.unit.web.browsers import CHAT, ask
from tests.unit.web.browsers import request as named_request
from tests.unit.web.responses import Response, responses

CADDYFILE = ROOT / "deploy" / "caddy" / "Caddyfile"
_EVENTS = 5

request = partial(named_request, host=b"127.0.0.1")
"""A request with the site's name; Caddy gives an empty response to other names."""


class Caddy:
    """A Caddy process that listens on the given port."""

    def __init__(self, folder: str, site: str, router: int) -> None:
        program = shutil.which("caddy")
        if program is None:
            raise SkipTest("caddy is not installed")
        os.makedirs(folder)
        home = Path(folder).absolute()
        self._log = contextlib.ExitStack()
        log = self._log.enter_context((home / "log").open("wb"))
        command = (program, "run", "--adapter", "caddyfile", "--config", str(CADDYFILE))
        self.process = subprocess.Popen(
            command,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "AUTOPILOT_SITE": site,
                "AUTOPILOT_ROUTER": f"127.0.0.1:{router}",
            },
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def close(self) -> None:
        """Stop the process."""
        self.process.terminate()
        self.process.wait(PATIENCE)
        self._log.close()


class CaddyTestCase(FaultTestCase):
    """A client connects to Caddy, Caddy to the router, the router to a platform."""

    def behind_caddy(self, **settings: str) -> None:
        """Start all three; ``front`` is Caddy's port."""
        self.start(**settings)
        self.upstream.scripts["one"] = says(whole(200, PLAIN))
        self.front = free_port()
        caddy = Caddy(self.mktemp(), f"http://127.0.0.1:{self.front}", self.port)
        self.addCleanup(caddy.close)
        until(self._listens)

    def _listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.front)) == 0

    @contextlib.contextmanager
    def before(self, source: str = "127.0.0.1") -> Iterator[socket.socket]:
        """Return a connection to Caddy from this address."""
        to, here = ("127.0.0.1", self.front), (source, 0)
        with socket.create_connection(to, timeout=PATIENCE, source_address=here) as client:
            yield client

    def through(self, sent: bytes, source: str = "127.0.0.1") -> Response:
        """Return the response to a request that is the last on its connection."""
        with self.before(source) as client:
            client.sendall(sent)
            (answer,) = responses(received(client))
        return answer

    def metric(self, name: str) -> float:
        """Return the value of a metric without labels, once an earlier rendering expired."""
        time.sleep(FRESHNESS)
        text = self.exchange(request(b"/metrics", method=b"GET")).body.decode()
        (line,) = (each for each in text.splitlines() if each.startswith(f"{name} "))
        return float(line.split()[1])


class StreamingTests(CaddyTestCase):
    """Streams through Caddy, without added delay."""

    def test_unbuffered(self) -> None:
        """The client receives each event before the platform sends the next."""
        self.behind_caddy()
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
        with self.before() as client:
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
        self.assertEqual(answer.value(b"content-type"), b"text/event-stream")

    def test_client_leaves(self) -> None:
        """A client that disconnects during a stream ends the upstream request."""
        self.behind_caddy()

        def lingers(connection: socket.socket) -> None:
            connection.sendall(head() + chunk(ROLE) + chunk(TOKEN))
            self.upstream.waits(connection)

        self.upstream.scripts["two"] = lingers
        with self.before() as client:
            client.sendall(request(CHAT, body=ask(TWO)))
            received(client, b'"content"')
        self.assertTrue(self.upstream.left.wait(PATIENCE))
        until(lambda: "client_gone" in self.router.log)


class ConfigurationTests(SynchronousTestCase):
    """The configuration that results from the variables."""

    def adapted(self, **variables: str) -> dict[str, Any]:
        """Return the adapted JSON configuration."""
        program = shutil.which("caddy")
        if program is None:
            raise SkipTest("caddy is not installed")
        command = (program, "adapt", "--adapter", "caddyfile", "--config", str(CADDYFILE))
        made = subprocess.run(command, env=variables, capture_output=True, check=True)
        config: dict[str, Any] = json.loads(made.stdout)
        return config

    def test_domain(self) -> None:
        """With a domain, Caddy listens on port 443 and manages the certificate."""
        (server,) = self.adapted(AUTOPILOT_SITE="llm.example.com")["apps"]["http"][
            "servers"
        ].values()
        self.assertEqual(server["listen"], [":443"])
        self.assertEqual(server["routes"][0]["match"], [{"host": ["llm.example.com"]}])
        self.assertNotIn("automatic_https", server)

    def test_alone(self) -> None:
        """Without a domain, Caddy listens on port 80 and connects to the router's compose name."""
        config = self.adapted()
        self.assertEqual(config["admin"], {"disabled": True})
        (server,) = config["apps"]["http"]["servers"].values()
        self.assertEqual(server["listen"], [":80"])
        port = split_address(Settings().listen_addr)[1]
        self.assertIn(f'{{"dial": "router:{port}"}}', json.dumps(server))

    def test_keep_alive(self) -> None:
        """Caddy closes an idle connection before the router does, so that no request is lost."""
        (seconds,) = re.findall(r"keepalive (\d+)s", CADDYFILE.read_text())
        self.assertLess(int(seconds), Limits().idle_timeout)


class OutsideTests(CaddyTestCase):
    """The paths that are public, and the client addresses that the router trusts."""

    def test_paths(self) -> None:
        """The API and the liveness page are public; operator pages are not, in any spelling."""
        self.behind_caddy()
        for path, status in (
            (b"/healthz", 200),
            (b"/v1/models", 200),
            (b"/metrics", 404),
            (b"/status", 404),
            (b"/status.json", 404),
            (b"/readyz", 404),
            (b"/", 404),
            (b"/v1/../metrics", 404),
            (b"/v1/%2e%2e/metrics", 404),
            (b"/v1//..//status", 404),
            (b"//metrics", 404),
        ):
            answer = self.through(request(path, b"Connection: close", method=b"GET"))
            self.assertEqual((path, answer.status), (path, status))
            self.assertNotIn(b"chutes_autopilot", answer.body)
            self.assertNotIn(b"utilization", answer.body)

    def test_addresses(self) -> None:
        """The router identifies clients without a key by the address that Caddy saw."""
        self.behind_caddy(
            TRUST_PROXY_HEADERS="true", TRUSTED_PROXY_CIDRS="127.0.0.1", STICKY_TTL_SECS="60"
        )
        for source, claimed, clients in (
            ("127.0.0.2", b"", 1),
            ("127.0.0.2", b"", 1),
            ("127.0.0.2", b"X-Forwarded-For: 192.0.2.1", 1),
            ("127.0.0.3", b"X-Forwarded-For: 127.0.0.2", 2),
        ):
            fields = [each for each in (claimed, b"Connection: close") if each]
            answer = self.through(
                request(CHAT, *fields, body=ask(f"{ONE},{TWO}", stream=False)), source
            )
            self.assertEqual(answer.status, 200)
            self.assertEqual(self.metric("chutes_autopilot_sticky_entries"), clients)
