"""Tests of the states and reasons, none of which claims verification."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.evidence_state import (
    FLAWS,
    NO_TEE,
    NOT_FETCHED,
    TRANSIENT,
    EvidenceState,
    Finding,
    Instance,
    Reason,
    judge,
    refusal_reason,
    unavailable,
)
from tests.unit.attestation.quotes import KEY_HASH, NONCE_HASH, quote

NONCE = "ab" * 32
PUBKEY = "cHVibGljIGtleQ=="
GOOD = Instance(quote(), 8, KEY_HASH)
REFUSALS = (
    (400, {"detail": "Chute 1-2 is not TEE-enabled"}, Reason.NOT_TEE_ENABLED),
    (
        400,
        {"detail": "Instances requires chutes_version >= 0.6.0 to retrieve evidence."},
        Reason.RUNTIME_TOO_OLD,
    ),
    (
        400,
        {"detail": "TEE evidence is unavailable for this execution backend."},
        Reason.EXTERNAL_BACKEND,
    ),
    (400, {"error": "$.query.nonce: required parameter missing"}, Reason.NONCE_REFUSED),
    (400, {"detail": "Nonce is required"}, Reason.NONCE_REFUSED),
    (400, {"detail": "something new"}, Reason.REFUSED),
    (401, {"detail": "who are you"}, Reason.REFUSED),
    (403, "<html>", Reason.REFUSED),
    (422, {"detail": [{"loc": ["query", "nonce"], "msg": "Field required"}]}, Reason.NONCE_REFUSED),
    (404, {"detail": "Chute not found"}, Reason.UNKNOWN_CHUTE),
    (429, {"detail": "Rate limit exceeded. Try again later."}, Reason.RATE_LIMITED),
    (429, "<html>nginx</html>", Reason.RATE_LIMITED),
    (502, {"detail": "Attestation service unavailable. It is."}, Reason.SERVICE_DOWN),
    (502, "<html>", Reason.PLATFORM_ERROR),
    (500, {"detail": "x"}, Reason.PLATFORM_ERROR),
    (503, "", Reason.PLATFORM_ERROR),
    (204, "", Reason.REFUSED),
    (302, "", Reason.REFUSED),
)

_quotes = st.one_of(
    st.none(),
    st.binary(max_size=50),
    st.builds(
        quote,
        attributes=st.integers(0, 3),
        nonce_hash=st.binary(min_size=32, max_size=32),
        key_hash=st.sampled_from([KEY_HASH, bytes(32)]),
    ),
)
_instances = st.builds(
    Instance,
    _quotes,
    st.none() | st.integers(0, 8),
    st.none() | st.sampled_from([KEY_HASH, b""]),
    st.none() | st.text(max_size=5),
)


class JudgeTests(SynchronousTestCase):
    """A response with status 200."""

    def assert_flawed(self, instance: Instance, reason: Reason, *others: Instance) -> Finding:
        """Assert that one such instance among good ones voids the evidence."""
        finding = judge([GOOD, instance, *others], 0, NONCE)
        self.assertEqual((finding.state, finding.reason), (EvidenceState.UNAVAILABLE, reason))
        self.assertEqual(finding.instances, 2 + len(others))
        return finding

    def test_present(self) -> None:
        """Complete and consistent evidence is present, and unverified."""
        finding = judge([GOOD, GOOD], 1, NONCE)
        self.assertEqual(
            finding,
            Finding(
                EvidenceState.PRESENT,
                None,
                instances=2,
                failed=1,
                gpus=16,
                certificate_bound=True,
                nonces_bound=0,
                nonce_hashes=frozenset({NONCE_HASH}),
            ),
        )
        self.assertEqual(str(finding), "evidence-present-unverified")

    def test_nothing(self) -> None:
        """An empty response is no evidence, whatever failed."""
        self.assertEqual(str(judge([], 0, NONCE)), "evidence-unavailable (no-evidence)")
        finding = judge([], 3, NONCE)
        self.assertEqual((finding.reason, finding.failed), (Reason.ALL_FAILED, 3))

    def test_flaws(self) -> None:
        """Unreadable or inconsistent evidence is void."""
        self.assert_flawed(replace(GOOD, quote=None), Reason.MALFORMED)
        self.assert_flawed(replace(GOOD, gpus=None), Reason.MALFORMED)
        self.assert_flawed(replace(GOOD, quote=quote()[:600]), Reason.MALFORMED_QUOTE)
        self.assert_flawed(replace(GOOD, quote=quote(version=3)), Reason.MALFORMED_QUOTE)
        debug, counted = 1 << 28 | 1, 1 << 28 | 1 << 63
        self.assert_flawed(replace(GOOD, quote=quote(attributes=debug)), Reason.DEBUG)
        for attributes in (0, counted, 1 << 28 | 2):
            flawed = replace(GOOD, quote=quote(attributes=attributes))
            self.assert_flawed(flawed, Reason.TD_ATTRIBUTES)
        self.assert_flawed(replace(GOOD, quote=quote(nonce_hash=bytes(32))), Reason.NONCE_MISSING)

    def test_binding(self) -> None:
        """The quote must name the certificate; without one nothing is claimed."""
        other = replace(GOOD, certificate_hash=bytes(32))
        self.assertIs(self.assert_flawed(other, Reason.BINDING_MISMATCH).certificate_bound, False)
        without = replace(GOOD, certificate_hash=None)
        finding = judge([GOOD, without], 0, NONCE)
        self.assertEqual((finding.state, finding.certificate_bound), (EvidenceState.PRESENT, None))
        self.assert_flawed(other, Reason.BINDING_MISMATCH, without)

    def test_nonce(self) -> None:
        """With an instance's key the nonce is checked; without one nothing is claimed."""
        made = sha256((NONCE + PUBKEY).encode()).digest()
        bound = Instance(quote(nonce_hash=made), 0, KEY_HASH, PUBKEY)
        finding = judge([bound, GOOD], 0, NONCE)
        self.assertEqual((finding.state, finding.nonces_bound), (EvidenceState.PRESENT, 1))
        self.assertEqual(judge([replace(bound, e2e_pubkey=None)], 0, NONCE).nonces_bound, 0)
        self.assert_flawed(replace(bound, e2e_pubkey="b3RoZXI="), Reason.NONCE_MISMATCH)
        self.assertEqual(judge([bound], 0, "cd" * 32).reason, Reason.NONCE_MISMATCH)
        self.assertEqual(judge([bound], 0, NONCE.upper()).reason, Reason.NONCE_MISMATCH)

    def test_no_gpus(self) -> None:
        """No GPUs are counted as none."""
        self.assertEqual(judge([replace(GOOD, gpus=0), replace(GOOD, gpus=3)], 0, NONCE).gpus, 3)

    def test_key_that_is_no_text(self) -> None:
        """A public key with a lone surrogate is another key, and does not raise."""
        odd = replace(GOOD, e2e_pubkey="\ud800")
        self.assertEqual(judge([odd], 0, NONCE).reason, Reason.NONCE_MISMATCH)

    def test_replay(self) -> None:
        """A quote already seen under another nonce was not made for this one."""
        first = judge([GOOD], 0, NONCE)
        again = judge([GOOD], 0, "cd" * 32, first.nonce_hashes)
        self.assertEqual((again.state, again.reason), (EvidenceState.UNAVAILABLE, Reason.REPLAYED))
        fresh = replace(GOOD, quote=quote(nonce_hash=bytes(range(1, 33))))
        self.assertEqual(judge([fresh], 0, NONCE, first.nonce_hashes).state, EvidenceState.PRESENT)

    def test_gravest(self) -> None:
        """Of several flaws the gravest is reported, whatever their order."""
        worthless, unbound = replace(GOOD, quote=None), replace(GOOD, certificate_hash=bytes(32))
        for instances in ([worthless, unbound], [unbound, worthless]):
            self.assertEqual(judge(instances, 0, NONCE).reason, Reason.MALFORMED)

    @given(
        st.lists(_instances, max_size=4),
        st.integers(0, 3),
        st.sets(st.just(NONCE_HASH), max_size=1),
    )
    def test_anything(self, instances: list[Instance], failed: int, seen: set[bytes]) -> None:
        """Any input yields a reason exactly if there is no evidence, and never raises."""
        finding = judge(instances, failed, NONCE, seen)
        self.assertIn(finding.state, (EvidenceState.PRESENT, EvidenceState.UNAVAILABLE))
        self.assertEqual(finding.reason is None, finding.state is EvidenceState.PRESENT)
        self.assertEqual((finding.instances, finding.failed), (len(instances), failed))
        if finding.state is EvidenceState.PRESENT:
            self.assertTrue(all(each.quote and each.gpus is not None for each in instances))
            self.assertTrue(instances)
            self.assertIsNot(finding.certificate_bound, False)
            self.assertTrue(finding.nonce_hashes.isdisjoint(seen))


