"""Tests of reading a TOML file: the ways in which it may be unreadable, with their lines."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings.files.document import MAX_BYTES, UnreadableError, read_document


class DocumentTests(SynchronousTestCase):
    """What is read, and what is not."""

    def setUp(self) -> None:
        """Name a file."""
        self.path = Path(self.mktemp())

    def problem(self, data: bytes) -> str:
        """Return what is wrong with a file, behind its name."""
        self.path.write_bytes(data)
        text = str(self.assertRaises(UnreadableError, read_document, str(self.path)))
        start = ascii(str(self.path))
        self.assertTrue(text.startswith(start), text)
        return text.removeprefix(start)

    def test_faults(self) -> None:
        """Faults of a document are sorted by their lines; a byte order mark is no fault."""
        self.path.write_bytes(b"\xef\xbb\xbfa = 1\r\n\r\nb = 2\r\n")
        document = read_document(str(self.path))
        self.assertEqual(document.members, {"a": 1, "b": 2})
        document.fault(("b",), "b", "no")
        document.fault(("a",), "a", "nor this")
        name = ascii(str(self.path))
        self.assertEqual(
            document.texts(str(self.path)), f"{name}, line 1: a: nor this\n{name}, line 3: b: no"
        )

    def test_unreadable(self) -> None:
        """Each has one line, with the number of the line where there is one."""
        self.assertEqual(self.problem(b"\xff"), ": not UTF-8 text")
        self.assertEqual(
            self.problem(b"a = 1\nb = \n"), ", line 2: not TOML: Invalid value (column 5)"
        )
        self.assertIn("at the end of the file", self.problem(b"a = ["))
        self.assertEqual(self.problem(b"a = " + b"9" * 5000), ": a number is too long")
        self.assertEqual(self.problem(b"a = " + b"[" * 50_000), ": nested too deeply")
        self.assertEqual(self.problem(b"#" * (MAX_BYTES + 1)), f": longer than {MAX_BYTES} bytes")
        self.path.unlink()
        error = self.assertRaises(UnreadableError, read_document, str(self.path))
        self.assertIn("No such file", str(error))
