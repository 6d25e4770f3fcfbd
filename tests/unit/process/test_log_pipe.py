"""Tests of the log on standard output: real pipes, whose reader may not read."""

from __future__ import annotations

import os
from io import StringIO
from pathlib import Path

from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from autopilot.process.log_pipe import PIECE, LogPipe, log_pipe

ROOM = 40_000
LINE = "x" * 99 + "\n"


class LogPipeTests(SynchronousTestCase):
    """A pipe of the operating system, which holds 64 KiB."""

    def setUp(self) -> None:
        """Open the pipe."""
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)
        self.addCleanup(self.close_reading)
        self.addCleanup(os.close, self.writing)
        self.clock = Clock()
        self.pipe = LogPipe(self.writing, self.clock, room=ROOM)
        self.logged = EventLoggingObserver()
        globalLogPublisher.addObserver(self.logged)
        self.addCleanup(globalLogPublisher.removeObserver, self.logged)

    def close_reading(self) -> None:
        """Let the reader leave, once."""
        if self.reading >= 0:
            os.close(self.reading)
            self.reading = -1

    def read(self) -> bytes:
        """Read what the pipe holds."""
        read = b""
        try:
            while data := os.read(self.reading, 1 << 16):
                read += data
        except BlockingIOError:
            pass
        return read

    def read_all(self) -> bytes:
        """Read until nothing more comes, however often the router tries again."""
        read = b""
        while data := self.read():
            read += data
            self.clock.advance(0.1)
        return read

    def fill(self) -> int:
        """Write lines until one is lost; return how many were written before."""
        written = 0
        while not self.pipe.lost:
            self.pipe.write(LINE)
            written += 1
        return written - 1

    def test_read(self) -> None:
        """A line that the kernel has room for is written at once."""
        self.pipe.write("one\n")
        self.pipe.flush()
        self.assertEqual(self.read(), b"one\n")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_long_lines(self) -> None:
        """A line longer than a piece arrives whole and in order."""
        lines = "".join(f"{number}" * 3 * PIECE + "\n" for number in range(3))
        self.pipe.write(lines[: 3 * PIECE + 1])
        self.pipe.write(lines[3 * PIECE + 1 :])
        self.assertEqual(self.read_all(), lines.encode())

    def test_unread(self) -> None:
        """Without a reader the pipe and the memory fill, lines are lost, and nothing waits."""
        written = self.fill()
        for _ in range(10_000):
            self.pipe.write(LINE)
        self.assertEqual(self.pipe.lost, 10_001)
        self.assertEqual(self.read_all(), LINE.encode() * written)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_order(self) -> None:
        """A line does not overtake those that wait."""
        written = self.fill()
        self.read()
        self.pipe.write("last\n")
        self.assertEqual(self.read_all()[-5:], b"last\n")
        self.assertGreater(written, ROOM // len(LINE))

    def test_warned(self) -> None:
        """When the reader has caught up, a message says how many lines it missed; once a minute."""
        for _ in range(2):
            before = self.pipe.lost
            while self.pipe.lost == before:
                self.pipe.write(LINE)
            self.read_all()
        (event,) = self.logged
        self.assertEqual(event["lost"], 1)

    def test_reader_gone(self) -> None:
        """If the reader has gone, what waits is lost as well, and writing raises."""
        written = self.fill()
        self.close_reading()
        self.clock.advance(0.1)
        self.assertGreater(self.pipe.lost, 100)
        self.assertLess(self.pipe.lost, written)
        self.assertRaises(BrokenPipeError, self.pipe.write, LINE)

    def test_close(self) -> None:
        """At the end the reader gets what waits if it reads, and is not waited for if not."""
        self.fill()
        self.pipe.close()
        read = self.read()
        self.pipe.close()
        self.assertEqual(len(read + self.read()) % len(LINE), 0)

    def test_odd_characters(self) -> None:
        """Half of a surrogate pair does not fail a line."""
        self.pipe.write("\ud800\n")
        self.assertEqual(self.read(), b"\\ud800\n")


class ChoiceTests(SynchronousTestCase):
    """Which streams are pipes."""

    def test_file(self) -> None:
        """Writing to a file does not block; a stream in memory is none of the system's."""
        with Path(self.mktemp()).open("w", encoding="utf-8") as file:
            self.assertIsNone(log_pipe(file, Clock()))
        self.assertIsNone(log_pipe(StringIO(), Clock()))

    def test_pipe(self) -> None:
        """A pipe is."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        with os.fdopen(writing, "w") as stream:
            self.assertIsInstance(log_pipe(stream, Clock()), LogPipe)
