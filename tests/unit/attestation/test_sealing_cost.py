"""What sealing and opening cost, in numbers that do not depend on the machine: calls and copies."""

from __future__ import annotations

import gzip
import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from types import FrameType

from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.sealed_stream import StreamOpener
from autopilot.attestation.sealing import ResponseKey, open_reply, seal
from tests.unit.attestation.sealed import instance_key, sealed_reply, sealed_stream

SIZE = 1_000_000
LARGE = b'{"model":"m","prompt":"%b"}' % (b"x" * SIZE)
SMALL = b'{"model":"m","prompt":"x"}'
LINE = b'data: {"choices":[]}\n'


def calls(function: Callable[[], object]) -> int:
    """Return how many Python functions a function calls."""
    count = 0

    def profile(frame: FrameType, what: str, _given: object) -> None:
        nonlocal count
        count += what == "call" and frame.f_globals["__name__"].startswith("autopilot.")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


def copies(function: Callable[[], object], size: int) -> float:
    """Return the memory that a function needs at once, in units of a size."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1] / size
    finally:
        tracemalloc.stop()


class CallTests(SynchronousTestCase):
    """Calls of the router's functions."""

    def test_request(self) -> None:
        """A request is sealed in six calls, and its reply opened in four, whatever their size."""
        key = instance_key()
        for body in (SMALL, LARGE):
            self.assertEqual(calls(partial(seal, body, key)), 6)
            response_key = ResponseKey()
            reply = sealed_reply(response_key.text, gzip.compress(body, 0))
            self.assertEqual(calls(partial(open_reply, reply, response_key)), 4)

    def test_event(self) -> None:
        """A sealed line takes seven calls and the blank line two; the usual spelling saves two."""
        key = ResponseKey()
        begin, *lines = sealed_stream(key.text, *[LINE] * 3)
        opener = StreamOpener(key)
        opener.feed(begin)
        self.assertEqual([calls(partial(opener.feed, line)) for line in lines[:2]], [9, 9])
        unusual = lines[2].replace(b'{"', b'{ "')
        self.assertEqual(calls(lambda: opener.feed(unusual)), 11)

    def test_events_of_a_chunk(self) -> None:
        """Events that arrive together share two of the calls."""
        key = ResponseKey()
        begin, *lines = sealed_stream(key.text, *[LINE, b"\n"] * 50)
        opener = StreamOpener(key)
        opener.feed(begin)
        self.assertEqual(calls(lambda: opener.feed(b"".join(lines))), 2 + 7 * len(lines))


class CopyTests(SynchronousTestCase):
    """Memory at once, in copies of what is sealed."""

    def test_request(self) -> None:
        """A request takes four copies: the plain and the packed text, the seal, and the whole."""
        key = instance_key()
        seal(SMALL, key)
        self.assertLess(copies(lambda: seal(LARGE, key), SIZE), 4.1)

    def test_reply(self) -> None:
        """So does a reply."""
        key = ResponseKey()
        reply = sealed_reply(key.text, gzip.compress(LARGE, 0))
        self.assertLess(copies(lambda: open_reply(reply, key), SIZE), 4.1)

    def test_stream(self) -> None:
        """The memory of a stream does not grow with its length."""
        key = ResponseKey()
        begin, *lines = sealed_stream(key.text, *[LINE] * 6000)

        def opened(count: int) -> None:
            opener = StreamOpener(key)
            opener.feed(begin)
            for line in lines[:count]:
                opener.feed(line)

        few, many = copies(lambda: opened(2000), 1), copies(lambda: opened(6000), 1)
        self.assertLess(many, 1.6 * few)

    def test_large_event(self) -> None:
        """One large event takes seven copies, in whatever chunks it arrives."""
        key = ResponseKey()
        begin, line = sealed_stream(key.text, LARGE + b"\n")

        def opened(size: int) -> None:
            opener = StreamOpener(key)
            opener.feed(begin)
            for at in range(0, len(line), size):
                opener.feed(line[at : at + size])

        self.assertLess(copies(lambda: opened(len(line)), SIZE), 7.5)
        self.assertLess(copies(lambda: opened(65_536), SIZE), 7.5)
