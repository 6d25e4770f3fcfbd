"""Tests of a feed's body as it lies in the store."""

from __future__ import annotations

import random
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.feeds.stored_body import (
    MAX_PIECES,
    PIECE_BYTES,
    packing_steps,
    unpacking_steps,
)
from autopilot.http.fetch import MAX_BYTES
from autopilot.routing.steps import Steps, result_of


class StoredBodyTests(SynchronousTestCase):
    """A body, packed and unpacked."""

    @settings(max_examples=25)
    @given(st.binary(max_size=300), st.integers(0, 2))
    def test_whole(self, end: bytes, large: int) -> None:
        """A body comes back as it was; its version depends on its bytes alone."""
        body = b'{"id":"model"},' * (large * 20_000) + end
        version, pieces = result_of(packing_steps(body))
        self.assertEqual(result_of(packing_steps(bytes(body)))[0], version)
        self.assertNotEqual(result_of(packing_steps(body + b"x"))[0], version)
        self.assertEqual(result_of(unpacking_steps(pieces, version, len(body))), body)

    def test_largest(self) -> None:
        """The largest body, incompressible, goes in steps and has few pieces."""
        body = random.Random(1).randbytes(MAX_BYTES)
        pauses: list[None] = []

        def counted() -> Steps[tuple[str, tuple[bytes, ...]]]:
            steps = packing_steps(body)
            while True:
                try:
                    pauses.append(next(steps))
                except StopIteration as ended:
                    packed: tuple[str, tuple[bytes, ...]] = ended.value
                    return packed
                yield

        version, pieces = result_of(counted())
        self.assertEqual(len(pauses), MAX_BYTES // (1 << 18) - 1)
        self.assertLessEqual(len(pieces), MAX_PIECES)
        self.assertLessEqual(max(map(len, pieces)), PIECE_BYTES)
        unpacking = unpacking_steps(pieces, version, len(body))
        self.assertGreater(sum(1 for _ in unpacking), 60)

    def test_bomb(self) -> None:
        """No more is unpacked than the head says, and never more than a step at a time."""
        bomb = zlib.compress(b"a" * (32 << 20))
        steps = unpacking_steps([bomb], "v", 1 << 20)
        count = 0
        with self.assertRaises(ValueError):
            for _ in steps:
                count += 1
        self.assertEqual(count, 4)

    def test_another(self) -> None:
        """What is not the body that the head names is refused."""
        body = b'{"data":[]}' * 100
        version, (piece,) = result_of(packing_steps(body))
        odd: list[tuple[list[bytes], str, int]] = [
            ([], version, len(body)),
            ([piece[:-1]], version, len(body)),
            ([piece + b"more"], version, len(body)),
            ([piece, b"more"], version, len(body)),
            ([piece], version[::-1], len(body)),
            ([piece], version, len(body) - 1),
            ([piece], version, len(body) + 1),
            ([b"nonsense"], version, len(body)),
            ([body], version, len(body)),
        ]
        for pieces, named, size in odd:
            with self.subTest(pieces=pieces, size=size), self.assertRaises(ValueError):
                result_of(unpacking_steps(pieces, named, size))
