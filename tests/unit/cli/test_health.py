"""Tests of ``autopilot health``: its output for each response of /readyz, and for none."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import ssl
import subprocess
import sys
from threading import Thread
from typing import NamedTuple

import trustme
from twisted.trial.unittest import SynchronousTestCase

from autopilot.cli import health, main
from autopilot.cli.entry import parser
from tests.unit.cli.commands import ROOT


class Said(NamedTuple):
    """The result of a run."""

    status: int
    output: str
    complaint: str


class HealthTests(SynchronousTestCase):
    """Runs the sub-command against one response."""

    def setUp(self) -> None:
        """Listen, with an empty environment and folder."""
        self.server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.server.close)
        self.port = self.server.getsockname()[1]
        self.environ = {"LISTEN_ADDR": f"0.0.0.0:{self.port}"}
        self.patch(os, "environ", self.environ)
        folder = self.mktemp()
        os.makedirs(folder)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder)
        self.asked = b""

    def said(self, answer: bytes | None, *arguments: str) -> Said:
        """Run it against a server that sends the response, or nothing."""
        answering = Thread(target=self.answer, args=(answer,), daemon=True)
        if answer is not None:
            answering.start()
        output, complaint = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(complaint):
            status = self.run_with(arguments) if arguments else main(["health"])
        if answer is not None:
            answering.join()
        return Said(status, output.getvalue(), complaint.getvalue())

    def run_with(self, arguments: tuple[str, ...]) -> int:
        """Run it with arguments, as the full command line does in a reactor."""
        given = parser().parse_args(["health", *arguments])
        return health.ask(given.address, given.timeout, in_json=given.json, env_file=given.env_file)

    def answer(self, answer: bytes) -> None:
        """Accept one connection, read the request, and send the response."""
        connection, _ = self.server.accept()
        with connection:
            self.asked = connection.recv(4096)
            connection.sendall(answer)

    def test_ready(self) -> None:
        """A 200 means ready; one request goes to LISTEN_ADDR."""
        said = self.said(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        self.assertEqual(said, (0, "ready\n", ""))
        self.assertTrue(self.asked.startswith(b"GET /readyz HTTP/1.1\r\n"), self.asked)

    def test_not_ready(self) -> None:
        """Other responses mean not ready; only a router's own code is repeated."""
        code = '{"error": {"code": "stale_snapshot"}}'
        for body, reason in (
            (code, "stale_snapshot"),
            (code.replace("stale", "\\u001b[31m"), "status 503"),
            ("[" * 60_000, "status 503"),
            ('{"error": "x"}', "status 503"),
            ("", "status 503"),
        ):
            said = self.said(b"HTTP/1.1 503 Not ready\r\n\r\n" + body.encode())
            self.assertEqual(said, (1, "", f"not ready: {reason}\n"))

    def test_nobody(self) -> None:
        """A refused, silent or non-HTTP connection means not ready, in one line."""
        self.assertEqual(self.said(b"hello\r\n").status, 1)
        said = self.said(None, "--timeout", "0.05", "--address", f"127.0.0.1:{self.port}")
        self.assertEqual(said, (1, "", "not ready: no answer within 0.05 s\n"))
        self.server.close()
        self.assertEqual(self.said(None), (1, "", "not ready: Connection refused\n"))

    def test_json(self) -> None:
        """`--json` prints the result as an object."""
        for status, reason in ((200, None), (500, "status 500")):
            said = self.said(b"HTTP/1.1 %d x\r\n\r\n" % status, "--json")
            self.assertEqual(json.loads(said.output), {"ready": not reason, "reason": reason})
            self.assertEqual(said.status, 1 if reason else 0)

    def test_where(self) -> None:
        """The environment wins over .env, and both are optional."""
        with open(".env", "w", encoding="utf-8") as file:
            file.write(f"LISTEN_ADDR=127.0.0.1:{self.port}\n")
        self.environ["LISTEN_ADDR"] = ""
        self.assertEqual(self.said(b"HTTP/1.1 200 OK\r\n\r\n").status, 0)
        self.environ["LISTEN_ADDR"] = "nowhere"
        said = self.said(None)
        self.assertEqual(said, (2, "", "autopilot: LISTEN_ADDR: 'nowhere' is not HOST:PORT\n"))
        self.assertEqual(self.said(None, "--address", "x").status, 2)

    def test_named_file(self) -> None:
        """`--env-file` is read instead of .env, and has to be a file."""
        with open("named.env", "w", encoding="utf-8") as file:
            file.write(f"LISTEN_ADDR=127.0.0.1:{self.port}\n")
        with open(".env", "w", encoding="utf-8") as file:
            file.write("LISTEN_ADDR=nowhere\n")
        del self.environ["LISTEN_ADDR"]
        good = b"HTTP/1.1 200 OK\r\n\r\n"
        self.assertEqual(self.said(good, "--env-file", "named.env"), (0, "ready\n", ""))
        self.assertEqual(self.said(good, "--env-file=named.env").status, 0)
        for name, what in (
            ("nope", "does not exist"),
            (".", "is a directory"),
            ("", "does not exist"),
        ):
            said = self.said(None, "--env-file", name)
            self.assertEqual(said, (2, "", f"autopilot: --env-file: {name!a} {what}\n"))

    def test_tls(self) -> None:
        """With a certificate in the settings it uses TLS, whatever name the certificate has."""
        leaf = trustme.CA().issue_cert("router.test")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        leaf.configure_cert(context)
        plain, self.server = self.server, context.wrap_socket(self.server, server_side=True)
        self.addCleanup(self.server.close)
        good, address = b"HTTP/1.1 200 OK\r\n\r\n", f"127.0.0.1:{self.port}"
        self.environ["TLS_CERT_FILE"] = "/etc/router/cert.pem"
        self.assertEqual(self.said(good), (0, "ready\n", ""))
        self.assertTrue(self.asked.startswith(b"GET /readyz HTTP/1.1\r\n"), self.asked)
        del self.environ["TLS_CERT_FILE"]
        self.assertEqual(self.said(good, "--address", f"https://{address}").status, 0)
        plain.close()

    def test_schemes(self) -> None:
        """A scheme in front of the address wins over the settings; only two are known."""
        self.environ["TLS_CERT_FILE"] = "/etc/router/cert.pem"
        good, address = b"HTTP/1.1 200 OK\r\n\r\n", f"127.0.0.1:{self.port}"
        self.assertEqual(self.said(good, "--address", f"http://{address}").status, 0)
        for bad in (f"ftp://{address}", f"://{address}", "https://", f"http://{address}/"):
            said = self.said(None, "--address", bad)
            self.assertEqual(said, (2, "", f"autopilot: --address: {bad!a} is not HOST:PORT\n"))

    def test_bad_timeouts(self) -> None:
        """An invalid timeout gives one error line."""
        for text in ("0", "-1", "nan", "inf", "soon"):
            with self.assertRaises(SystemExit) as raised:
                self.said(None, "--timeout", text)
            self.assertEqual(raised.exception.code, 2)


class ImportTests(SynchronousTestCase):
    """The imports of the command."""

    def test_few_imports(self) -> None:
        """It runs every few seconds, so it imports neither Twisted nor anything built on it.

        Neither does it with the file of a container's settings.
        """
        program = (
            "import sys; from autopilot.cli import main; main(['health'])\n"
            "main(['health', '--env-file=/dev/null'])\n"
            "print([each for each in ('twisted', 'treq', 'msgspec') if each in sys.modules])"
        )
        environ = {"PYTHONPATH": str(ROOT), "LISTEN_ADDR": "127.0.0.1:1"}
        command = (sys.executable, "-c", program)
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout, "[]\n", done.stderr)
