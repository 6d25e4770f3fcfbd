"""The API over TLS, with a real client: streams, limits, a new certificate on SIGHUP, the drain."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import trustme
from twisted.trial.unittest import SynchronousTestCase

from tests.process.processes import PATIENCE, ROOT, Platform, Router, received, until
from tests.unit.relay.upstreams import DONE, STOP, TOKEN, chunk
from tests.unit.web.browsers import CHAT, ask, request
from tests.unit.web.responses import Response, responses

_LIMIT = 1_000_000
_ANSWER = chunk(STOP + DONE) + chunk(b"")


class TLSTestCase(SynchronousTestCase):
    """An authority that clients trust, and a pair of files for the router."""

    def setUp(self) -> None:
        """Write the files."""
        self.authority = trustme.CA()
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.cert_file, self.key_file = folder / "cert.pem", folder / "key.pem"
        self.write(self.authority.issue_cert("localhost"))

    def write(self, leaf: trustme.LeafCert) -> None:
        """Replace both files."""
        self.cert_file.write_bytes(b"".join(each.bytes() for each in leaf.cert_chain_pems))
        self.key_file.write_bytes(leaf.private_key_pem.bytes())
        self.key_file.chmod(0o600)

    def started(self, rest: bytes = _ANSWER, **variables: str) -> tuple[Platform, Router, int]:
        """Start a platform and a router; return them and the router's port."""
        platform = Platform(rest)
        self.addCleanup(platform.close)
        files = {"TLS_CERT_FILE": str(self.cert_file), "TLS_KEY_FILE": str(self.key_file)}
        router = Router(self.mktemp(), platform.port, **(files | variables))
        self.addCleanup(router.close)
        return platform, router, router.port()

    def client(self, port: int) -> ssl.SSLSocket:
        """Connect, and verify the router."""
        context = ssl.create_default_context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        self.authority.configure_trust(context)
        plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        client = context.wrap_socket(plain, server_hostname="localhost")
        self.addCleanup(client.close)
        return client

    def get(self, port: int, path: bytes) -> Response:
        """One page."""
        client = self.client(port)
        client.sendall(request(path, b"Connection: close", method=b"GET"))
        (response,) = responses(received(client))
        return response

    def ready(self, port: int) -> None:
        """Wait until both feeds are there."""
        until(lambda: self.get(port, b"/readyz").status == 200)

    def serial(self, client: ssl.SSLSocket) -> str:
        """Return the serial number of the router's certificate."""
        found: Any = client.getpeercert()
        return str(found["serialNumber"])


