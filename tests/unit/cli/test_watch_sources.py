"""Tests of the sources of records: a descriptor, a log file, a router."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.cli.console import CommandError
from autopilot.cli.watch_sources import DescriptorReader, FileTail, Lines, is_piped


class LinesTests(SynchronousTestCase):
    """Lines of bytes."""

    def test_divided(self) -> None:
        """Lines end at line ends, wherever the pieces do, and the last one at the end."""
        lines = Lines()
        found = [list(lines.feed(piece)) for piece in (b"a\r\nb", b"c\n\nd", b"", b"\xff")]
        self.assertEqual(found, [["a"], ["bc", ""], [], []])
        self.assertEqual(list(lines.close()), ["d\ufffd"])
        self.assertEqual(list(lines.close()), [])

    def test_too_long(self) -> None:
        """A line without an end does not fill the memory."""
        lines = Lines()
        found = [line for _ in range(40) for line in lines.feed(b"x" * 65_536)]
        self.assertEqual(len(found), 2)
        self.assertLess(sum(map(len, lines.close())), 1 << 20)


class DescriptorTests(SynchronousTestCase):
    """A pipe."""

    def setUp(self) -> None:
        """Read from a pipe."""
        self.reactor = MemoryReactorClock()
        self.read_end, self.write_end = os.pipe()
        self.addCleanup(os.close, self.read_end)
        self.got: list[bytes] = []
        self.reader = DescriptorReader(self.reactor, self.read_end, self.got.append)

    def write(self, data: bytes) -> None:
        """Write to the pipe; nothing ends it."""
        os.write(self.write_end, data)

    def test_until_the_end(self) -> None:
        """What arrives is passed on, until the writer closes the pipe."""
        self.assertEqual(self.reactor.getReaders(), [self.reader])
        self.assertEqual(self.reader.fileno(), self.read_end)
        self.write(b"a")
        self.reader.doRead()
        self.assertNoResult(self.reader.ended)
        os.close(self.write_end)
        self.reader.doRead()
        self.assertIsNone(self.successResultOf(self.reader.ended))
        self.assertEqual((self.got, self.reactor.getReaders()), ([b"a"], []))

    def test_nothing_there(self) -> None:
        """A wake-up without data is no end."""
        self.addCleanup(os.close, self.write_end)
        os.set_blocking(self.read_end, False)
        self.reader.doRead()
        self.assertNoResult(self.reader.ended)

    def test_output_gone(self) -> None:
        """What the receiver raises ends the reading."""

        def received(_data: bytes) -> None:
            raise BrokenPipeError

        self.addCleanup(os.close, self.write_end)
        self.reactor.removeReader(self.reader)
        reader = DescriptorReader(self.reactor, self.read_end, received)
        self.write(b"a")
        reader.doRead()
        self.failureResultOf(reader.ended, BrokenPipeError)
        self.assertEqual(self.reactor.getReaders(), [])

    def test_cancelled(self) -> None:
        """A cancelled reading leaves no reader behind."""
        self.addCleanup(os.close, self.write_end)
        self.reader.ended.addErrback(lambda _: None)
        self.reader.ended.cancel()
        self.assertEqual(self.reactor.getReaders(), [])

    def test_piped(self) -> None:
        """Pipes and files are input; devices and closed descriptors are not."""
        os.close(self.write_end)
        with Path(self.mktemp()).open("wb") as file, Path(os.devnull).open("rb") as device:
            kinds = [is_piped(each) for each in (self.read_end, file.fileno(), device.fileno())]
        self.assertEqual(kinds, [True, True, False])
        self.assertFalse(is_piped(file_number_of_nothing()))


def file_number_of_nothing() -> int:
    """Return a descriptor that is not open."""
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    return descriptor


class LogFileTests(SynchronousTestCase):
    """A log file."""

    def setUp(self) -> None:
        """Follow a file that has a line already."""
        self.path = Path(self.mktemp())
        self.path.write_text("old\n")
        self.tail = FileTail(self.path)
        self.addCleanup(lambda: self.tail.close())

    def read(self) -> list[str]:
        """Return the new lines."""
        return list(self.tail.read())

    def append(self, text: str) -> None:
        """Append to whatever has the name now."""
        with self.path.open("a") as file:
            file.write(text)

    def test_appended(self) -> None:
        """Only what is appended counts, line by line."""
        self.assertEqual(self.read(), [])
        self.append("a\nb")
        self.assertEqual(self.read(), ["a"])
        self.append("c\n")
        self.assertEqual(self.read(), ["bc"])

    def test_rotated(self) -> None:
        """After a rotation comes the rest of the old file, then the new one from its beginning."""
        self.append("a\n")
        old = self.path.rename(self.path.with_suffix(".1"))
        self.assertEqual(self.read(), ["a"])
        with old.open("a") as file:
            file.write("late")
        self.assertEqual(self.read(), [])
        self.append("b\n")
        self.assertEqual(self.read(), ["late", "b"])
        self.append("c\n")
        self.assertEqual(self.read(), ["c"])

    def test_emptied(self) -> None:
        """A file that is emptied in its place goes on from its beginning."""
        self.append("a long line\n")
        self.assertEqual(self.read(), ["a long line"])
        self.path.write_text("b\n")
        self.assertEqual(self.read() + self.read(), ["b"])

    def test_missing(self) -> None:
        """A file that is not there is an error."""
        error = self.assertRaises(CommandError, FileTail, Path("nowhere"))
        self.assertEqual(str(error), "--file: No such file or directory")
