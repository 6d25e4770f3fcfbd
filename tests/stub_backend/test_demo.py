"""Tests of the demo's failures: one line, a non-zero status, no process left."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from http.client import IncompleteRead
from pathlib import Path
from signal import SIGHUP, SIGKILL, SIGTERM
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from stub_backend.demo import company, tour
from stub_backend.demo.client import Events
from stub_backend.demo.processes import HOST, DemoError, Process, ending
from stub_backend.demo.voice import Voice, coloured

ROOT = Path(tour.__file__).parents[2]
_PATIENCE = 60.0
_LISTENS = "print('on http://127.0.0.1:7', flush=True); "
# Starts a process as the demo does, prints its port, and waits.
_PARENT = """
import sys, time
from pathlib import Path
from stub_backend.demo.processes import Process
child = (sys.executable, "-m", "stub_backend.demo.child", "http.server", "0", "--bind", "127.0.0.1")
started = Process("a server", Path(sys.argv[1]), child)
started.start()
print(started.port, flush=True)
time.sleep(600)
"""


def _process(name: str, folder: Path, program: str) -> Process:
    return Process(name, folder, (sys.executable, "-c", program))


class DemoTests(SynchronousTestCase):
    """The end of the demo."""

    def played(self, port: int = 0) -> tuple[int, str]:
        """Return the demo's status and its error output."""
        heard = io.StringIO()
        with redirect_stdout(io.StringIO()), redirect_stderr(heard):
            status = tour.play(stay=False, port=port)
        return status, heard.getvalue()

    def test_a_process_that_dies(self) -> None:
        """If the router ends, the demo prints its last line and stops the stub."""
        started: list[Process] = []

        def sleeping(folder: Path, _port: int) -> Process:
            program = _LISTENS + "import time; time.sleep(600)"
            started.append(_process("the stub", folder, program))
            return started[0]

        def dying(folder: Path, _stub_port: int, _port: int, admin: str | None) -> Process:
            return _process("the router", folder, "raise SystemExit('no such setting')")

        self.patch(tour, "stub", sleeping)
        self.patch(tour, "router", dying)
        self.assertEqual(
            self.played(),
            (
                1,
                "autopilot: the demo failed: the router ended with status 1: no such setting\n",
            ),
        )
        self.assertEqual(started[0].status, -SIGTERM)

    def test_a_port_of_another_program(self) -> None:
        """A router that already listens there is never used, and nothing is started."""
        self.patch(tour, "stub", None)
        with socket.create_server((HOST, 0)) as other:
            port = other.getsockname()[1]
            status, complaint = self.played(port)
        self.assertEqual(status, 1)
        self.assertIn(f"the demo failed: port {port} cannot be used (", complaint)
        self.assertIn("choose another one with --port", complaint)
        self.assertEqual(complaint.count("\n"), 1)

    def test_interrupt(self) -> None:
        """An interrupt is the end of a demo that stays, and ends another one early."""
        with patch.object(tour, "_perform", side_effect=KeyboardInterrupt):
            self.assertEqual(tour.play(stay=True, port=0), 0)
            self.assertEqual(tour.play(stay=False, port=0), 130)

    def test_signals(self) -> None:
        """SIGTERM and SIGHUP unwind the demo, so that it stops its processes."""
        for number in (SIGTERM, SIGHUP):
            # Whoever runs the tests may ignore it, as nohup does SIGHUP.
            self.addCleanup(signal.signal, number, signal.signal(number, signal.SIG_DFL))
            before = signal.getsignal(number)

            def signalled(number: signal.Signals = number, **_options: object) -> None:
                signal.raise_signal(number)

            with patch.object(tour, "_perform", signalled):
                error = self.assertRaises(SystemExit, tour.play, stay=True, port=0)
            self.assertEqual(error.code, 128 + number)
            self.assertIs(signal.getsignal(number), before)

    def test_nohup(self) -> None:
        """A SIGHUP that nohup has ignored stays ignored."""
        self.addCleanup(signal.signal, SIGHUP, signal.signal(SIGHUP, signal.SIG_IGN))
        with patch.object(tour, "_perform", lambda **_options: signal.raise_signal(SIGHUP)):
            self.assertEqual(tour.play(stay=True, port=0), 0)

    def test_what_next(self) -> None:
        """The last lines contain commands to try next, of the program that ran the demo."""
        staying = tour.what_next(7, 8, staying=True, by_make=False)
        self.assertIn("curl -N http://127.0.0.1:7/v1/", staying)
        self.assertIn("http://127.0.0.1:8/status", staying)
        ended = tour.what_next(7, 8, staying=False, by_make=True)
        self.assertIn('make demo ARGS="--stay', ended)
        self.assertIn("make run", ended)
        ended = tour.what_next(7, 8, staying=False, by_make=False)
        self.assertIn("autopilot demo --stay", ended)
        self.assertIn("autopilot run", ended)

    def test_kept(self) -> None:
        """The lines about the router's status have the requests in order, in columns."""
        one = {"mode": "alias", "model": "a/b", "attempts": 1, "outcome": "completed"}
        two = {"mode": "direct", "model": "stub/c", "attempts": 2, "outcome": "other"}
        self.assertEqual(
            list(tour.kept([two, one])),
            [
                "  alias   a/b     1 attempt   completed",
                "  direct  stub/c  2 attempts  other",
            ],
        )
        self.assertEqual(list(tour.kept([])), [])


