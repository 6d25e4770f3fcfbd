"""Tests of the load generator against the upstream itself."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from twisted.trial.unittest import SynchronousTestCase

import benchmarks
from benchmarks.load import run
from benchmarks.samples import LATENCY, Samples

ROOT = Path(benchmarks.__file__).parents[1]


def free_port() -> int:
    """Return a port on which no process listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


class LoadTests(SynchronousTestCase):
    """Each kind of job."""

    def upstream(self) -> int:
        """Start an upstream for the test, and return its port."""
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.upstream", "--port", str(port)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert process.stdout is not None
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), b"ready\n")
        return port

    def load(self, port: int, kind: str, **more: object) -> dict[str, Any]:
        """Run a job with three connections, check its phases, and return its result."""
        job = {"port": port, "kind": kind, "model": "bench/one", "connections": 3, "seconds": 0.06}
        output = io.StringIO()
        run(json.dumps(job | more), output)
        steady, done = map(json.loads, output.getvalue().splitlines())
        self.assertEqual((steady, done["phase"]), ({"phase": "steady"}, "done"))
        result: dict[str, Any] = done["result"]
        return result

    def assert_answered(self, result: dict[str, Any]) -> None:
        """Assert that all responses were complete, without errors, and measured."""
        self.assertEqual((result["errors"], result["reasons"], result["up"]), (0, {}, 3))
        self.assertGreater(result["requests"], 2)
        self.assertGreaterEqual(result["bytes"], (result["requests"] - 3) * 2048)
        self.assertGreater(result["latency_us"]["p50"], 0)
        self.assertGreater(result["first_byte_us"]["p99"], 0)

    def test_unary(self) -> None:
        """Plain requests work in a closed loop and paced, on kept and on new connections."""
        port = self.upstream()
        for kind in ("unary", "unary-new"):
            self.assert_answered(self.load(port, kind))
            paced = self.load(port, kind, requests_per_second=200)
            self.assert_answered(paced)
            self.assertLess(paced["requests"], paced["elapsed"] * 200 + 10)

    def test_upload(self) -> None:
        """Bodies larger than a socket's buffer are sent completely."""
        self.assert_answered(self.load(self.upstream(), "upload", body_bytes=3_000_000))

    def test_stream(self) -> None:
        """Every event of three streams with 250 events per second is measured."""
        result = self.load(self.upstream(), "stream", rate=250)
        self.assertEqual((result["errors"], result["requests"]), (0, 0))
        self.assertGreater(result["events"], 15)
        self.assertGreater(result["latency_us"]["p50"], 0)
        self.assertGreater(result["max_gap_ms"], 1)

    def test_short_streams(self) -> None:
        """A finished stream is requested again."""
        result = self.load(self.upstream(), "stream", rate=1000, events=5)
        self.assertEqual((result["errors"], result["up"]), (0, 3))
        self.assertGreater(result["requests"], 3)
        self.assertGreater(result["events"], result["requests"])
        self.assertGreater(result["first_byte_us"]["p50"], 0)

    def test_silent(self) -> None:
        """Silent streams stay open, and the upstream sees their end."""
        port = self.upstream()
        result = self.load(port, "silent", connections=20)
        self.assertEqual((result["events"], result["errors"], result["up"]), (0, 0, 20))
        with urlopen(f"http://127.0.0.1:{port}/stats") as answer:
            stats = json.load(answer)
        self.assertEqual((stats["requests"], stats["events"]), (21, 20))
        self.assertGreater(stats["last_close"], 0)

    def test_refused(self) -> None:
        """Without an upstream the run ends, with the reason."""
        result = self.load(free_port(), "unary", patience=0.01, seconds=0.15)
        self.assertEqual((result["requests"], result["up"]), (0, 0))
        reasons = result["reasons"].keys() | result["reasons_before"].keys()
        self.assertEqual(reasons, {"Connection refused"})


class PercentileTests(SynchronousTestCase):
    """The percentiles of samples."""

    def test_ranks(self) -> None:
        """A percentile is correct for any number of samples."""
        samples = Samples()
        for microseconds in range(1, 10_001):
            samples.add(microseconds * 1000)
            samples.fold()
        found = samples.percentiles(**LATENCY)
        self.assertEqual(found, {"p50": 5000, "p99": 9900, "p999": 9990, "max": 10_000})
        self.assertEqual(samples.mean(), 5000.5)

    def test_few(self) -> None:
        """A single sample is every percentile; without samples there is none."""
        samples = Samples()
        self.assertEqual((samples.percentiles(p50=50), samples.mean()), ({"p50": None}, None))
        samples.add(7_900)
        self.assertEqual(samples.percentiles(p50=50, max=100), {"p50": 7, "max": 7})
        samples.clear()
        self.assertEqual(samples.percentiles(p50=50), {"p50": None})
