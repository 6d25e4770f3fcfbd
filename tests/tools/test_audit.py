"""The audit of the lock, against a stand-in of the OSV service on loopback."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from tools.audit import CLEAN, NOT_ASKED, VULNERABLE, main

_LOCK = f"""\
# made by a test
one==1.0 \\
    --hash=sha256:{"0" * 64}
two==2.0 ; python_version < '4' \\
    --hash=sha256:{"1" * 64} \\
    --hash=sha256:{"2" * 64}
"""
_FOUND = {"results": [{}, {"vulns": [{"id": "B-2"}, {"id": "A-1"}]}]}


class _Service(HTTPServer):
    """Answers the question about all packages, and those about single vulnerabilities."""

    status = 200
    answer = b""
    details: dict[str, object]
    asked: object = None
    path = ""
    pace = 0.0
    hurry: threading.Event


class _Handler(BaseHTTPRequestHandler):
    server: _Service

    def do_POST(self) -> None:
        """Keep the question, and answer; a slow service waits after each byte."""
        length = int(self.headers["Content-Length"])
        self.server.asked = json.loads(self.rfile.read(length))
        self.server.path = self.path
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        pace, hurry = self.server.pace, self.server.hurry
        step = 1 if pace else len(self.server.answer) or 1
        with contextlib.suppress(OSError):
            for at in range(0, len(self.server.answer), step):
                self.wfile.write(self.server.answer[at : at + step])
                hurry.wait(pace)

    def do_GET(self) -> None:
        """Tell about one vulnerability."""
        told = self.server.details.get(self.path)
        self.send_response(404 if told is None else 200)
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output of the tests as it is."""


class AuditTestCase(SynchronousTestCase):
    """A service on a free port, beside a lock of two packages."""

    def setUp(self) -> None:
        """Serve; no proxy that this machine may have stands between."""
        self.service = _Service(("127.0.0.1", 0), _Handler)
        self.service.details = {}
        self.service.hurry = threading.Event()
        serving = threading.Thread(
            target=self.service.serve_forever, kwargs={"poll_interval": 0.01}
        )
        serving.start()
        self.addCleanup(self.service.server_close)
        self.addCleanup(serving.join)
        self.addCleanup(self.service.shutdown)
        self.addCleanup(self.service.hurry.set)
        direct = patch.dict(os.environ, {"no_proxy": "*"})
        direct.start()
        self.addCleanup(direct.stop)
        self.url = f"http://127.0.0.1:{self.service.server_port}"
        self.lock = Path(self.mktemp())
        self.lock.write_text(_LOCK, "utf-8")

    def audit(self, answer: object, *options: str) -> tuple[int, str]:
        """Run it, and give its status and what it said."""
        self.service.answer = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = main([str(self.lock), "--osv-url", self.url, *options])
        return status, said.getvalue()

    def assert_no_verdict(self, answer: object, *options: str) -> str:
        """It says that nothing was checked and why, and nothing else."""
        status, said = self.audit(answer, *options)
        self.assertEqual(status, NOT_ASKED, f"{answer!r:.80}: {said}")
        self.assertRegex(said, r"\ANOT CHECKED: [^\n]+\n\Z")
        self.assertNotIn("no known", said)
        return said


