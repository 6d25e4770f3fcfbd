"""curl, unary and streamed, with errors, large bodies, and disconnects."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
from html import unescape
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

from tests.process.serving import ServedTestCase
from tests.rigs.smoke.waiting import until
from tests.sdk.private import SLOW_STUB

_PATIENCE = 60.0
_LIMIT = 4_000_000
_TOLD = ("--write-out", "%{stderr}%{json}")
# curl's exit statuses.
_HTTP_ERROR, _PARTIAL, _TIMED_OUT = 22, 18, 28


class CurlTests(ServedTestCase):
    """One stub and one router for all tests."""

    routers: ClassVar = {"router": {"MAX_REQUEST_BYTES": str(_LIMIT)}}
    stub_options: ClassVar = SLOW_STUB

    @classmethod
    def reason_to_skip(cls) -> str | None:
        """Return why these tests cannot run, or None."""
        return None if shutil.which("curl") else "there is no curl here; apt-get install curl"

    def setUp(self) -> None:
        """Create a new client."""
        super().setUp()
        self.url = f"{self.address()}/v1/chat/completions"
        self.always = (
            *("curl", "--silent", "--show-error", "--no-buffer", "--noproxy", "*"),
            *("--header", f"Authorization: Bearer fixture-{uuid4()}"),
            *("--header", "Content-Type: application/json"),
        )

    def curl(self, *arguments: str, given: bytes | None = None) -> tuple[int, str, dict[str, Any]]:
        """Run curl; return its status, output and error output."""
        done = subprocess.run(
            (*self.always, *_TOLD, *arguments),
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
        told = done.stderr.decode().partition("{")
        return done.returncode, done.stdout.decode(), json.loads("".join(told[1:]).split("\n")[0])

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start curl; the test kills it at its end if necessary."""
        command = (*self.always, *arguments)
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(running.communicate)
        self.addCleanup(running.kill)
        return running

    def body(self, size: int) -> Path:
        """Return a file with a request of this size."""
        start, end = b'{"model":"stub/ok","messages":[{"role":"user","content":"', b'"}]}'
        path = Path(self.mktemp())
        path.write_bytes(start + b"x" * (size - len(start) - len(end)) + end)
        return path

    def left(self, *models: str) -> None:
        """Wait until the platform has recorded the disconnects of these models' callers."""

        def aborted() -> bool:
            return sorted(each["model"] for each in self.stub.calls() if each["aborted"]) == [
                *models
            ]

        until("the platform learns that its clients left", aborted)

    def test_plain(self) -> None:
        """A complete answer; HTTP/2 is not used, and HTTP/1.0 ends with the connection."""
        for version in ("--http1.1", "--http1.0", "--http2"):
            status, said, told = self.curl(version, "--data", _asks("stub/ok"), self.url)
            self.assertEqual((status, told["http_code"]), (0, 200), version)
            self.assertIn("Served by stub/ok.", said)
            self.assertEqual(json.loads(said)["choices"][0]["finish_reason"], "stop")

    def test_start_page(self) -> None:
        """The lines on the router's own page work as they are in a shell."""
        start = f"{self.address()}/"
        status, page, _ = self.curl("--header", "Accept: text/html", start)
        code = page.partition("<h2>curl</h2><pre><code>")[2].partition("</code>")[0]
        done = subprocess.run(
            ("sh", "-c", unescape(code)),
            env={**os.environ, "CHUTES_API_KEY": f"fixture-{uuid4()}", "no_proxy": "*"},
            capture_output=True,
            timeout=_PATIENCE,
            check=True,
        )
        self.assertEqual(status, 0)
        said = json.loads(done.stdout)["choices"][0]["message"]["content"]
        self.assertTrue(said.startswith("Served by "), said)

    def test_streamed(self) -> None:
        """Events, the terminator, and the model in the head."""
        models = "stub/503-cold,stub/ok"
        status, said, told = self.curl("--include", "--data", _asks(models, stream=True), self.url)
        self.assertEqual((status, told["http_code"]), (0, 200))
        self.assertIn("\r\nx-chutes-autopilot-selected: stub/ok\r\n", said)
        self.assertIn("\r\nx-chutes-autopilot-attempts: 2\r\n", said)
        self.assertTrue(said.endswith("\n\ndata: [DONE]\n\n"), said[-200:])

    def test_comments(self) -> None:
        """Comments come before a slow answer; the rest, and curl's status, are as without them."""
        asked = _asks("stub/503-cold,stub/slow-head", stream=True)
        bridged = ("--header", "X-Autopilot-Keepalive: 1000", "--data", asked)
        status, said, told = self.curl(*bridged, self.url)
        self.assertEqual((status, told["http_code"]), (0, 200))
        self.assertTrue(said.startswith(": keep-alive\n\n"), said[:200])
        events = said.replace(": keep-alive\n\n", "")
        self.assertTrue(events.startswith("data: {"), events[:200])
        self.assertIn("Served by stub/slow-head", events)
        self.assertTrue(events.endswith("\n\ndata: [DONE]\n\n"), events[-200:])

    def test_events_come_one_by_one(self) -> None:
        """The first event is printed before the model has finished."""
        running = self.begin("--data", _asks("stub/stall-mid-stream", stream=True), self.url)
        assert running.stdout is not None
        while b"Served by stub/stall-mid-stream" not in running.stdout.readline():
            self.assertIsNone(running.poll())
        (call,) = self.stub.calls()
        self.assertFalse(call["ended"])

    def test_connection_is_kept(self) -> None:
        """A unary answer, a stream and an error share one connection."""
        models = (("stub/ok", False), ("stub/ok", True), ("no/such", False))
        connected = ("--write-out", "%{stderr}%{num_connects} ", "--output", "/dev/null")
        own: list[str] = []
        for model, stream in models:
            own += ("--next", *self.always[1:], *connected)
            own += ("--data", _asks(model, stream=stream), self.url)
        done = subprocess.run(
            ("curl", *own[1:]), capture_output=True, timeout=_PATIENCE, check=True
        )
        self.assertEqual(done.stderr.split(), [b"1", b"0", b"0"])

    def test_errors(self) -> None:
        """A script can distinguish errors of the router and the model by status and code."""
        for model, http, word in (
            ("stub/okk", 400, '"code":"unknown_model"'),
            ("stub/401", 401, "Invalid token."),
            ("stub/429-edge-html", 429, "429 Too Many Requests"),
            ("stub/503-cold", 503, "No instances available"),
        ):
            for stream in (False, True):
                status, said, told = self.curl(
                    "--fail-with-body", "--data", _asks(model, stream=stream), self.url
                )
                self.assertEqual((status, told["http_code"]), (_HTTP_ERROR, http), model)
                self.assertIn(word, said)

    def test_broken_stream(self) -> None:
        """A broken stream ends with an error event and an error of curl."""
        asked = _asks("stub/drop-mid-stream,stub/ok", stream=True)
        status, said, _ = self.curl("--data", asked, self.url)
        self.assertEqual(status, _PARTIAL)
        self.assertIn('"code":"upstream_stream_interrupted"', said.rsplit("\n\n", 2)[-2])
        self.assertNotIn("[DONE]", said)

    def test_retries(self) -> None:
        """Retries of curl are ordinary requests for the router."""
        self.stub.script("stub/ok", ["503-cold"])
        status, said, told = self.curl("--retry", "2", "--data", _asks("stub/ok"), self.url)
        self.assertEqual((status, told["http_code"]), (0, 200))
        self.assertIn("Served by stub/ok.", said)
        self.assertEqual(len(self.stub.calls()), 2)

    def test_out_of_time(self) -> None:
        """When curl times out, the upstream call ends too, before and after the first event."""
        models = ("stub/hang-head", "stub/stall-mid-stream")
        limited = ("--max-time", "1.5", "--data")
        running = [self.begin(*limited, _asks(each, stream=True), self.url) for each in models]
        for each in running:
            each.communicate(timeout=_PATIENCE)
        self.assertEqual([each.returncode for each in running], [_TIMED_OUT] * 2)
        self.left(*models)

    def test_killed(self) -> None:
        """Ctrl-C and SIGKILL during a stream."""
        for number in (signal.SIGINT, signal.SIGKILL):
            self.stub.reset()
            running = self.begin("--data", _asks("stub/stall-mid-stream", stream=True), self.url)
            assert running.stdout is not None
            while b"Served by" not in running.stdout.readline():
                self.assertIsNone(running.poll())
            running.send_signal(number)
            self.left("stub/stall-mid-stream")

    def test_large_body(self) -> None:
        """A large body waits for 100 Continue and arrives complete, in chunks too."""
        path = self.body(_LIMIT)
        expect = ("--header", "Expect: 100-continue", "--include")
        status, said, told = self.curl(*expect, "--data-binary", f"@{path}", self.url)
        self.assertEqual((status, told["size_upload"]), (0, _LIMIT))
        self.assertTrue(said.startswith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 "), said[:200])
        chunked = ("--request", "POST", "--header", "Transfer-Encoding: chunked", "--upload-file")
        status, *_ = self.curl(*chunked, "-", self.url, given=path.read_bytes())
        self.assertEqual(status, 0)
        expected = hashlib.sha256(path.read_bytes()).hexdigest()
        self.assertEqual([each["body_sha256"] for each in self.stub.calls()], [expected] * 2)

    def test_too_large_body(self) -> None:
        """A body one byte over the limit is refused before it is sent."""
        expect = ("--header", "Expect: 100-continue", "--expect100-timeout", "20")
        path = self.body(_LIMIT + 1)
        status, said, told = self.curl(*expect, "--data-binary", f"@{path}", self.url)
        self.assertEqual((status, told["http_code"], told["size_upload"]), (0, 413, 0))
        self.assertIn('"code":"request_too_large"', said)
        self.assertEqual(self.stub.calls(), [])


def _asks(model: str, *, stream: bool = False) -> str:
    """Return a request for curl's `--data`."""
    messages = [{"role": "user", "content": "Hello"}]
    return json.dumps({"model": model, "stream": stream, "messages": messages})