class CompanyTests(SynchronousTestCase):
    """The demo's company; the transcript of docs/first-minute.md runs it."""

    def test_possible(self) -> None:
        """Each turn repeats the words of all before it: 64 in the second, 128 in the third."""
        self.assertEqual(company.possible_tokens(), company.USERS * (64 + 128))

    def test_share(self) -> None:
        """Shares are whole percents, rounded down."""
        kept = company.Kept(200, 199, 0, 2)
        self.assertEqual([kept.share(each) for each in (200, 199, 0)], ["100 %", "99 %", "0 %"])

    def test_too_few(self) -> None:
        """The demo fails if affinity does not keep nine tenths."""
        shown = tour.Tour(Voice(), 1, 2, 3)
        for cached, fails in ((180, False), (179, True)):
            kept = company.Kept(200, cached, 0, 2)
            with (
                patch.object(company, "play", return_value=kept),
                redirect_stdout(io.StringIO()) as output,
            ):
                if fails:
                    self.assertRaises(DemoError, shown._company)
                else:
                    shown._company()
                    self.assertIn("90 % of what 8 users repeat", output.getvalue())

    def test_no_response(self) -> None:
        """A port without a program is an error of one line."""
        with socket.create_server((HOST, 0)) as server:
            port = server.getsockname()[1]
        error = self.assertRaises(DemoError, company.post, port, "/stub/feeds", {})
        self.assertRegex(str(error), r"\A/stub/feeds: no response: ConnectionRefused.+\Z")


class ProcessTests(SynchronousTestCase):
    """The demo's processes."""

    def setUp(self) -> None:
        """Make a folder for their logs."""
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()

    def test_port(self) -> None:
        """The port is the one that the process itself announces."""
        own = _process("it", self.folder, _LISTENS + "import time; time.sleep(600)")
        with ending(own):
            own.start()
            self.assertEqual(own.port, 7)
        silent = _process("it", self.folder, "pass")
        silent.start()
        self.addCleanup(silent.end)
        error = self.assertRaises(DemoError, lambda: silent.port)
        self.assertEqual(str(error), "it ended with status 0: its log is empty")

    def test_no_program(self) -> None:
        """A program that cannot be started is an error of one line."""
        absent = Process("it", self.folder, ("/nonexistent/program",))
        error = self.assertRaises(DemoError, absent.start)
        self.assertRegex(str(error), r"\Ait could not be started: .+\Z")
        absent.end()

    def test_second_interrupt(self) -> None:
        """An interrupt while processes are being terminated kills them at once."""
        program = "import signal, time; signal.signal(15, signal.SIG_IGN); " + _LISTENS
        stubborn = _process("it", self.folder, program + "time.sleep(600)")
        stubborn.start()
        self.assertEqual(stubborn.port, 7)
        with (
            patch.object(Process, "wait", side_effect=KeyboardInterrupt),
            self.assertRaises(KeyboardInterrupt),
            ending(stubborn),
        ):
            pass
        self.assertEqual(stubborn.status, -SIGKILL)

    def test_end_of_the_parent(self) -> None:
        """A process ends even if its parent was killed before it could stop it."""
        with subprocess.Popen(
            (sys.executable, "-c", _PARENT, str(self.folder)),
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
        ) as parent:
            assert parent.stdout is not None
            port = int(parent.stdout.readline())
            self.assertTrue(_answers(port))
            parent.kill()
        end = time.monotonic() + _PATIENCE
        while _answers(port):
            self.assertLess(time.monotonic(), end, "the process outlived its parent")
            time.sleep(0.02)


def _answers(port: int) -> bool:
    """Return whether a program accepts connections on this port."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


class Response:
    """A response whose body arrives in these parts, and may end with an error."""

    def __init__(self, *parts: bytes | Exception) -> None:
        self._parts = [*parts, b""]

    def read1(self, _limit: int) -> bytes:
        """Return the next part, empty at the end."""
        part = self._parts.pop(0)
        if isinstance(part, Exception):
            raise part
        return part


def _read(*parts: bytes | Exception) -> tuple[list[str], Events]:
    response: Any = Response(*parts)
    events = Events(response)
    return list(events.tokens()), events


class StreamTests(SynchronousTestCase):
    """The demo's client."""

    def test_tokens(self) -> None:
        """Only content is shown, wherever the body was divided."""
        event = b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n'
        body = b": comment\n" + event % b"" + event % b"a" + event % b"b" + b"data:[DONE]\n\n"
        for size in (1, 7, len(body)):
            parts = (body[each : each + size] for each in range(0, len(body), size))
            tokens, events = _read(*parts)
            self.assertEqual((tokens, events.error, events.whole), (["a", "b"], None, True))

    def test_streams_that_fail(self) -> None:
        """An error event is kept; a missing terminator and a cut body are no whole answer."""
        tokens, events = _read(b'data: {"error":{"code":"x"}}\n\n', IncompleteRead(b""))
        self.assertEqual((tokens, events.error, events.whole), ([], {"code": "x"}, False))
        for parts in ((), (b"data: [DONE]\n\n", IncompleteRead(b"")), (ConnectionResetError(),)):
            self.assertFalse(_read(*parts)[1].whole)


class VoiceTests(SynchronousTestCase):
    """The colours of the output."""

    def test_colours(self) -> None:
        """A terminal is coloured, unless the environment forbids it; a file never is."""
        terminal, file = _Output(True), _Output(False)
        self.assertTrue(coloured(terminal, {}))
        self.assertFalse(coloured(terminal, {"NO_COLOR": "1"}))
        self.assertFalse(coloured(terminal, {"TERM": "dumb"}))
        self.assertFalse(coloured(file, {}))
        for output, expected in ((terminal, "\x1b[36ma\x1b[0m"), (file, "a")):
            with redirect_stdout(output), patch.dict(os.environ, clear=True):
                Voice().token("a")
            self.assertEqual(output.getvalue(), expected)


class _Output(io.StringIO):
    """A standard output, which may be a terminal."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        """Return whether it is one."""
        return self._terminal
