"""The mask over the operator's key in a response."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.relay.downstream import CommittedHead
from autopilot.relay.key_mask import KeyMask
from autopilot.routing.router_error import RouterError
from tests.unit.relay.chunks import halves
from tests.unit.relay.downstreams import RecordingDownstream, announcement

_HEAD = CommittedHead(200, b"OK", [], streams=True)
_KEY = b"cpk_cpk_canary"
_MASK = b"*" * len(_KEY)


def masked(pieces: Sequence[bytes]) -> RecordingDownstream:
    """Pass a response through a mask, the first piece with the head; return the client's side."""
    down = RecordingDownstream(Clock())
    mask = KeyMask(down, _KEY)
    mask.commit(_HEAD, pieces[0])
    for piece in pieces[1:]:
        mask.write(piece)
    mask.finish(b"")
    return down


class MaskTests(SynchronousTestCase):
    """What passes, however the response is cut."""

    def test_masked(self) -> None:
        """Each occurrence of the key, in any two pieces and byte by byte."""
        for body in (
            _KEY,
            b"a " + _KEY + b" b " + _KEY,
            _KEY + _KEY,
            b"cpk_" + _KEY,
            b"cpk_cpk_" + _KEY + b"cpk_cp",
            b"no key, cpk_cpk_canar",
        ):
            expected = body.replace(_KEY, _MASK)
            for pieces in halves(body):
                self.assertEqual(masked(pieces).body, expected, pieces)

    def test_at_once(self) -> None:
        """Only what may be the beginning of the key is held back."""
        down = RecordingDownstream(Clock())
        mask = KeyMask(down, _KEY)
        mask.commit(_HEAD, b"data: a\n\n")
        mask.write(b"data: cpk_\n\n")
        self.assertEqual(down.body, b"data: a\n\ndata: cpk_\n\n")
        mask.write(b"x cpk_cpk_")
        self.assertEqual(down.writes[-1], b"x ")
        written = len(down.writes)
        mask.write(b"can")
        self.assertEqual(len(down.writes), written)
        mask.write(b"cel")
        self.assertEqual(down.writes[-1], b"cpk_cpk_cancel")

    def test_ends(self) -> None:
        """Whatever the end, what was held back is no key and passes."""
        error = RouterError(502, "x", "y")
        for end in ("cut", "announce", "finish"):
            down = RecordingDownstream(Clock())
            mask = KeyMask(down, _KEY)
            mask.commit(_HEAD, b"x cpk")
            if end == "announce":
                mask.announce(error, b"", b"")
            elif end == "cut":
                mask.cut()
            else:
                mask.finish(b"_")
            expected = {"cut": b"x cpk", "finish": b"x cpk_"}
            self.assertEqual(down.body, expected.get(end, b"x cpk" + announcement(error)), end)
            self.assertIsNotNone(down.ended)

    def test_whole(self) -> None:
        """A response in one write."""
        down = RecordingDownstream(Clock())
        KeyMask(down, _KEY).whole(_HEAD, b"x " + _KEY + b"cpk")
        self.assertEqual(down.body, b"x " + _MASK + b"cpk")
