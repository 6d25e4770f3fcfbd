"""Tests of the stub's command line and process."""

from __future__ import annotations

import ast
import contextlib
import http.client
import io
import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

import stub_backend
from stub_backend import SCENARIOS, StubOptions
from stub_backend.command import host_and_port, parse

ROOT = Path(stub_backend.__file__).parent.parent


class OptionTests(SynchronousTestCase):
    """The parsing of arguments."""

    def test_defaults(self) -> None:
        """Without arguments the options are the defaults."""
        self.assertEqual(parse([]), StubOptions())

    def test_units(self) -> None:
        """Milliseconds become seconds."""
        options = parse(["--token-delay-ms", "250", "--no-scenario-models", "--models", "3"])
        self.assertEqual((options.token_delay, options.models), (0.25, 3))
        self.assertFalse(options.scenario_models)

    def test_refused(self) -> None:
        """Invalid values end with status 2 and a message."""
        for bad in (
            ["--models", "-1"],
            ["--tokens", "1"],
            ["--listen", "9100"],
            ["--delay-ms", "x"],
        ):
            heard = io.StringIO()
            with contextlib.redirect_stderr(heard):
                error_response = self.assertRaises(SystemExit, parse, bad)
            self.assertEqual(error_response.code, 2)
            self.assertIn(bad[0], heard.getvalue())

    def test_addresses(self) -> None:
        """Host and port are split, with IPv6 in brackets."""
        self.assertEqual(host_and_port("127.0.0.1:0"), ("127.0.0.1", 0))
        self.assertEqual(host_and_port("[::1]:80"), ("::1", 80))

    def test_help_lists_all(self) -> None:
        """The help has a line for each scenario."""
        heard = io.StringIO()
        with patch.dict("os.environ", {"COLUMNS": "100"}), contextlib.redirect_stdout(heard):
            self.assertRaises(SystemExit, parse, ["--help"])
        for scenario in SCENARIOS.values():
            line = rf"^  {re.escape(scenario.model)} +{re.escape(scenario.summary)}$"
            self.assertRegex(heard.getvalue(), re.compile(line, re.MULTILINE))


class AloneTests(SynchronousTestCase):
    """The imports of the stub."""

    def test_no_router(self) -> None:
        """No module of the stub imports the router."""
        for path in (ROOT / "stub_backend").rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                self.assertFalse([each for each in names if each.startswith("autopilot")], path)


class ProcessTests(SynchronousTestCase):
    """The stub as a process, on real sockets."""

    def setUp(self) -> None:
        """Start the stub, and read its address."""
        command = [sys.executable, "-m", "stub_backend", "--listen", "127.0.0.1:0"]
        command += ["--token-delay-ms", "1", "--time-scale", "0.001", "--huge-bytes", "5000000"]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self._stop)
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        found = re.fullmatch(r"stub backend listening on http://127\.0\.0\.1:(\d+)\n", said)
        assert found is not None, said
        self.port = int(found[1])

    def _stop(self) -> None:
        self.process.kill()
        self.process.communicate()

    def _last_aborted(self, client: http.client.HTTPConnection) -> bool:
        time.sleep(0.02)
        client.request("GET", "/stub/log")
        aborted: bool = json.loads(client.getresponse().read())["requests"][-1]["aborted"]
        return aborted

    def connection(self, model: str, *, stream: bool = True) -> socket.socket:
        """Return a socket on which a call was sent."""
        body = json.dumps({"model": model, "stream": stream}).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        wire = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        self.addCleanup(wire.close)
        wire.sendall(head.encode() + body)
        return wire

    def everything(self, wire: socket.socket) -> tuple[bytes, bool]:
        """Return all bytes until the end, and whether that was a reset."""
        heard = b""
        try:
            while data := wire.recv(65_536):
                heard += data
        except ConnectionResetError:
            return heard, True
        return heard, False

    def test_resets_and_closes(self) -> None:
        """The client sees RST and FIN, before and after bytes."""
        self.assertEqual(self.everything(self.connection("stub/reset")), (b"", True))
        self.assertEqual(self.everything(self.connection("stub/close")), (b"", False))
        heard, was_reset = self.everything(self.connection("stub/reset-mid-stream"))
        self.assertTrue(was_reset)
        self.assertIn(b"word1", heard)
        heard, was_reset = self.everything(self.connection("stub/drop-mid-stream"))
        self.assertFalse(was_reset)
        self.assertFalse(heard.endswith(b"0\r\n\r\n"))

    def test_huge_and_signal(self) -> None:
        """A huge response is complete, a disconnect is detected, and SIGTERM ends with status 0."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        self.addCleanup(client.close)
        client.request("POST", "/v1/chat/completions", json.dumps({"model": "stub/huge"}))
        self.assertGreater(len(client.getresponse().read()), 5_000_000)
        leaving = self.connection("stub/huge")
        leaving.recv(1000)
        leaving.close()
        self.assertTrue(any(self._last_aborted(client) for _ in range(100)))
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.process.wait(timeout=5), 0)
