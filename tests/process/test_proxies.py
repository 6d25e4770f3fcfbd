"""Feeds, streams and checks through a real proxy, tinyproxy, to a platform with and without TLS."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from unittest import SkipTest

import trustme
from twisted.trial.unittest import SynchronousTestCase

from tests.process.processes import PATIENCE, ROOT, Platform, Router, received, until
from tests.unit.relay.upstreams import DONE, STOP, TOKEN, chunk
from tests.unit.web.browsers import ask, request
from tests.unit.web.responses import responses

_CONFIGURATION = """\
Port {port}
Listen 127.0.0.1
Allow 127.0.0.1
Timeout 60
MaxClients 20
LogLevel Info
LogFile "{log}"
BasicAuth me hunter2
"""


def own_address() -> str:
    """Return an address of this machine that is not loopback, which no proxy is used for."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
            address = str(probe.getsockname()[0])
        except OSError:
            address = "127.0.0.1"
    if address.startswith("127."):
        raise SkipTest("this machine has no address but loopback")
    return address


class TinyproxyTests(SynchronousTestCase):
    """A proxy that wants a password, and the platform behind it."""

    def setUp(self) -> None:
        """Start the proxy and the platforms."""
        program = shutil.which("tinyproxy") or shutil.which("tinyproxy", path="/usr/sbin:/usr/bin")
        if program is None:
            raise SkipTest("tinyproxy is not installed here: `sudo make system` does it")
        host = own_address()
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(host).configure_cert(context)
        rest = chunk(STOP + DONE) + chunk(b"")
        self.secure, self.plain = Platform(rest, host, context), Platform(rest, host)
        self.addCleanup(self.secure.close)
        self.addCleanup(self.plain.close)
        self.secure_url = f"https://{host}:{self.secure.port}"
        self.plain_url = f"http://{host}:{self.plain.port}"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.log = folder / "proxy.log"
        path = folder / "tinyproxy.conf"
        path.write_text(_CONFIGURATION.format(port=self.port, log=self.log))
        proxy = subprocess.Popen((program, "-d", "-c", str(path)), stdout=subprocess.DEVNULL)
        self.addCleanup(proxy.wait)
        self.addCleanup(proxy.kill)
        until(self.listening)

    def listening(self) -> bool:
        """Return whether the proxy accepts connections."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def variables(self, backend: str, credentials: str = "me:hunter2@") -> dict[str, str]:
        """Return the settings of a router whose only way out is the proxy."""
        proxy = f"http://{credentials}127.0.0.1:{self.port}"
        return {
            "BACKEND_BASE_URL": backend,
            "MODELS_URL": f"{self.plain_url}/v1/models",
            "UTILIZATION_URL": f"{self.secure_url}/chutes/utilization",
            "API_BASE_URL": self.secure_url,
            "EVIDENCE_REFRESH_MS": "0",
            "UPSTREAM_CA_FILE": str(self.ca_file),
            "https_proxy": proxy,
            "HTTP_PROXY": proxy,
        }

    def router(self, backend: str, **variables: str) -> tuple[Router, int]:
        """Start a router; return its port once both feeds are there."""
        given = self.variables(backend) | variables
        router = Router(self.mktemp(), self.plain.port, **given)
        self.addCleanup(router.close)
        return router, router.port()

    def ready(self, port: int) -> bool:
        """Return whether both feeds have arrived."""
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
            client.sendall(request(b"/readyz", b"Connection: close", method=b"GET"))
            (response,) = responses(received(client))
        return response.status == 200

    def test_streams(self) -> None:
        """Feeds arrive, and each token of a stream passes the proxy before the next is sent."""
        for platform, url in ((self.secure, self.secure_url), (self.plain, self.plain_url)):
            router, port = self.router(url)
            until(lambda port=port: self.ready(port))  # type: ignore[misc]
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
                client.sendall(request(body=ask()))
                got = received(client, TOKEN)
                platform.go_on.set()
                got += received(client, b"0\r\n\r\n")
            (response,) = responses(got)
            self.assertEqual(response.body, TOKEN + STOP + DONE)
            self.assertTrue(response.whole)
            self.assertNotIn("hunter2", router.log)
            router.close()
        log = self.log.read_text()
        server = self.secure_url.removeprefix("https://")
        self.assertIn(f"CONNECT {server} HTTP/1.1", log)
        self.assertIn(f"GET {self.plain_url}/v1/models HTTP/1.1", log)
        self.assertIn(f"POST {self.plain_url}/v1/chat/completions HTTP/1.1", log)
        self.assertNotIn(f"POST {self.secure_url}", log)

    def test_exempt(self) -> None:
        """With NO_PROXY nothing reaches the proxy."""
        host = self.plain_url.removeprefix("http://").partition(":")[0]
        _, port = self.router(self.secure_url, NO_PROXY=f"example.test, {host}/32")
        until(lambda: self.ready(port))
        self.assertNotIn(host, self.log.read_text())

    def test_refused(self) -> None:
        """A proxy that refuses is a 502, whose reason the log has without the password.

        To a wrong password tinyproxy responds 401, which only in front of a tunnel is its own.
        """
        tunnel, forward = self.secure_url, self.plain_url
        for url, given in ((tunnel, "me:hunter3@"), (tunnel, ""), (forward, "")):
            variables = self.variables(url, given) | {"UNKNOWN_MODELS": "forward"}
            router = Router(self.mktemp(), self.plain.port, **variables)
            self.addCleanup(router.close)
            with socket.create_connection(("127.0.0.1", router.port()), timeout=PATIENCE) as client:
                client.sendall(
                    request(b"/v1/chat/completions", b"Connection: close", body=ask("x"))
                )
                (response,) = responses(received(client))
            self.assertEqual(response.error[::2], (502, "upstream_connect_error"))
            until(lambda router=router: "proxy_error" in router.log)  # type: ignore[misc]
            self.assertNotIn("hunter3", router.log)

    def test_check(self) -> None:
        """``autopilot check`` says which way each URL goes."""
        folder = self.mktemp()
        os.makedirs(folder)
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        environ |= self.variables(self.secure_url)
        environ["RESPONSES_BASE_URL"] = f"http://127.0.0.1:{self.port}"
        done = subprocess.run(
            (sys.executable, "-m", "autopilot", "check", "--timeout", "2"),
            cwd=folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
        )
        lines = done.stdout.splitlines()
        for server, way in (
            (self.secure_url, f"through the proxy 127.0.0.1:{self.port}"),
            (self.plain_url, f"through the proxy 127.0.0.1:{self.port}"),
            (environ["RESPONSES_BASE_URL"], "directly"),
        ):
            subject = server.partition("//")[2]
            found = [each for each in lines if f"tcp      {subject}: connected" in each]
            self.assertEqual(len(found), 1, done.stdout + done.stderr)
            (line,) = found
            self.assertTrue(line.endswith(way), line)
        tls = [each for each in lines if each.startswith("ok    tls")]
        self.assertEqual(len(tls), 1, done.stdout)
        self.assertIn("catalog", done.stdout)
        self.assertNotIn("hunter2", done.stdout + done.stderr)
