"""Tests of the demo's failures: one line, a non-zero status, no process left."""

from __future__ import annotations

import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from signal import SIGTERM
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from stub_backend import demo
from stub_backend.demo_processes import DemoError, Process
from stub_backend.demo_stream import _tokens


def _process(name: str, folder: Path, program: str) -> Process:
    return Process(name, folder, 1, (sys.executable, "-c", program))


class Lines:
    """A response with these lines."""

    def __init__(self, *lines: str) -> None:
        self._lines = [f"{line}\n".encode() for line in lines]

    def readline(self) -> bytes:
        """Return the next line, empty at the end."""
        return self._lines.pop(0) if self._lines else b""

    def read(self) -> bytes:
        """Return the rest, which is empty."""
        return b""


class DemoTests(SynchronousTestCase):
    """The output of the demo."""

    def test_a_process_that_dies(self) -> None:
        """If the router ends, the demo prints its last line and stops the stub."""
        started: list[Process] = []

        def sleeping(folder: Path) -> Process:
            started.append(_process("the stub", folder, "import time; time.sleep(60)"))
            return started[0]

        def dying(folder: Path, _stub_port: int, _port: int, _admin: str) -> Process:
            return _process("the router", folder, "raise SystemExit('no such setting')")

        told = StringIO()
        with (
            patch.object(demo, "stub", sleeping),
            patch.object(demo, "router", dying),
            redirect_stdout(StringIO()),
            redirect_stderr(told),
        ):
            status = demo.main([])
        self.assertEqual(status, 1)
        self.assertEqual(
            told.getvalue().strip(),
            "The demo failed: the router ended with status 1: no such setting",
        )
        self.assertEqual(started[0].status, -SIGTERM)

    def test_tokens(self) -> None:
        """Only content is shown, up to the terminator."""
        said = '{"choices":[{"delta":{"content":"%s"}}]}'
        lines = (": comment", "data: " + said % "", "", "data: " + said % "a", "data:[DONE]")
        self.assertEqual(list(_tokens(Lines(*lines))), ["a"])  # type: ignore[arg-type]

    def test_streams_that_fail(self) -> None:
        """An error event and a missing terminator are failures."""
        for lines in ((), ('data: {"error":{"code":"x"}}', "data: [DONE]")):
            with self.assertRaises(DemoError):
                list(_tokens(Lines(*lines)))  # type: ignore[arg-type]

    def test_what_next(self) -> None:
        """The last lines contain a command to try next."""
        staying = demo.what_next(7, 8, staying=True)
        self.assertIn("curl -N http://127.0.0.1:7/v1/", staying)
        self.assertIn("http://127.0.0.1:8/status", staying)
        self.assertIn("make run", demo.what_next(8080, 8081, staying=False))
