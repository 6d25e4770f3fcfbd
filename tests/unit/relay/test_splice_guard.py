"""The strict guard."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.dialect import Dialect
from autopilot.relay.splice_guard import SpliceGuard
from autopilot.relay.sse_guard import GuardLevel
from tests.unit.relay.chunks import cut
from tests.unit.relay.guarded import (
    BARE,
    DONE,
    HELLO,
    ROLE,
    chunk,
    compact,
    delta,
    guard_at,
    relayed_by,
)

_COMPACT = st.one_of(
    st.builds(
        lambda id, *choices: compact({"id": id, "choices": choices}),
        st.sampled_from(["a1", "a1", "a1", "b2", ""]),
        *(
            st.builds(
                lambda index, role, content: delta(index, **role, content=content),
                st.sampled_from([0, 0, 0, 1]),
                st.sampled_from([{}, {}, {}, {"role": "assistant"}]),
                st.sampled_from(["x", "", "\n\n", '"role"', '"id":"a1"', 'data: {"id":"a1",']),
            ),
        )
        * 2,
    ),
    st.sampled_from([DONE, b": ping\n\n", b"data: {}\n\n", b'{"a":1}\n', b"data: odd\r\n\r\n"]),
)


class SpliceTests(SynchronousTestCase):
    """A second generation behind the first, under the strict guard."""

    def spliced(self, before: bytes, after: bytes, cut: int = 0) -> None:
        """``after`` must be recognised and nothing of it relayed, whole or cut."""
        made = guard_at(GuardLevel.STRICT)
        self.assertEqual(relayed_by(made, before + after, HELLO), before)
        self.assertIn("second answer", made.fault or "")
        self.assertFalse(made.done)
        made = guard_at(GuardLevel.STRICT)
        self.assertEqual(made.feed(before), before)
        self.assertEqual(made.feed(after), b"")

    def whole(self, *chunks: bytes) -> None:
        """Nothing of this is a splice."""
        made = guard_at(GuardLevel.STRICT)
        self.assertEqual(relayed_by(made, *chunks), b"".join(chunks))
        self.assertIsNone(made.fault)

    def test_new_id(self) -> None:
        """Another id."""
        self.spliced(ROLE + HELLO, chunk(delta(content="x"), id="b2"))

    def test_role_again(self) -> None:
        """A role delta after content."""
        self.spliced(ROLE + HELLO, ROLE)
        self.spliced(ROLE + chunk(delta(reasoning="hm")), chunk(delta(role="assistant")))
        self.spliced(ROLE + chunk(delta(refusal="I cannot")), chunk(delta(role="assistant")))

    def test_event_cut_in_two(self) -> None:
        """Of an event that began in an earlier chunk the beginning is already out."""
        made = guard_at(GuardLevel.STRICT)
        second = chunk(delta(content="x"), id="b2")
        self.assertEqual(made.feed(HELLO + second[:9]), HELLO + second[:9])
        self.assertEqual(made.feed(second[9:]), b"")
        self.assertIsNotNone(made.fault)
        self.assertFalse(made.at_boundary)

    def test_role_in_every_delta(self) -> None:
        """Engines that always name the role do not splice."""
        always = chunk(delta(role="assistant", content="x"))
        self.whole(ROLE, always, always, chunk(delta(role="assistant", content="")), DONE)

    def test_closing_role(self) -> None:
        """Nor does a role in the chunk that finishes."""
        self.whole(ROLE, HELLO, chunk(delta(role="assistant", content="", finish_reason="stop")))

    def test_several_choices(self) -> None:
        """Each choice has a role of its own."""
        self.whole(ROLE, HELLO, chunk(delta(1, role="assistant", content="")), HELLO)

    def test_bare_error_before(self) -> None:
        """A bare error before the splice is the reported fault."""
        made = guard_at(GuardLevel.STRICT)
        self.assertEqual(relayed_by(made, HELLO + BARE + b"\n" + chunk(id="b2")), HELLO)
        self.assertIn("Unhandled exception", made.fault or "")

    def test_long_events(self) -> None:
        """An event over 256 KiB is relayed unread, and the next one is read again."""
        long = chunk(delta(content="x" * 300_000), id="b2")
        made = guard_at(GuardLevel.STRICT)
        stream = HELLO + long + HELLO + chunk(delta(content="x"), id="c3")
        self.assertEqual(
            relayed_by(made, *cut(stream, range(0, len(stream), 4096))),
            stream[:0] or HELLO + long + HELLO,
        )
        self.assertIsNotNone(made.fault)

    def test_odd_chunks(self) -> None:
        """What is no chunk of the usual shape says nothing."""
        odd = (
            b"[]",
            b'{"choices":null,"id":"b2"}',
            b'{"id":5}',
            b"\xff",
            b"[" * 100_000,
            b'{"id":""}',
        )
        self.whole(HELLO, *(b"data: " + data + b"\n\n" for data in odd), HELLO)

    def test_no_id(self) -> None:
        """No id is no other id."""
        self.whole(HELLO, chunk(delta(content="x"), id=None), chunk(id="a1"), b"data: odd\n\n")

    @given(
        st.lists(_COMPACT, min_size=1, max_size=8).map(b"".join),
        st.lists(st.integers(1, 300), max_size=4),
    )
    def test_unread_as_if_read(self, stream: bytes, cuts: list[int]) -> None:
        """Chunks that are passed unread make no difference to what is found, however it is cut."""
        usual = compact({"id": "a1", "choices": [delta(content="x")]})
        pieces = [usual, *cut(stream, cuts), usual]
        made, reading = guard_at(GuardLevel.STRICT), guard_at(GuardLevel.STRICT)
        assert isinstance(reading, SpliceGuard)
        with patch.object(reading, "_continues", return_value=False):
            told = [relayed_by(each, *pieces) for each in (made, reading)]
        self.assertEqual(told[0], told[1])
        self.assertEqual((made.fault, made.done), (reading.fault, reading.done))

    @given(
        st.lists(st.one_of(_COMPACT, st.just(BARE + b"\n")), max_size=12).map(b"".join),
        st.sampled_from([b"\n", b"\r\n"]),
        st.lists(st.integers(1, 900), max_size=9),
        st.integers(0, 900),
    )
    def test_read_ahead(self, stream: bytes, end: bytes, cuts: list[int], held: int) -> None:
        """Held bytes that were read as they arrived pass as if they were read at once."""
        stream = stream.replace(b"\n", end)
        ahead, at_once = SpliceGuard(), SpliceGuard()
        for data in cut(stream[:held], cuts):
            ahead.read_ahead(data)
        passed = ahead.pass_held(stream), at_once.feed(stream)
        self.assertEqual(*passed)
        self.assertEqual(ahead.end(), at_once.end())
        for name in ("fault", "spliced", "ended", "done", "whole", "meaning", "at_boundary"):
            self.assertEqual(getattr(ahead, name), getattr(at_once, name), name)

    def test_read_ahead_without_ends(self) -> None:
        """Of an event without an end only so much waits to be read."""
        made = SpliceGuard()
        for _ in range(40):
            made.read_ahead(b"data: x\r" * 1250)
            self.assertLess(len(made._unread), 300_000)
        self.assertEqual(made.pass_held(b"data: x\r" * 50_000), b"data: x\r" * 50_000)

    def test_usual_chunks_are_not_read(self) -> None:
        """Nearly all chunks of a stream go on with the same answer: they are passed unread."""
        made = guard_at(GuardLevel.STRICT)
        assert isinstance(made, SpliceGuard)
        usual = compact({"id": "a1", "choices": [delta(content="x")]})
        made.feed(usual)
        with patch.object(made, "_splices", side_effect=AssertionError):
            self.assertEqual(made.feed(usual * 3), usual * 3)
            self.assertRaises(AssertionError, made.feed, usual.replace(b"a1", b"b2"))

    def test_only_completions(self) -> None:
        """Other dialects have no such ids."""
        made = guard_at(GuardLevel.STRICT, Dialect.MESSAGES)
        stream = HELLO + chunk(delta(content="x"), id="b2")
        self.assertEqual(relayed_by(made, stream), stream)
