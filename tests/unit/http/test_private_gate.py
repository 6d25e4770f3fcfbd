"""Tests of what cannot be private and shows it by its head."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.head_gate import HeadGate
from autopilot.http.headers import Named, by_name
from autopilot.http.private_gate import HEADER, SERVED, private_asked
from autopilot.http.resource_ledger import Admission, ResourceLedger
from autopilot.routing.private_mode import ALWAYS, ASK, OFF, PrivateMode
from autopilot.routing.router_error import RouterError

CHAT, MESSAGES = b"/v1/chat/completions", b"/v1/messages"
OTHERS = (MESSAGES, b"/v1/messages/count_tokens", b"/v1/responses", b"/v1/embeddings", b"/v1/x")
SIGNED = (
    (b"X-Chutes-Hotkey", b"5Hot"),
    (b"X-Chutes-Signature", b"ab"),
    (b"X-Chutes-Nonce", b"1"),
)


def asking(*values: bytes) -> Named:
    """Return header fields with these values."""
    return by_name([(b"X-Autopilot-Private", value) for value in values])


class HeaderTests(SynchronousTestCase):
    """The header alone."""

    def test_values(self) -> None:
        """``require`` asks, no header does not, and whatever else is an error, also beside it."""
        for values, expected in (
            ((), False),
            ((b"require",), True),
            ((b" REQUIRE ",), True),
            ((b"", b"require"), True),
            ((b"require, require",), True),
        ):
            self.assertIs(private_asked(asking(*values)), expected, values)
        unset = ((b"",), (b" ", b","))  # as from a variable that is not set
        others = ((b"off",), (b"true",), (b"require", b"off"), (b"off", b""), (b"require;x",))
        for wrong in (*unset, *others):
            found = private_asked(asking(*wrong))
            assert isinstance(found, RouterError), wrong
            self.assertEqual((found.status, found.code), (400, "invalid_header"))


class GateTests(SynchronousTestCase):
    """The gate of all requests, in each mode."""

    def code(self, mode: PrivateMode, path: bytes, *fields: tuple[bytes, bytes]) -> str | None:
        """Return the code by which a head is refused."""
        gate = HeadGate(frozenset({CHAT, *OTHERS}), b"own")
        gate.private.set_mode(mode, gate.relayed)  # type: ignore[arg-type]
        admission = Admission(ResourceLedger(), "192.0.2.1")
        error = gate.refusal(path, by_name(fields), 1, 10, admission)
        self.assertIn(error is None or error.status, (True, 400))
        return None if error is None else error.code

    def test_plain(self) -> None:
        """Who does not ask is not asked, unless all requests are private."""
        for path in (CHAT, *OTHERS):
            for mode in (OFF, ASK):
                self.assertIsNone(self.code(mode, path))
                self.assertIsNone(self.code(mode, path, *SIGNED))

    def test_endpoints(self) -> None:
        """Private mode has two endpoints; whatever comes is not among them."""
        self.assertEqual(SERVED, {CHAT, b"/v1/completions"})
        for path in SERVED:
            self.assertIsNone(self.code(ALWAYS, path))
            self.assertIsNone(self.code(ASK, path, (HEADER, b"require")))
        for path in OTHERS:
            self.assertEqual(self.code(ALWAYS, path), "private_unsupported")
            self.assertEqual(self.code(ASK, path, (HEADER, b"require")), "private_unsupported")

    def test_off(self) -> None:
        """Who asks while it is off gets an error, and never the plain path."""
        for path in (CHAT, *OTHERS):
            self.assertEqual(self.code(OFF, path, (HEADER, b"require")), "private_unsupported")

    def test_invalid(self) -> None:
        """Another value is an error in every mode, so that no mistake turns private mode off."""
        for mode in PrivateMode:
            for path in (CHAT, *OTHERS):
                for value in (b"off", b" "):
                    self.assertEqual(self.code(mode, path, (HEADER, value)), "invalid_header")

    def test_signed(self) -> None:
        """A signature covers a body that private mode encrypts."""
        self.assertEqual(self.code(ALWAYS, CHAT, *SIGNED), "signed_request")
        self.assertEqual(self.code(ASK, CHAT, (HEADER, b"require"), *SIGNED), "signed_request")
        self.assertIsNone(self.code(ALWAYS, CHAT, *SIGNED[:2]))
