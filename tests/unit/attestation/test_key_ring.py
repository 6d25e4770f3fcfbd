"""Tests of parsed keys that are kept."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.key_ring import MAX_KEYS, KeyRing
from autopilot.attestation.sealing import InstanceKey
from tests.unit.attestation.judged import NO_KEY, parse


class KeyRingTests(SynchronousTestCase):
    """`KeyRing`."""

    def setUp(self) -> None:
        """Make a ring."""
        self.parsed: list[str] = []
        self.ring = KeyRing(self.parse)

    def parse(self, text: str) -> InstanceKey:
        """Parse a text, and note it."""
        self.parsed.append(text)
        return parse(text)

    def test_once(self) -> None:
        """A text is parsed once, also one that is no key."""
        for _ in range(3):
            key = self.ring.of("a")
            assert key is not None
            self.assertEqual(key.text, "a")
            self.assertIsNone(self.ring.of(NO_KEY))
        self.assertEqual(self.parsed, ["a", NO_KEY])

    def test_bounded(self) -> None:
        """The one that was used least lately gives way."""
        for number in range(MAX_KEYS):
            self.ring.of(f"{number}")
        self.ring.of("0")
        self.ring.of("one more")
        self.parsed.clear()
        self.ring.of("0")
        self.ring.of("1")
        self.assertEqual(self.parsed, ["1"])
