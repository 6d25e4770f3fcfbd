"""Tests of the frames between the parent and a worker."""

from __future__ import annotations

from functools import partial
from struct import pack

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from autopilot.service.frames import MAX_PAYLOAD, Frames, Kind

_GONE = Failure(ConnectionDone())


class FramesTests(SynchronousTestCase):
    """One end of a stream of frames, over a transport in memory."""

    def setUp(self) -> None:
        """Connect an end, and note what arrives."""
        self.lost = 0
        self.frames = Frames(self.lose)
        self.transport = StringTransport()
        self.frames.makeConnection(self.transport)
        self.got: list[tuple[Kind, bytes]] = []
        for kind in (Kind.FEED, Kind.REPORT):
            self.frames.on(kind, partial(self.note, kind))

    def note(self, kind: Kind, payload: bytes) -> None:
        """Note a frame."""
        self.got.append((kind, payload))

    def fail_to_read(self, payload: bytes) -> None:
        """Raise what a handler may raise."""
        raise ZeroDivisionError

    def lose(self) -> None:
        """Count the ends of the stream."""
        self.lost += 1

    @given(
        st.lists(st.tuples(st.sampled_from([Kind.FEED, Kind.REPORT]), st.binary(max_size=300))),
        st.lists(st.integers(1, 40), min_size=1),
    )
    def test_pieces(self, sent: list[tuple[Kind, bytes]], sizes: list[int]) -> None:
        """Frames arrive whole and in order, however the stream is cut."""
        self.setUp()
        for kind, payload in sent:
            self.frames.send(kind, payload)
        stream, at, turn = self.transport.value(), 0, 0
        while at < len(stream):
            size = sizes[turn % len(sizes)]
            self.frames.dataReceived(stream[at : at + size])
            at, turn = at + size, turn + 1
        self.assertEqual(self.got, sent)

    def test_large_body_is_joined_once(self) -> None:
        """A body of the largest size costs one copy, not one for each piece of it."""
        body = bytes(MAX_PAYLOAD)
        self.frames.send(Kind.FEED, body)
        stream = self.transport.value()
        half = len(stream) // 2
        self.frames.dataReceived(stream[:half])
        self.frames.dataReceived(stream[half:-1])
        self.assertEqual(len(self.frames._pieces), 2)
        self.assertEqual(self.got, [])
        self.frames.dataReceived(stream[-1:])
        self.assertEqual([len(payload) for _, payload in self.got], [MAX_PAYLOAD])

    def test_too_large(self) -> None:
        """A longer payload is not sent; a longer frame ends the stream."""
        self.assertRaises(ValueError, self.frames.send, Kind.FEED, bytes(MAX_PAYLOAD + 1))
        self.assertEqual(self.transport.value(), b"")
        for length in (0, MAX_PAYLOAD + 2):
            self.transport.disconnecting = False
            self.frames.dataReceived(pack("!IB", length, Kind.FEED))
            self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.got, [])

    def test_unknown_kind(self) -> None:
        """A kind of a later version is skipped."""
        self.frames.dataReceived(pack("!IB", 3, 250) + b"xy" + pack("!IB", 2, Kind.FEED) + b"z")
        self.assertEqual(self.got, [(Kind.FEED, b"z")])

    def test_handler_fails(self) -> None:
        """What a handler raises is logged, and the next frame is handled."""
        self.frames.on(Kind.PAGE, self.fail_to_read)
        self.frames.dataReceived(pack("!IB", 1, Kind.PAGE) + pack("!IB", 1, Kind.FEED))
        self.assertEqual(self.got, [(Kind.FEED, b"")])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_lost(self) -> None:
        """The end is reported once; nothing is sent after it, nor before the beginning."""
        self.frames.connectionLost(_GONE)
        self.frames.connectionLost(_GONE)
        self.assertEqual(self.lost, 1)
        Frames().send(Kind.FEED, b"early")