class RefusalTests(SynchronousTestCase):
    """A response with another status."""

    def test_each(self) -> None:
        """Status and text determine why there is no evidence."""
        for status, said, reason in REFUSALS:
            body = said if isinstance(said, str) else json.dumps(said)
            self.assertIs(refusal_reason(status, body.encode()), reason, (status, said))

    @given(st.integers(100, 999), st.binary(max_size=60))
    def test_anything(self, status: int, body: bytes) -> None:
        """Any response yields a reason, and not one of the evidence's own flaws."""
        self.assertNotIn(refusal_reason(status, body), FLAWS)


class WordTests(SynchronousTestCase):
    """The states and reasons as words."""

    def test_states(self) -> None:
        """There are four states, and none claims verification."""
        self.assertEqual(
            {*EvidenceState},
            {
                "no-tee",
                "not-fetched",
                "evidence-unavailable",
                "evidence-present-unverified",
            },
        )

    def test_texts(self) -> None:
        """The text of a finding is its state, with the reason in brackets."""
        self.assertEqual(str(NO_TEE), "no-tee")
        self.assertEqual(str(NOT_FETCHED), "not-fetched")
        for reason in Reason:
            said = str(unavailable(reason))
            self.assertEqual(said, f"evidence-unavailable ({reason.value})")
            self.assertRegex(said, r"\A[a-z() -]+\Z")

    def test_kinds_of_reason(self) -> None:
        """No reason is both a flaw and transient."""
        self.assertTrue(TRANSIENT.isdisjoint(FLAWS))

    def test_frozen(self) -> None:
        """A finding is immutable."""
        with self.assertRaises(AttributeError):
            NO_TEE.state = EvidenceState.PRESENT  # type: ignore[misc]
