"""Tests of the checks of a relayed request's head, and of their order."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.head_gate import (
    HeadGate,
    coding_error,
    commit_point,
    keep_alive,
    passed_through,
)
from autopilot.http.headers import Field, read_request_headers
from autopilot.http.resource_ledger import Admission, ResourceLedger, ResourceLimits
from autopilot.routing.commit import Commit
from autopilot.routing.router_error import RouterError

CHAT = b"/v1/chat/completions"
OWN = b"chutes-autopilot-0a1b"


class HeadGateTests(SynchronousTestCase):
    """Each check, and the first of several that fail."""

    def test_order(self) -> None:
        """Of several errors the first one of contract §2 is the response."""
        gate = HeadGate(frozenset({CHAT}), OWN)
        gate.keys.paths = frozenset({CHAT})
        full = ResourceLedger(ResourceLimits(requests=1, client_requests=1))
        self.assertIsNone(Admission(full, "192.0.2.1").admit({}, 0))
        faults: list[tuple[Field | None, str]] = [
            ((b"Via", b"1.1 " + OWN), "loop_detected"),
            (None, "missing_key"),
            (None, "too_many_connections"),
            (None, "overloaded"),
            ((b"X-Autopilot-Commit", b"never"), "invalid_commit"),
            ((b"Content-Encoding", b"gzip"), "unsupported_content_encoding"),
        ]
        for first in range(len(faults)):
            fields = [field for field, _ in faults[first:] if field is not None]
            codes = [code for _, code in faults[first:]]
            if "missing_key" not in codes:
                fields.append((b"Authorization", b"Bearer x"))
            peer = "192.0.2.1" if "too_many_connections" in codes else "192.0.2.2"
            ledger = full if "overloaded" in codes else ResourceLedger()
            named, admission = read_request_headers(fields).named, Admission(ledger, peer)
            error = gate.refusal(CHAT, named, 11, 10, admission)
            self.assertEqual(error.code if error else None, faults[first][1])
        key = read_request_headers([(b"Authorization", b"Bearer x")]).named
        error = gate.refusal(CHAT, key, 11, 10, Admission(ResourceLedger(), ""))
        self.assertEqual(error.code if error else None, "request_too_large")
        for length in (10, None):
            admission = Admission(ResourceLedger(), "")
            self.assertIsNone(gate.refusal(CHAT, key, length, 10, admission))
            assert admission.charge is not None
            self.assertEqual(admission.charge.held_bytes, length or 0)

    def test_keep_alive(self) -> None:
        """The silence to be bridged is 0 or a number of milliseconds in a range, or not said."""
        for value, expected in (
            *((b"", None), (b" ", None), (b"0", 0.0), (b"000", 0.0)),
            *((b"1000", 1.0), (b" 1500 ", 1.5), (b"86400000", 86400.0)),
        ):
            named = read_request_headers([(b"X-Autopilot-Keepalive", value)]).named
            self.assertEqual(keep_alive(named), expected, value)
        self.assertIsNone(keep_alive({}))
        gate = HeadGate(frozenset({CHAT}), OWN)
        for value in (b"999", b"86400001", b"-1", b"1.5", b"1e3", b"on", b"\xb2", b"9" * 5000):
            named = read_request_headers([(b"X-Autopilot-Keepalive", value)]).named
            error = gate.refusal(CHAT, named, 1, 10, Admission(ResourceLedger(), ""))
            self.assertEqual(error, keep_alive(named))
            assert error is not None
            self.assertEqual((error.status, error.code), (400, "invalid_header"), value)
            self.assertIn("X-Autopilot-Keepalive", error.message)

    def test_via(self) -> None:
        """Only the router's own name, as a word of its own, is a loop."""
        for value in (
            *(b"1.1 " + OWN, b"1.1 a, 1.1 " + OWN, b"1.1 " + OWN + b",1.0 b", b"HTTP/1.1\t" + OWN),
            b"1.1 " + OWN.upper() + b" (comment)",
        ):
            self.assertTrue(passed_through([b"1.1 a", value], OWN), value)
        for value in (b"", b"1.1 chutes-autopilot-ffff", b"1.1 " + OWN + b"2", b"1.1 x" + OWN):
            self.assertFalse(passed_through([value], OWN), value)

    def test_coding(self) -> None:
        """Any coding but identity is refused, among several values too."""
        for coded in ([b"gzip"], [b"identity", b"br"], [b"zstd", b""]):
            self.assertIsNotNone(coding_error({b"content-encoding": coded}), coded)
        for plain in ([], [b""], [b" Identity "], [b"identity", b""]):
            self.assertIsNone(coding_error({b"content-encoding": plain}), plain)

    def test_commit_point(self) -> None:
        """An empty value is absent, and case and blanks do not matter."""
        for value, point in ((b"", None), (b" ", None), (b" BYTE ", Commit.BYTE)):
            self.assertIs(commit_point({b"x-autopilot-commit": (value,)}), point)
        self.assertIsNone(commit_point({}))
        self.assertIsInstance(commit_point({b"x-autopilot-commit": (b"bytes",)}), RouterError)
