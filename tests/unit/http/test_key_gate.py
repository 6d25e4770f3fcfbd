"""Tests of what counts as an API key, and of where one is required."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.headers import read_request_headers
from autopilot.http.key_gate import KeyGate

CHAT, MESSAGES = b"/v1/chat/completions", b"/v1/messages"
GATE = KeyGate(frozenset({CHAT, MESSAGES}))
HOTKEY, SIGNATURE, NONCE = (
    (b"X-Chutes-Hotkey", b"5F"),
    (b"X-Chutes-Signature", b"ab"),
    (b"X-Chutes-Nonce", b"1"),
)


class KeyGateTests(SynchronousTestCase):
    """One rule at a time."""

    def passes(self, path: bytes, *fields: tuple[bytes, bytes]) -> bool:
        """Return whether a request is let in; if not, the error must be the right one."""
        error = GATE.refusal(path, read_request_headers(fields).named)
        if error is not None:
            self.assertEqual((error.status, error.code, error.param), (401, "missing_key", None))
        return error is None

    def test_authorization(self) -> None:
        """A credential is whatever follows a scheme, or a single word that is none."""
        for value in (
            *(b"Bearer cpk_x", b"bearer\tcpk_x", b"Basic eDp5", b"Key a b", b"cpk_x", b" x "),
            b"Bearer: x",
        ):
            self.assertTrue(self.passes(CHAT, (b"AUTHORIZATION", value)), value)
        for value in (b"", b" \t", b"Bearer", b"bearer ", b" BEARER\t", b"Basic"):
            self.assertFalse(self.passes(CHAT, (b"Authorization", value)), value)
        several = ((b"Authorization", b""), (b"Authorization", b"Bearer x"))
        self.assertTrue(self.passes(CHAT, *several))
        self.assertFalse(self.passes(CHAT, several[0], several[0]))

    def test_nothing(self) -> None:
        """Without any field there is no key."""
        for path in (CHAT, MESSAGES):
            self.assertFalse(self.passes(path))

    def test_signature(self) -> None:
        """A signature is all three of its fields, none of them empty."""
        self.assertTrue(self.passes(CHAT, HOTKEY, SIGNATURE, NONCE))
        self.assertTrue(self.passes(MESSAGES, NONCE, SIGNATURE, HOTKEY))
        for missing in (HOTKEY, SIGNATURE, NONCE):
            others = [each for each in (HOTKEY, SIGNATURE, NONCE) if each is not missing]
            self.assertFalse(self.passes(CHAT, *others))
            self.assertFalse(self.passes(CHAT, *others, (missing[0], b" ")))

    def test_api_key(self) -> None:
        """``x-api-key`` is a key on the messages endpoint only."""
        key = (b"X-Api-Key", b"x")
        self.assertTrue(self.passes(MESSAGES, key))
        self.assertFalse(self.passes(CHAT, key))
        self.assertFalse(self.passes(MESSAGES, (b"X-Api-Key", b" ")))

    def test_elsewhere(self) -> None:
        """Only the paths listed require a key, whatever they begin with."""
        for target in (b"/v1/responses", CHAT + b"/x", MESSAGES + b"/x", b"/"):
            self.assertTrue(self.passes(target))
        gate = KeyGate()
        self.assertIsNone(gate.refusal(CHAT, {}))
        gate.paths = frozenset({CHAT})
        self.assertIsNotNone(gate.refusal(CHAT, {}))

    def test_message(self) -> None:
        """The message says what to send."""
        error = GATE.refusal(CHAT, {})
        assert error is not None
        self.assertEqual(
            error.message,
            "The request has no API key. Send 'Authorization: Bearer' and your key; on"
            " /v1/messages also 'x-api-key' will do.",
        )
