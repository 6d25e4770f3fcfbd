"""Bare JSON in a committed event stream."""

from __future__ import annotations

import json
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.relay.sse_guard import GuardLevel
from tests.unit.relay.chunks import cut
from tests.unit.relay.guarded import BARE, HEALTHY, HELLO, guard_at, relayed_by


class BareErrorTests(SynchronousTestCase):
    """A bare JSON error behind the last event."""

    @given(
        st.sampled_from([GuardLevel.ON, GuardLevel.STRICT]),
        st.lists(st.integers(0, len(HEALTHY)), max_size=10),
    )
    def test_healthy(self, level: GuardLevel, cuts: list[int]) -> None:
        """A healthy stream passes verbatim wherever it was cut, done and at a boundary."""
        made = guard_at(level)
        self.assertEqual(relayed_by(made, *cut(HEALTHY, cuts)), HEALTHY)
        self.assertIsNone(made.fault)
        self.assertTrue(made.at_boundary)
        self.assertTrue(made.done)

    @given(
        st.sampled_from([GuardLevel.ON, GuardLevel.STRICT]),
        st.sampled_from([b"", b"\n", b"\r\n\r\n", b"\ndata: more\n\n"]),
        st.lists(st.integers(0, 400), max_size=10),
    )
    def test_bare_error(self, level: GuardLevel, behind: bytes, cuts: list[int]) -> None:
        """What stood before it is relayed, of itself and what follows nothing."""
        made = guard_at(level)
        self.assertEqual(relayed_by(made, *cut(HELLO + BARE + behind, cuts)), HELLO)
        self.assertIsNotNone(made.fault)
        self.assertIn("Unhandled exception", made.fault or "")
        self.assertNotIn("Traceback", made.fault or "")
        self.assertTrue(made.at_boundary)
        self.assertFalse(made.done)

    @given(st.lists(st.integers(0, 200), max_size=10))
    def test_other_braces(self, cuts: list[int]) -> None:
        """Lines of JSON that report no error pass, as do broken ones."""
        stream = HELLO + b'{"fine":1}\n{\n{}\n\n' + HELLO + b'{"error":null}\n{"error"'
        made = guard_at()
        self.assertEqual(relayed_by(made, *cut(stream, cuts)), stream)
        self.assertIsNone(made.fault)

    def test_brace_inside_a_line(self) -> None:
        """A brace that a chunk boundary put first does not start a line."""
        made = guard_at()
        self.assertEqual(made.feed(b"data: "), b"data: ")
        self.assertEqual(made.feed(b'{"error":"x"}\n\n'), b'{"error":"x"}\n\n')

    def test_first_thing(self) -> None:
        """A bare error may be all there is."""
        made = guard_at()
        self.assertEqual(relayed_by(made, BARE), b"")
        self.assertIsNotNone(made.fault)

    def test_error_without_text(self) -> None:
        """An error that says nothing is still one; its text may stand one level deeper."""
        for bare, fault in (
            (b'{"error":{"code":1}}', "upstream reported an error"),
            (b'{"error":{"message":"full"}}', "upstream reported an error: full"),
        ):
            made = guard_at()
            relayed_by(made, bare)
            self.assertEqual(made.fault, fault)

    def test_nothing_after_a_fault(self) -> None:
        """What follows an error stays here, in whatever chunks."""
        made = guard_at()
        self.assertEqual(made.feed(HELLO + BARE + b"\n"), HELLO)
        for data in (b"data: x\n\n", b"\n{", b"x"):
            self.assertEqual(made.feed(data), b"")
        self.assertEqual(made.end(), b"")

    def test_long_line_is_no_error(self) -> None:
        """A line over 64 KiB passes, whether or not its end came in the same chunk."""
        line = b'{"error":"' + b"x" * 65536 + b'"}\n'
        for chunks in ([line], [line[:-1], b"\n"], cut(line, range(1, len(line), 30_000))):
            made = guard_at()
            self.assertEqual(relayed_by(made, HELLO, *chunks, HELLO), HELLO + line + HELLO)
            self.assertIsNone(made.fault)

    @given(st.lists(st.integers(0, 600), max_size=10))
    def test_other_shapes(self, cuts: list[int]) -> None:
        """Pretty-printed, indented, in a list, behind a byte order mark, with other line ends."""
        pretty = json.dumps({"error": {"message": "Unhandled exception"}}, indent=2).encode()
        for bare in (
            pretty,
            b" " + pretty.replace(b"\n", b"\n "),
            pretty.replace(b"\n", b"\r\n"),
            b"[" + pretty + b"]",
            b"[\n" + pretty + b"\n]",
            b"\t[" + pretty + b"]",
            b"\xef\xbb\xbf" + pretty,
            BARE.replace(b"\n", b""),
            b'{"detail":"Unhandled exception"}',
        ):
            for behind in (b"", b"\r", b"\r\n\r\n", b"\ndata: more\n\n"):
                made = guard_at()
                relayed = relayed_by(made, *cut(HELLO + bare + behind, cuts))
                self.assertEqual(relayed, HELLO, bare)
                self.assertIn("Unhandled exception", made.fault or "")
                self.assertTrue(made.ended and made.at_boundary)

    @given(st.lists(st.integers(0, 300), max_size=10))
    def test_other_json(self, cuts: list[int]) -> None:
        """JSON that is no error is held until it is complete, and then passes."""
        for bare in (
            b'{\n  "fine": [\n    {}\n  ]\n}\n',
            b"[1,\n2]\r\n",
            b"{\n}\n\n",
            b"  \n",
            b"{,\n",
        ):
            made = guard_at()
            stream = HELLO + bare + HELLO
            self.assertEqual(relayed_by(made, *cut(stream, cuts)), stream)
            self.assertIsNone(made.fault)

    def test_decodes_are_bounded(self) -> None:
        """JSON that seems complete at each of its lines is decoded only so often."""
        stream = b'{"a":[{\n' + b"},{\n}\n" * 5000
        with patch("autopilot.relay.bare_json.is_error", return_value=False) as decoded:
            relayed_by(guard_at(), *cut(stream, range(0, len(stream), 100)))
        self.assertLess(decoded.call_count, 70)

    def test_held_line_is_bounded(self) -> None:
        """A line without an end is not held indefinitely."""
        made = guard_at()
        endless = b"{" + b"x" * 65536
        self.assertEqual(made.feed(endless), endless)

    def test_many_bare_lines(self) -> None:
        """Thousands of bare lines in one chunk cost neither the stack nor much time."""
        stream = b"{\n" * 30_000
        self.assertEqual(relayed_by(guard_at(), stream), stream)

    def test_boundary(self) -> None:
        """The end of an event is known in each line ending."""
        for data, boundary in (
            (b"data: x\n\n", True),
            (b"data: x\r\n\r\n", True),
            (b"data: x\r\r", True),
            (b"data: x\n", False),
            (b"data: x", False),
        ):
            made = guard_at()
            made.feed(data)
            self.assertEqual(made.at_boundary, boundary, data)
