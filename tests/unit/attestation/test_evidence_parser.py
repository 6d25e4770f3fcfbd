"""Tests of parsing evidence: every response of the stub, and arbitrary ones."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from treq.testing import RequestTraversalAgent
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.evidence_parser import (
    evidence_url,
    is_transient,
    read_answer,
    read_failure,
)
from autopilot.attestation.evidence_state import EvidenceState, Finding, Reason
from autopilot.http.fetch import FetchedResponse, Fetcher
from autopilot.http.fetch_error import JSON, NETWORK, TIMEOUT, TOO_LARGE, FetchError
from autopilot.routing.catalog import Model
from stub_backend import EVIDENCE_SCENARIOS, StubOptions, site
from stub_backend.evidence_bodies import instance_evidence, instance_ids
from stub_backend.sealed.seals import e2e_pubkey

NONCE, OTHER = "ab" * 32, "cd" * 32
CHUTE = "11111111-2222-5333-8444-555555555555"
URL = "http://api.test"

# What each row of the stub's table comes to; a row that is missing here fails the test.
COMES_TO: dict[str, Reason | None] = {
    "ok": None,
    "partial": None,
    "all-failed": Reason.ALL_FAILED,
    "empty": Reason.NO_EVIDENCE,
    "older-build": None,
    "no-id": None,
    "signed": None,
    "no-certificate": None,
    "no-gpus": None,
    "bad-base64": Reason.MALFORMED,
    "bad-gpus": Reason.MALFORMED,
    "no-quote": Reason.MALFORMED,
    "short-quote": Reason.MALFORMED_QUOTE,
    "quote-v5": Reason.MALFORMED_QUOTE,
    "sgx-quote": Reason.MALFORMED_QUOTE,
    "debug": Reason.DEBUG,
    "attributes": Reason.TD_ATTRIBUTES,
    "other-key": Reason.BINDING_MISMATCH,
    "other-nonce": None,  # for the first time; see ReplayTests
    "edge-nonce": None,
    "400-outdated": Reason.RUNTIME_TOO_OLD,
    "400-not-tee": Reason.NOT_TEE_ENABLED,
    "400-external": Reason.EXTERNAL_BACKEND,
    "404-chute": Reason.UNKNOWN_CHUTE,
    "404-private": Reason.UNKNOWN_CHUTE,
    "404-id": Reason.UNKNOWN_CHUTE,
    "429": Reason.RATE_LIMITED,
    "500": Reason.PLATFORM_ERROR,
    "500-text": Reason.PLATFORM_ERROR,
    "502": Reason.SERVICE_DOWN,
    "502-html": Reason.PLATFORM_ERROR,
    "garbage": Reason.UNREADABLE,
    "cut": Reason.UNREACHABLE,
    "hang": Reason.TIMED_OUT,
}


class AskedTests(SynchronousTestCase):
    """A real fetcher connected to the stub in memory."""

    def setUp(self) -> None:
        """Make a platform with a model for each scenario."""
        self.clock = Clock()
        self.stub = site(self.clock, StubOptions(models=0, evidence_models=True))
        self.agent = RequestTraversalAgent(self.stub.resource)
        self.fetcher = Fetcher(self.agent, self.clock, 60.0, 32 * 1024 * 1024)

    def asked(self, scenario: str, nonce: str = NONCE, **known: Any) -> Finding:
        """Fetch and parse one model's evidence."""
        chute = self.stub.population.find(f"stub/evidence-{scenario}")
        assert chute is not None
        url = evidence_url(URL, Model(chute.name, chute.chute_id), nonce)

        def failed(failure: Failure) -> Finding:
            assert isinstance(failure.value, FetchError)
            return read_failure(failure.value)

        asked = self.fetcher.ask(url).addCallback(read_answer, nonce, **known).addErrback(failed)
        self.clock.advance(0)
        self.agent.flush()
        if not asked.called:
            self.clock.advance(60)
        return self.successResultOf(asked)

    def test_each(self) -> None:
        """Each scenario yields its state and reason."""
        self.assertEqual(set(COMES_TO), set(EVIDENCE_SCENARIOS))
        for scenario, reason in COMES_TO.items():
            self.clock.advance(2.0)
            finding = self.asked(scenario)
            self.assertIs(finding.reason, reason, scenario)
            wanted = EvidenceState.PRESENT if reason is None else EvidenceState.UNAVAILABLE
            self.assertIs(finding.state, wanted, scenario)

    def test_counts(self) -> None:
        """Instances, failures and GPUs are counted, and the comparisons are reported."""
        ok, partial, gone = map(self.asked, ("ok", "partial", "all-failed"))
        self.assertEqual((ok.instances, ok.failed, ok.gpus), (3, 0, 24))
        self.assertEqual((partial.instances, partial.failed, partial.gpus), (2, 1, 16))
        self.assertEqual((gone.instances, gone.failed, gone.gpus), (0, 3, 0))
        self.assertIs(ok.certificate_bound, True)
        self.assertIs(self.asked("no-certificate").certificate_bound, None)
        self.assertIs(self.asked("other-key").certificate_bound, False)
        self.assertEqual(self.asked("no-gpus").gpus, 16)

    def test_nonce_with_keys(self) -> None:
        """The nonce is checked if the instances' public keys are known, and only then."""
        chute = self.stub.population.find("stub/evidence-ok")
        assert chute is not None
        keys = {each: e2e_pubkey(each) for each in instance_ids(chute.chute_id, 2)}
        self.assertEqual(self.asked("ok").nonces_bound, 0)
        self.assertEqual(self.asked("ok", keys=keys).nonces_bound, 2)
        other = self.stub.population.find("stub/evidence-other-nonce")
        assert other is not None
        keys = {each: e2e_pubkey(each) for each in instance_ids(other.chute_id, 3)}
        self.assertIs(self.asked("other-nonce", keys=keys).reason, Reason.NONCE_MISMATCH)

    def test_replay(self) -> None:
        """Equal evidence under two nonces is detected without any key."""
        first = self.asked("other-nonce")
        again = self.asked("other-nonce", OTHER, seen=first.nonce_hashes)
        self.assertIs(again.reason, Reason.REPLAYED)
        first = self.asked("ok")
        again = self.asked("ok", OTHER, seen=first.nonce_hashes)
        self.assertIs(again.state, EvidenceState.PRESENT)

    def test_what_goes_out(self) -> None:
        """The request contains the nonce, and no credential or cookie."""
        self.asked("ok")
        (request,) = self.stub.log
        names = sorted(name.lower() for name, _ in request.headers)
        self.assertEqual(names, ["accept", "accept-encoding", "connection", "host"])
        self.assertTrue(request.path.endswith(f"/evidence?nonce={NONCE}"), request.path)

    def test_too_large(self) -> None:
        """A response over the limit is not read to its end."""
        small = Fetcher(self.agent, self.clock, 60.0, 1000)
        url = f"{URL}/chutes/stub%2Fevidence-ok/evidence?nonce={NONCE}"
        asked = small.ask(url)
        self.clock.advance(0)
        self.agent.flush()
        error = self.failureResultOf(asked, FetchError).value
        assert isinstance(error, FetchError)
        self.assertIs(read_failure(error).reason, Reason.TOO_LARGE)