class StreamTests(TLSTestCase):
    """Requests and responses."""

    def test_stream(self) -> None:
        """A token reaches the client before the next is sent, and the connection is kept."""
        platform, router, port = self.started()
        self.ready(port)
        client = self.client(port)
        self.assertEqual(client.selected_alpn_protocol(), "http/1.1")
        client.sendall(request(body=ask()))
        got = received(client, TOKEN)
        platform.go_on.set()
        got += received(client, b"0\r\n\r\n")
        client.sendall(request(b"/healthz", method=b"GET"))
        stream, page = responses(got + received(client, b"ok\n"))
        self.assertEqual(stream.body, TOKEN + STOP + DONE)
        self.assertTrue(stream.whole)
        self.assertEqual(page.status, 200)
        self.assertIn(f" on https://127.0.0.1:{port} (API)", router.log)
        self.assertNotIn("Traceback", router.log)

    def test_pipeline(self) -> None:
        """Pipelined requests are answered in their order, and the last one may close."""
        _, _, port = self.started()
        client = self.client(port)
        paths = (b"/healthz", b"/nothing", b"/healthz")
        pieces = [request(path, method=b"GET") for path in paths]
        pieces.append(request(b"/v1/models", b"Connection: close", method=b"GET"))
        client.sendall(b"".join(pieces))
        found = [each.status for each in responses(received(client))]
        self.assertEqual(found[:3], [200, 404, 200])
        self.assertEqual(len(found), 4)

    def test_refused_early(self) -> None:
        """A client that keeps sending a body that is too large can still read why."""
        _, _, port = self.started(MAX_REQUEST_BYTES=str(_LIMIT))
        for head in (b"Content-Length: %d" % (50 * _LIMIT), b"Transfer-Encoding: chunked"):
            client = self.client(port)
            client.sendall(request(CHAT, head))
            with contextlib.suppress(OSError):
                for _ in range(30):
                    client.sendall(chunk(b"x" * 65536))
            (response,) = responses(received(client))
            self.assertEqual(response.error[::2], (413, "request_too_large"))

    def test_client_leaves(self) -> None:
        """A client that leaves takes its request with it."""
        _, _, port = self.started()
        self.ready(port)
        client = self.client(port)
        client.sendall(request(body=ask()))
        received(client, TOKEN)
        self.assertIn(b"_requests_active 1.0", self.get(port, b"/metrics").body)
        client.close()
        until(lambda: b"_requests_active 0.0" in self.get(port, b"/metrics").body)

    def test_client_leaves_unread(self) -> None:
        """So does one that leaves behind pipelined bytes that the router does not read yet."""
        _, _, port = self.started()
        self.ready(port)
        client = self.client(port)
        client.sendall(request(body=ask()))
        received(client, TOKEN)
        client.sendall(request(b"/healthz", method=b"GET") * 1000)
        client.close()
        until(lambda: b"_requests_active 0.0" in self.get(port, b"/metrics").body)

    def test_slow_reader(self) -> None:
        """A client that does not read stops the upstream, not the router, and loses nothing."""
        event = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"x" * 900)
        events = 20_000
        platform, router, port = self.started(chunk(event * 40) * (events // 40) + _ANSWER)
        self.ready(port)
        client = self.client(port)
        client.sendall(request(body=ask()))
        got = received(client, TOKEN)
        before = _memory(router)
        platform.go_on.set()
        time.sleep(1.0)  # in which all of it would arrive
        self.assertLess(_memory(router) - before, 8_000_000)
        self.assertEqual(self.get(port, b"/healthz").status, 200)
        pieces = [got]
        while not pieces[-1].endswith(b"\r\n0\r\n\r\n"):
            pieces.append(client.recv(1 << 20))
            self.assertNotEqual(pieces[-1], b"")
        (stream,) = responses(b"".join(pieces))
        self.assertTrue(stream.whole)
        self.assertEqual(len(stream.body), len(TOKEN + STOP + DONE) + events * len(event))

    def test_limits(self) -> None:
        """The time for a head covers the handshake; an idle connection is closed in its time."""
        _, router, port = self.started(CLIENT_HEADER_TIMEOUT_MS="300", CLIENT_IDLE_TIMEOUT_MS="300")
        hello = bytes.fromhex("16030102000100")
        for sent in (b"", hello):
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as silent:
                silent.sendall(sent)
                with contextlib.suppress(ConnectionResetError):
                    self.assertEqual(received(silent), b"")
        client = self.client(port)
        client.sendall(b"GET / HTTP/1.1\r\n")
        (response,) = responses(received(client))
        self.assertEqual(response.status, 408)
        idle = self.client(port)
        idle.sendall(request(b"/healthz", method=b"GET"))
        (response,) = responses(received(idle))
        self.assertEqual(response.status, 200)
        self.assertNotIn("Traceback", router.log)

    def test_plain_text(self) -> None:
        """HTTP without TLS gets no response, and its connection is closed."""
        _, router, port = self.started()
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as plain:
            plain.sendall(request(b"/healthz", method=b"GET"))
            self.assertNotIn(b"HTTP", received(plain))
        self.assertEqual(self.get(port, b"/healthz").status, 200)
        self.assertNotIn("Traceback", router.log)

    def test_operators(self) -> None:
        """The operators' port stays plain, and the health command knows which port is which."""
        _, router, port = self.started(ADMIN_LISTEN_ADDR="127.0.0.1:0")
        self.ready(port)
        (found,) = re.findall(r" and http://127\.0\.0\.1:(\d+) \(operators\)", router.log)
        with socket.create_connection(("127.0.0.1", int(found)), timeout=PATIENCE) as plain:
            plain.sendall(request(b"/metrics", b"Connection: close", method=b"GET"))
            (response,) = responses(received(plain))
        self.assertEqual(response.status, 200)
        for address, certificate, status in (
            (f"127.0.0.1:{port}", str(self.cert_file), 0),
            (f"https://127.0.0.1:{port}", "", 0),
            (f"http://127.0.0.1:{found}", str(self.cert_file), 0),
            (f"127.0.0.1:{found}", str(self.cert_file), 1),
            (f"127.0.0.1:{port}", "", 1),
        ):
            environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
            command = (sys.executable, "-m", "autopilot", "health", "--address", address)
            done = subprocess.run(
                command, env=environ | {"TLS_CERT_FILE": certificate}, capture_output=True
            )
            self.assertEqual(done.returncode, status, (address, done))


class LifeTests(TLSTestCase):
    """Start, reload and stop."""

    def test_replaced(self) -> None:
        """On SIGHUP new connections get the new certificate; open ones go on."""
        _, router, port = self.started()
        before = self.client(port)
        self.write(self.authority.issue_cert("localhost"))
        router.signals(signal.SIGHUP)
        until(lambda: "TLS_CERT_FILE and TLS_KEY_FILE were read again" in router.log)
        self.assertNotEqual(self.serial(self.client(port)), self.serial(before))
        before.sendall(request(b"/healthz", method=b"GET"))
        self.assertIn(b"200 OK", received(before, b"ok\n"))

    def test_not_replaced(self) -> None:
        """A pair with a fault is one line in the log, and the former stays in use."""
        _, router, port = self.started()
        before = self.serial(self.client(port))
        good = self.key_file.read_bytes()
        for key, line in (
            (b"", "Settings not changed: TLS_KEY_FILE: the file holds no key in PEM"),
            (
                self.authority.issue_cert("localhost").private_key_pem.bytes(),
                "Settings not changed: TLS_KEY_FILE: the key is not that of the first certificate",
            ),
        ):
            self.key_file.write_bytes(key)
            router.signals(signal.SIGHUP)
            until(lambda line=line: line in router.log)  # type: ignore[misc]
            self.assertEqual(self.serial(self.client(port)), before)
        self.key_file.write_bytes(good)
        self.write(self.authority.issue_cert("localhost"))
        router.signals(signal.SIGHUP)
        until(lambda: self.serial(self.client(port)) != before)
        self.assertNotIn("Traceback", router.log)

    def test_drain(self) -> None:
        """On SIGTERM idle connections close in good order, and a stream finishes."""
        platform, router, port = self.started()
        self.ready(port)
        client = self.client(port)
        client.sendall(request(body=ask()))
        got = received(client, TOKEN)
        idle = self.client(port)
        idle.sendall(request(b"/healthz", method=b"GET"))
        received(idle, b"ok\n")
        router.signals(signal.SIGTERM)
        self.assertEqual(idle.recv(1), b"")  # an abrupt end would be an exception
        platform.go_on.set()
        (response,) = responses(got + received(client))
        self.assertEqual(response.body, TOKEN + STOP + DONE)
        self.assertTrue(response.whole)
        client.close()
        idle.close()
        self.assertEqual(router.ends(), -signal.SIGTERM)
        self.assertNotIn("Traceback", router.log)

    def test_interrupted(self) -> None:
        """What does not finish in time ends with an error and without a clean end."""
        _, router, port = self.started(DRAIN_TIMEOUT_MS="100")
        self.ready(port)
        client = self.client(port)
        client.sendall(request(body=ask()))
        got = received(client, TOKEN)
        router.signals(signal.SIGTERM)
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                got += data
        (response,) = responses(got)
        self.assertIn(b"upstream_stream_interrupted", response.body)
        self.assertFalse(response.whole)
        self.assertEqual(router.ends(), -signal.SIGTERM)

    def test_bad_settings(self) -> None:
        """Half a pair, or one that does not fit, is one line and status 1."""
        other = self.key_file.with_name("other.pem")
        self.authority.issue_cert("localhost").private_key_pem.write_to_path(str(other))
        for cert_file, key_file, line in (
            (
                str(self.cert_file),
                "",
                "TLS_CERT_FILE: needs TLS_KEY_FILE; give the file of its key",
            ),
            (
                str(self.cert_file),
                str(other),
                "TLS_KEY_FILE: the key is not that of the first certificate in TLS_CERT_FILE",
            ),
        ):
            router = Router(self.mktemp(), 1, TLS_CERT_FILE=cert_file, TLS_KEY_FILE=key_file)
            self.addCleanup(router.close)
            self.assertEqual(router.ends(), 1)
            self.assertEqual(router.log, f"autopilot: {line}\n")


def _memory(router: Router) -> int:
    """Return the bytes of memory that the router's process uses."""
    pages = int(Path(f"/proc/{router.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
