"""Tests of quote verification with a real quote, at times where it holds and where it does not."""

from __future__ import annotations

import base64
import json

import dcap_qvl
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation import quote_verification
from autopilot.attestation.collateral import Platform
from autopilot.attestation.quote import read_quote
from autopilot.attestation.quote_verification import platform_of, verify_quote
from autopilot.attestation.verdict import Refusal, RefusedError
from tests.unit.attestation import world

QUOTE = (world.REAL / "tdx_quote.bin").read_bytes()
COLLATERAL = (world.REAL / "tdx_quote_collateral.json").read_text()
FIRST, LAST = 1750329147, 1752919234


class RealQuoteTests(SynchronousTestCase):
    """A quote of a real platform, with Intel's own collateral."""

    def refusal(self, raw: bytes, now: int = FIRST, collateral: str | None = COLLATERAL) -> Refusal:
        """Return the reason why a quote is refused."""
        try:
            verify_quote(raw, collateral, now)
        except RefusedError as error:
            return error.refusal
        raise AssertionError("verified")

    def test_times(self) -> None:
        """The quote holds from the last issue to the first expiry of its collateral."""
        for now in (FIRST, 1751000000, LAST):
            verified = verify_quote(QUOTE, COLLATERAL, now)
            self.assertEqual((verified.tcb, verified.advisories), ("UpToDate", ()))
            self.assertEqual(verified.expires, LAST + 1)
        for now in (0, FIRST - 1, LAST + 1, 1900000000):
            self.assertIs(self.refusal(QUOTE, now), Refusal.COLLATERAL)

    def test_fields(self) -> None:
        """The fields are those that the library verified."""
        report = dcap_qvl.parse_quote(QUOTE).report
        quote = verify_quote(QUOTE, COLLATERAL, FIRST).quote
        self.assertEqual(quote, read_quote(QUOTE))
        self.assertEqual(quote.attributes, report.td_attributes)
        self.assertEqual(quote.mrtd, report.mr_td)
        registers = (report.rt_mr0, report.rt_mr1, report.rt_mr2, report.rt_mr3)
        self.assertEqual(quote.rtmrs, registers)
        self.assertEqual(quote.nonce_hash + quote.key_hash, report.report_data)

    def test_platform(self) -> None:
        """The quote names the collateral that it needs."""
        self.assertEqual(platform_of(QUOTE), Platform("B0C06F000000", "platform"))
        for raw in (
            b"",
            QUOTE[:600],
            QUOTE[:900] + bytes(4000),
            bytes(5000),
            QUOTE + bytes(16_384),
        ):
            with self.assertRaises(RefusedError) as caught:
                platform_of(raw)
            self.assertIs(caught.exception.refusal, Refusal.QUOTE_MALFORMED)

    def test_flipped_bytes(self) -> None:
        """No byte of header and report can change."""
        for at in range(8, 632, 13):
            changed = bytearray(QUOTE)
            changed[at] ^= 0x10
            self.assertIs(self.refusal(bytes(changed)), Refusal.QUOTE_SIGNATURE, at)

    def test_spellings(self) -> None:
        """A quote has many spellings that verify, so that its bytes identify nothing."""
        for raw in (QUOTE + bytes(100), QUOTE + b"junk"):
            self.assertEqual(verify_quote(raw, COLLATERAL, FIRST).tcb, "UpToDate")

    def test_other_platform(self) -> None:
        """The collateral of another world proves nothing of this quote."""
        self.assertIs(self.refusal(QUOTE, world.NOW, world.collateral()), Refusal.COLLATERAL)
        self.assertIs(self.refusal(QUOTE, collateral=None), Refusal.COLLATERAL)
        with self.assertRaises(RefusedError):
            verify_quote(QUOTE, COLLATERAL, FIRST, root=world.roots()[0])

    def test_unreadable_root(self) -> None:
        """A root that cannot be read verifies nothing."""
        with self.assertRaises(RefusedError):
            verify_quote(QUOTE, COLLATERAL, FIRST, root=b"root")


class _Claims:
    """The library's claims, as another version might write them."""

    def __init__(self, text: str) -> None:
        self._text = text

    def to_json(self) -> str:
        return self._text


