"""Tests of parsing quotes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.quote import ATTRIBUTES, Quote, read_quote
from tests.unit.attestation.quotes import KEY_HASH, MRTD, NONCE_HASH, RTMRS, SIZE, quote


class QuoteTests(SynchronousTestCase):
    """Accepted and rejected quotes."""

    def test_fields(self) -> None:
        """The fields are at the offsets of Intel's format."""
        expected = Quote(ATTRIBUTES, MRTD, RTMRS, NONCE_HASH, KEY_HASH)
        self.assertEqual(read_quote(quote()), expected)
        attributes = read_quote(quote(attributes=0x8000_0000_1000_0002))
        assert attributes is not None
        self.assertEqual(attributes.attributes.hex(), "0200001000000080")
        debug = read_quote(quote(attributes=1))
        assert debug is not None
        self.assertTrue(debug.debug)
        others = read_quote(quote(attributes=0xFFFF_FFFF_FFFF_FFFE))
        assert others is not None
        self.assertFalse(others.debug)

    def test_other_kinds(self) -> None:
        """Quotes of another version, key type or enclave type are rejected."""
        for other in (
            quote(version=3),
            quote(version=5),
            quote(key_type=3),
            quote(tee_type=0),
            quote(version=0x0400),
        ):
            self.assertIsNone(read_quote(other))

    def test_length(self) -> None:
        """The declared signature must be complete and long enough; padding is accepted."""
        whole = quote()
        for end in range(0, SIZE, 7):
            self.assertIsNone(read_quote(whole[:end]), end)
        self.assertIsNone(read_quote(whole[:-1]))
        self.assertEqual(read_quote(whole + b"\0" * 20), read_quote(whole))
        for declared in (0, 127, SIZE, 0xFFFF_FFFF):
            self.assertIsNone(read_quote(quote(signature=declared)), declared)
        self.assertIsNotNone(read_quote(quote(signature=128)))
        shortest = quote(signature=128)[: 636 + 128]
        self.assertIsNotNone(read_quote(shortest))
        self.assertIsNone(read_quote(shortest[:-1]))

    @given(st.binary(max_size=900), st.booleans())
    def test_anything(self, data: bytes, headed: bool) -> None:
        """Arbitrary bytes do not raise, and any result has two hashes."""
        read = read_quote(quote()[:8] + data if headed else data)
        if read is not None:
            self.assertEqual((len(read.nonce_hash), len(read.key_hash)), (32, 32))
