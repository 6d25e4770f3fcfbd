"""Tests of the messages between workers and their parent about calls of keys."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.state.edge_notes import (
    Answered,
    Back,
    Banned,
    Grant,
    Lost,
    Page,
    Stated,
    Want,
    decode,
    encode,
)


class NoteTests(SynchronousTestCase):
    """As bytes and back."""

    def test_each(self) -> None:
        """Every message is read as it was written."""
        for note in (
            Want(b"k", (b"a", b"b"), 1),
            Grant(b"k", 1, 2.5, (b"a",)),
            Back(b"k", 3),
            Page(b"k", None),
            Page(b"", 60.0),
            Banned(b"", 1.5),
            Answered(b"k"),
            Lost(b"k"),
            Stated(b"k", -1.0),
        ):
            self.assertEqual(decode(encode(note)), note)

    def test_nonsense(self) -> None:
        """Anything else is an error."""
        for data in (b"", b"\xc1", b"{}", encode(Grant(b"k", 1, 2.5))[:-1]):
            self.assertRaises(ValueError, decode, data)