class VerdictTests(AuditTestCase):
    """What a service that answers leads to."""

    def test_clean(self) -> None:
        """Nothing is known, and the question named name and version of each."""
        status, said = self.audit({"results": [{}, {"vulns": []}]})
        self.assertEqual(status, CLEAN)
        self.assertIn("2 packages, no known vulnerability", said)
        self.assertEqual(self.service.path, "/v1/querybatch")
        queries = [
            {"package": {"name": "one", "ecosystem": "PyPI"}, "version": "1.0"},
            {"package": {"name": "two", "ecosystem": "PyPI"}, "version": "2.0"},
        ]
        self.assertEqual(self.service.asked, {"queries": queries})

    def test_vulnerable(self) -> None:
        """The package is named with its version, what is known of it and what fixes it."""
        ranges = [
            {"type": "GIT", "events": [{"introduced": "0"}, {"fixed": "0fba9"}]},
            {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.1"}]},
        ]
        self.service.details = {
            "/v1/vulns/B-2": {
                "summary": "Reads too much",
                "affected": [{"package": {"name": "Two"}, "ranges": ranges}],
            }
        }
        status, said = self.audit(_FOUND)
        self.assertEqual(status, VULNERABLE)
        self.assertIn("two 2.0: A-1\ntwo 2.0: B-2; fixed in 2.1: Reads too much\n", said)
        self.assertNotIn("one 1.0", said)

    def test_withdrawn(self) -> None:
        """What was taken back is none; details that make no sense take nothing back."""
        gone = {"withdrawn": "2026-01-01T00:00:00Z"}
        self.service.details = {"/v1/vulns/A-1": gone, "/v1/vulns/B-2": {"affected": [None]}}
        status, said = self.audit(_FOUND)
        self.assertEqual((status, said.splitlines()[:-1]), (VULNERABLE, ["two 2.0: B-2"]))
        self.service.details = {"/v1/vulns/A-1": gone, "/v1/vulns/B-2": gone}
        self.assertEqual(self.audit(_FOUND)[0], CLEAN)
        more = {"vulns": [{"id": "A-1"}], "next_page_token": "more"}
        self.assert_no_verdict({"results": [{}, more]})


class NoVerdictTests(AuditTestCase):
    """Each way of having no answer."""

    def test_unreachable(self) -> None:
        """No server listens."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
            said = self.assert_no_verdict({"results": [{}, {}]}, "--osv-url", nobody)
        self.assertIn("no connection: ", said)

    def test_refused(self) -> None:
        """The service has an error, or wants something else; its answer would be a clean one."""
        for status in (400, 403, 429, 500, 503):
            self.service.status = status
            said = self.assert_no_verdict({"results": [{}, {}]})
            self.assertIn(f"status {status}", said)

    def test_slow(self) -> None:
        """It stops, or goes on a byte at a time; it is not waited for until all would be well."""
        for pace in (60.0, 0.05):
            began = time.monotonic()
            self.service.pace = pace
            self.assert_no_verdict({"results": [{}, {}], "more": 40 * "."}, "--timeout", "0.5")
            self.assertLess(time.monotonic() - began, 30.0)
            self.service.hurry.set()
            self.service.hurry = threading.Event()

    def test_garbage(self) -> None:
        """What is not a full answer is never taken for a clean one."""
        garbage: tuple[object, ...] = (
            b"<html>",
            b"\xff\xfe",
            b"",
            b"[" * 100_000,
            [],
            {},
            {"results": None},
            {"results": [{}]},
            {"results": [{}, {}, {}]},
            {"results": [{}, None]},
            {"results": [{}, {"vulns": [{}]}]},
            {"results": [{}, {"vulns": None}]},
            {"results": [{}, {"next_page_token": "more"}]},
        )
        for answer in garbage:
            self.assert_no_verdict(answer)

    def test_nothing_to_ask_about(self) -> None:
        """A lock that cannot be read to its end is an error of its own, before anyone is asked."""
        for lock in ("", "# nothing\n", "one==1.0\n", f"{_LOCK}-e .\n", "one>=1\n"):
            self.lock.write_text(lock, "utf-8")
            with self.assertRaises(SystemExit) as ended:
                self.audit({"results": []})
            self.assertEqual(ended.exception.code, 2)
        self.assertIsNone(self.service.asked)

    def test_wrong_options(self) -> None:
        """They differ from having no answer."""
        for wrong in (
            ("--osv-url", "file:///etc/passwd"),
            ("--osv-url", "http://["),
            ("--timeout", "0"),
        ):
            with self.assertRaises(SystemExit) as ended:
                self.audit({}, *wrong)
            self.assertEqual(ended.exception.code, 2)