class UrlTests(SynchronousTestCase):
    """The URL of the evidence."""

    def test_names(self) -> None:
        """It contains the chute's id if that is a UUID, else the model's name, escaped."""
        for model, segment in (
            (Model("acme/one", CHUTE), CHUTE),
            (Model("acme/one", None), "acme%2Fone"),
            (Model("acme/one", "../../x?y#z"), "acme%2Fone"),
            (Model("acme/one", f"{CHUTE}\n"), "acme%2Fone"),
            (Model("a?b#c/../d e%2F"), "a%3Fb%23c%2F..%2Fd%20e%252F"),
        ):
            wanted = f"{URL}/chutes/{segment}/evidence?nonce={NONCE}"
            self.assertEqual(evidence_url(URL, model, NONCE), wanted)


class ReadTests(SynchronousTestCase):
    """Malformed responses."""

    def read(self, value: object, status: int = 200) -> Finding:
        """Parse JSON as a response."""
        return read_answer(FetchedResponse(status, json.dumps(value).encode()), NONCE)

    def test_shapes(self) -> None:
        """A response of another shape counts neither as evidence nor as its absence."""
        values: tuple[object, ...] = (None, 1, "x", [], {}, {"quote": 7}, {"quote": None})
        for value in (*values, {"evidence": None}, {"evidence": {}}, {"evidence": 7}):
            self.assertIs(self.read(value).reason, Reason.UNREADABLE, value)
        for entry in values:
            self.assertIs(self.read({"evidence": [entry]}).reason, Reason.MALFORMED, entry)
        half: tuple[object, ...] = (
            {"certificate": "QQ=="},
            {"certificate": "", "evidence": "QQ=="},
        )
        for gpus in (1, "x", {}, [1], [{}], *([each] for each in half)):
            evidence = [instance_evidence("a", NONCE) | {"gpu_evidence": gpus}]
            self.assertIs(self.read({"evidence": evidence}).reason, Reason.MALFORMED, gpus)

    def test_optional(self) -> None:
        """Optional members may be null or absent."""
        entry = instance_evidence("a", NONCE)
        for name in ("instance_id", "gpu_evidence", "certificate", "signature", "attested_body"):
            for changed in (entry | {name: None}, {k: v for k, v in entry.items() if k != name}):
                self.assertIs(self.read({"evidence": [changed]}).state, EvidenceState.PRESENT, name)
        whole = self.read({"evidence": [entry], "failed_instance_ids": None, "new": {}})
        self.assertEqual((whole.state, whole.failed), (EvidenceState.PRESENT, 0))

    def test_base64(self) -> None:
        """Line breaks are valid in base64, other characters are not."""
        entry = instance_evidence("a", NONCE)
        text = entry["quote"]
        lines = "\r\n".join(text[at : at + 76] for at in range(0, len(text), 76))
        for written, state in (
            (lines, EvidenceState.PRESENT),
            (text + "\n", EvidenceState.PRESENT),
            (text[:80] + "!!!!" + text[80:], EvidenceState.UNAVAILABLE),
            (text[:80] + "\u00e9" + text[80:], EvidenceState.UNAVAILABLE),
            (text[:-1], EvidenceState.UNAVAILABLE),
        ):
            finding = self.read({"evidence": [entry | {"quote": written}]})
            self.assertIs(finding.state, state, written[:100])

    def test_certificates(self) -> None:
        """An unreadable certificate is not compared, which differs from a match."""
        entry = instance_evidence("a", NONCE)
        certificates: tuple[object, ...] = (7, "", "%", "QUJD", [], "MAA=")
        for certificate in certificates:
            finding = self.read({"evidence": [entry | {"certificate": certificate}]})
            self.assertIs(finding.certificate_bound, None, certificate)

    def test_bounds(self) -> None:
        """Excessively long or nested lists are not decoded."""
        many = b'{"evidence":[' + b",".join([b"{}"] * 2001) + b"]}"
        self.assertIs(read_answer(FetchedResponse(200, many), NONCE).reason, Reason.TOO_LARGE)
        many = b'{"evidence":[' + b"1," * 1_000_000
        self.assertIs(read_answer(FetchedResponse(200, many), NONCE).reason, Reason.TOO_LARGE)
        deep = b'{"evidence":' + b"[" * 200_000
        self.assertIs(read_answer(FetchedResponse(200, deep), NONCE).reason, Reason.UNREADABLE)
        deep = b'{"evidence":[{"quote":"","gpu_evidence":%b}]}' % (b"[" * 50_000 + b"]" * 50_000)
        self.assertIn(
            read_answer(FetchedResponse(200, deep), NONCE).reason,
            (Reason.UNREADABLE, Reason.MALFORMED),
        )
        self.assertIs(
            read_answer(FetchedResponse(500, b"[" * 1_000_000), NONCE).reason, Reason.PLATFORM_ERROR
        )

    def test_failures(self) -> None:
        """Each kind of failed fetch has its own reason."""
        for outcome, reason in (
            (NETWORK, Reason.UNREACHABLE),
            (TIMEOUT, Reason.TIMED_OUT),
            (TOO_LARGE, Reason.TOO_LARGE),
            (JSON, Reason.UNREADABLE),
        ):
            finding = read_failure(FetchError(outcome, "x"))
            self.assertIs(finding.reason, reason)
            self.assertEqual(is_transient(finding), outcome in (NETWORK, TIMEOUT))

    @given(st.integers(100, 599), st.binary(max_size=200))
    def test_any_bytes(self, status: int, body: bytes) -> None:
        """Arbitrary bytes neither raise nor count as evidence."""
        finding = read_answer(FetchedResponse(status, body), NONCE)
        self.assertIs(finding.state, EvidenceState.UNAVAILABLE)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["quote", "certificate", "gpu_evidence", "evidence", "instance_id"]
                    ),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        )
    )
    def test_any_json(self, value: object) -> None:
        """Arbitrary JSON anywhere in the response does not raise."""
        for answer in (
            value,
            {"evidence": value},
            {"evidence": [value], "failed_instance_ids": value},
        ):
            self.assertIs(self.read(answer).state, EvidenceState.UNAVAILABLE)

    @given(st.data())
    def test_damaged(self, data: st.DataObject) -> None:
        """Valid evidence with any byte changed does not raise."""
        body = bytearray(json.dumps({"evidence": [instance_evidence("a", NONCE)]}).encode())
        at = data.draw(st.integers(0, len(body) - 1))
        body[at] = data.draw(st.integers(0, 255))
        finding = read_answer(FetchedResponse(200, bytes(body)), NONCE)
        self.assertIn(finding.state, (EvidenceState.PRESENT, EvidenceState.UNAVAILABLE))
