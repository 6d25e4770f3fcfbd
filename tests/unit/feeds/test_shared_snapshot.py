"""Tests of the form in which a feed goes to those who do not fetch it."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from autopilot.feeds.polling import CATALOG, UTILIZATION, FeedStatus
from autopilot.feeds.shared_snapshot import (
    PIECE_BYTES,
    Assembly,
    FeedHead,
    Received,
    decode_head,
    encode_head,
    head_of,
    pieces,
)
from autopilot.http.fetch import MAX_BYTES
from autopilot.http.fetch_error import NETWORK, OK, OUTCOMES

seconds = st.floats(0, 1e9)
errors = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), max_size=60)


@st.composite
def heads(draw: st.DrawFn) -> FeedHead:
    """Return a head with a body."""
    return FeedHead(
        draw(st.sampled_from((CATALOG, UTILIZATION))),
        draw(st.text("0123456789abcdef", min_size=1, max_size=64)),
        draw(st.integers(0, MAX_BYTES)),
        draw(seconds),
        draw(st.none() | seconds),
        draw(st.none() | errors),
        draw(st.sampled_from(sorted(OUTCOMES))),
        draw(seconds),
    )


def head(**changes: object) -> FeedHead:
    """Return the head of a feed of 4 bytes, fetched 2 seconds ago."""
    return replace(FeedHead(CATALOG, "1", 4, 2.0, None, None, OK, 10.0), **changes)


class HeadTests(SynchronousTestCase):
    """What is known of a feed."""

    @given(heads())
    def test_whole(self, one: FeedHead) -> None:
        """A head arrives as it was sent."""
        self.assertEqual(decode_head(encode_head(one)), one)

    def test_of_status(self) -> None:
        """Times become spans, none of them negative."""
        status = FeedStatus(CATALOG, 90.0, 95.0, "status 500", 3, 1, NETWORK)
        made = head_of(status, "7", 1000, 104.0, 100.0)
        self.assertEqual(made, FeedHead(CATALOG, "7", 1000, 10.0, 5.0, "status 500", NETWORK, 4.0))
        self.assertEqual(head_of(status, "7", 1000, 99.0, 80.0).age, 0.0)
        self.assertEqual(head_of(status, "7", 1000, 99.0, 100.0).due_in, 0.0)
        fresh = head_of(FeedStatus(CATALOG), "", 0, None, 100.0)
        self.assertEqual((fresh.age, fresh.failing_for, fresh.due_in), (None, None, 0.0))

    def test_odd(self) -> None:
        """A value that no head has is refused."""
        wrong: list[dict[str, object]] = [
            {"name": "prices"},
            {"outcome": "fine"},
            {"format": 2},
            {"age": None},
            {"version": ""},
            {"version": "v" * 65},
            {"age": -1.0},
            {"age": 1e10},
            {"failing_for": -1.0},
            {"due_in": -1.0},
            {"size": MAX_BYTES + 1},
            {"size": -1},
            {"last_error": "two\nlines"},
            {"last_error": "e" * 301},
        ]
        for changes in wrong:
            with self.subTest(changes), self.assertRaises(ValueError):
                decode_head(encode_head(head(**changes)))
        good = encode_head(head())
        for data in (b"", b"null", b"[]", b"{}", good[:-1], b"[" * 4000, good + b" " * 4096):
            with self.subTest(data[:20]), self.assertRaises(ValueError):
                decode_head(data)

    @given(st.binary(max_size=200))
    def test_nonsense(self, data: bytes) -> None:
        """No bytes have any other effect than a ValueError."""
        for read in (decode_head, lambda each: Assembly().add(each, 0.0)):
            with contextlib.suppress(ValueError):
                read(data)


class PiecesTests(SynchronousTestCase):
    """A feed in pieces."""

    @given(st.binary(max_size=40), st.integers(0, 3))
    def test_whole(self, end: bytes, full: int) -> None:
        """A body arrives as it was sent, with the time at which its head arrived."""
        body = b"x" * (full * PIECE_BYTES) + end
        assembly = Assembly()
        cut = list(pieces(head(size=len(body)), body))
        self.assertLessEqual(max(map(len, cut)), PIECE_BYTES + 2)
        results = [assembly.add(each, float(number)) for number, each in enumerate(cut)]
        self.assertEqual(results[:-1], [None] * (len(cut) - 1))
        self.assertEqual(results[-1], Received(head(size=len(body)), 0.0, body))

    def test_two_feeds(self) -> None:
        """The pieces of both feeds may alternate."""
        long = b"c" * (2 * PIECE_BYTES)
        one = pieces(head(size=len(long)), long)
        two = pieces(head(name=UTILIZATION), b"util")
        order = [next(one), next(two), next(one), next(two), next(one)]
        assembly = Assembly()
        whole = [each for each in (assembly.add(piece, 1.0) for piece in order) if each]
        self.assertEqual([each.body for each in whole], [b"util", long])

    def test_without_body(self) -> None:
        """A head alone says that the receiver has the body, or that there is none."""
        for one in (head(), head(version="", age=None, size=0)):
            (piece,) = pieces(one, None)
            self.assertEqual(Assembly().add(piece, 3.0), Received(one, 3.0, None))

    def test_begun_again(self) -> None:
        """A later head of the same feed replaces a body that has not arrived whole."""
        assembly = Assembly()
        first = list(pieces(head(version="1"), b"body"))
        self.assertIsNone(assembly.add(first[0], 1.0))
        latest = [assembly.add(piece, 2.0) for piece in pieces(head(version="2"), b"next")]
        self.assertEqual(latest[-1], Received(head(version="2"), 2.0, b"next"))

    def test_out_of_place(self) -> None:
        """A piece of nothing, of no feed, or of too much is refused and forgotten."""
        whole = list(pieces(head(), b"body"))
        for odd in (b"", b"?", b"P", b"P\x02more", b"P\xffmore", whole[1]):
            with self.subTest(odd), self.assertRaises(ValueError):
                Assembly().add(odd, 0.0)
        assembly = Assembly()
        assembly.add(whole[0], 0.0)
        for _ in range(2):
            with self.assertRaises(ValueError):
                assembly.add(b"P\x00longer", 0.0)
        nothing = head(version="", age=None)
        with self.assertRaises(ValueError):
            Assembly().add(next(pieces(nothing, b"body")), 0.0)

    def test_shows_no_body(self) -> None:
        """Neither a log nor a test's output has the body."""
        self.assertNotIn("body", repr(Received(head(), 0.0, b"body")))