class LibraryTests(SynchronousTestCase):
    """Whatever the library says, the own checks are made, and unknown words refuse."""

    def setUp(self) -> None:
        """Make a quote of the synthetic world."""
        self.raw = base64.b64decode(world.make("5a" * 32)["quote"])
        self.good = {
            "tcb": {"status": "UpToDate", "advisory_ids": ["INTEL-SA-1"]},
            "earliest_expiration_date": world.NOW + 20,
            "qe_iden_earliest_expiration_date": world.NOW + 10,
        }

    def answered(self, claims: object) -> None:
        """Let the library verify anything, with these claims; an exception is raised."""

        class Verifier:
            def __init__(self, root: bytes | None) -> None:
                pass

            def verify_with_policy(self, *_given: object) -> _Claims:
                if isinstance(claims, Exception):
                    raise claims
                return _Claims(claims if isinstance(claims, str) else json.dumps(claims))

        self.patch(quote_verification, "QuoteVerifier", Verifier)

    def refusal(self, raw: bytes | None = None) -> Refusal | None:
        """Return the reason, or None if the quote is verified."""
        try:
            verify_quote(raw or self.raw, world.collateral(), world.NOW)
        except RefusedError as error:
            return error.refusal
        return None

    def test_claims(self) -> None:
        """The earlier of two ends counts, and the advisories are kept."""
        self.answered(self.good)
        verified = verify_quote(self.raw, world.collateral(), world.NOW)
        self.assertEqual((verified.expires, verified.advisories), (world.NOW + 10, ("INTEL-SA-1",)))

    def test_status(self) -> None:
        """A status that is not accepted is refused, though the library let it pass."""
        self.answered({**self.good, "tcb": {"status": "OutOfDate", "advisory_ids": []}})
        self.assertIs(self.refusal(), Refusal.TCB_STATUS)

    def test_expired(self) -> None:
        """What has expired is refused, though the library let it pass."""
        for member in ("earliest_expiration_date", "qe_iden_earliest_expiration_date"):
            self.answered({**self.good, member: world.NOW + 1})
            self.assertIsNone(self.refusal())
            self.answered({**self.good, member: world.NOW})
            self.assertIs(self.refusal(), Refusal.COLLATERAL)

    def test_attributes(self) -> None:
        """The attributes are compared, though the library let them pass."""
        self.answered(self.good)
        for value, refusal in (("01", Refusal.DEBUG), ("02", Refusal.TD_ATTRIBUTES)):
            fields = {"td_attributes": bytes.fromhex(value + "00001000000000")}
            raw = base64.b64decode(world.make("5a" * 32, fields=fields)["quote"])
            self.assertIs(self.refusal(raw), refusal)

    def test_unknown_claims(self) -> None:
        """Claims that cannot be read are none."""
        for claims in ("", "{}", "[]", {**self.good, "tcb": "UpToDate"}):
            self.answered(claims)
            self.assertIs(self.refusal(), Refusal.QUOTE_SIGNATURE)

    def test_unreadable(self) -> None:
        """A quote that the library cannot read, or that names no platform, is malformed."""

        class Nameless:
            def fmspc(self) -> str:
                raise ValueError("no FMSPC")

        self.patch(quote_verification, "parse_quote", lambda _raw: Nameless())
        with self.assertRaises(RefusedError) as caught:
            platform_of(self.raw)
        self.assertIs(caught.exception.refusal, Refusal.QUOTE_MALFORMED)

        def unreadable(_raw: bytes) -> None:
            raise ValueError("Failed to parse quote")

        self.patch(quote_verification, "parse_quote", unreadable)
        self.assertIs(self.refusal(), Refusal.QUOTE_MALFORMED)

    def test_causes(self) -> None:
        """The library's words decide the reason; words that are not known are a bad signature."""
        for words, refusal in (
            ("ISV enclave report signature is invalid", Refusal.QUOTE_SIGNATURE),
            ("QE report hash mismatch", Refusal.QUOTE_SIGNATURE),
            ("Signature is invalid for qe_report in quote", Refusal.QUOTE_SIGNATURE),
            ("Signature is invalid for tcb_info in quote_collateral", Refusal.COLLATERAL),
            ("Signature is invalid for qe_identity in quote_collateral", Refusal.COLLATERAL),
            ("TCBInfo issue date is in the future", Refusal.COLLATERAL),
            ("TCBInfo expired", Refusal.COLLATERAL),
            ("QE Identity expired", Refusal.COLLATERAL),
            ("CrlExpired { time: UnixTime(2), next_update: UnixTime(1) }", Refusal.COLLATERAL),
            ("Failed to verify certificate chain", Refusal.COLLATERAL),
            ("Failed to parse root CA CRL", Refusal.COLLATERAL),
            ("Fmspc mismatch", Refusal.COLLATERAL),
            ("Unsupported QE Identity id/version", Refusal.COLLATERAL),
            ("Debug mode is enabled", Refusal.DEBUG),
            ("SEPT_VE_DISABLE is not enabled", Refusal.TD_ATTRIBUTES),
            ("Reserved bits in TD attributes are set", Refusal.TD_ATTRIBUTES),
            ("TCB status X is not acceptable by policy", Refusal.TCB_STATUS),
            ("TCB status is invalid: Revoked", Refusal.TCB_STATUS),
            ("Platform TCB too old: tcb_date_tag 1 + grace 0 < now 2", Refusal.TCB_STATUS),
            ("words of another version", Refusal.QUOTE_SIGNATURE),
        ):
            self.answered(ValueError(f"Verification failed: {words}"))
            self.assertIs(self.refusal(), refusal, words)
