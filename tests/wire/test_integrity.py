"""No byte lost, none mixed up: large bodies and many streams at once, through real processes."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.smoke.client import fetch_json
from tests.smoke.processes import RouterProcess, StubProcess
from tests.smoke.waiting import until

STREAMS = 200
LEAVING = 40
# What differs from answer to answer: ids, creation times and verification tags of the platform.
_VARYING = re.compile(rb'"(?:id|chutes_verification)":\s*"[^"]*"|"created":\s*\d+')


class IntegrityTests(SynchronousTestCase):
    """One stub and one router for all tests here."""

    folder: ClassVar[tempfile.TemporaryDirectory[str]]
    stub: ClassVar[StubProcess]
    router: ClassVar[RouterProcess]

    @classmethod
    def setUpClass(cls) -> None:
        """Start both."""
        cls.folder = tempfile.TemporaryDirectory()
        folder = Path(cls.folder.name)
        cls.stub = StubProcess("stub", folder, ["--token-delay-ms", "2", "--tokens", "60"])
        cls.router = RouterProcess("router", folder, cls.stub.port, {"LOG_LEVEL": "warn"})
        cls.stub.start()
        cls.router.start()
        cls.router.wait_ready()

    @classmethod
    def tearDownClass(cls) -> None:
        """Stop both."""
        cls.router.kill()
        cls.stub.kill()
        cls.folder.cleanup()

    def setUp(self) -> None:
        """Forget earlier calls."""
        self.stub.reset()

    def tearDown(self) -> None:
        """Nothing is left under way, and nothing was logged that should not have been."""
        until("no request is under way", lambda: self.active() == 0)
        self.assertNotIn(b"Traceback", self.router.output())

    def active(self) -> int:
        """Requests the router counts as under way."""
        active: int = fetch_json(self.router.port, "/status.json")["requests_active"]
        return active

    def test_huge_answers(self) -> None:
        """50 MB pass unharmed, as one body and as a stream."""
        for stream in (False, True):
            direct = _digest(self.stub.port, "stub/huge", stream=stream)
            routed = _digest(self.router.port, "stub/huge", stream=stream)
            self.assertGreater(direct[1], 50_000_000)
            self.assertEqual(routed, direct)

    def test_large_request(self) -> None:
        """5 MB of request arrive with nothing changed but the model."""
        text = "é€😀\\u0000" * 500_000
        body = {"x": 1e400, "model": "stub/503-cold,stub/ok", "messages": [_user(text)]}
        sent = json.dumps(body, ensure_ascii=False).replace("Infinity", "1e400").encode()
        self.assertGreater(len(sent), 5_000_000)
        expected = sent.replace(b'"stub/503-cold,stub/ok"', b'"stub/ok"')
        connection = http.client.HTTPConnection("127.0.0.1", self.router.port, timeout=60)
        connection.request("POST", "/v1/chat/completions", sent)
        response = connection.getresponse()
        response.read()
        connection.close()
        self.assertEqual(response.status, 200)
        self.assertEqual(
            response.getheader("x-stub-body-sha256"), hashlib.sha256(expected).hexdigest()
        )

    def test_many_streams(self) -> None:
        """200 streams at once bring their own bytes each; who leaves is noticed upstream."""
        with ThreadPoolExecutor(STREAMS) as pool:
            digests = list(pool.map(self.one_stream, range(STREAMS)))
        whole = digests[LEAVING:]
        self.assertEqual(len(set(whole)), len(whole))
        for number in range(LEAVING, STREAMS, 20):
            self.assertEqual(self.one_stream(number, self.stub.port), digests[number])

        def all_noticed() -> bool:
            return sum(bool(call["aborted"]) for call in self.stub.calls()) == LEAVING

        until("every client that left was noticed upstream", all_noticed)

    def one_stream(self, number: int, port: int | None = None) -> str:
        """Stream an answer that only this number gets, or leave after its first bytes."""
        ask = _ask("stub/ok", stream=True, text=f"stream {number}")
        connection = http.client.HTTPConnection("127.0.0.1", port or self.router.port, timeout=60)
        connection.request("POST", "/v1/chat/completions", ask)
        response = connection.getresponse()
        if port is None and number < LEAVING:
            response.read(10)
            response.close()
            connection.close()
            return ""
        body = response.read()
        connection.close()
        self.assertTrue(body.endswith(b"data: [DONE]\n\n"))
        return hashlib.sha256(_VARYING.sub(b"", body)).hexdigest()


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def _ask(model: str, *, stream: bool, text: str = "Hello") -> bytes:
    return json.dumps({"model": model, "stream": stream, "messages": [_user(text)]}).encode()


def _digest(port: int, model: str, *, stream: bool) -> tuple[str, int]:
    """SHA-256 of an answer less what varies, and the size of the answer.

    What varies stands within the first and last bytes of a chunk or the body, so it is taken out
    of each line.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/v1/chat/completions", _ask(model, stream=stream))
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return hashlib.sha256(_VARYING.sub(b"", body)).hexdigest(), len(body)
