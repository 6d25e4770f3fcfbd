"""Tests of the stub's check of credentials."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from stub_backend import StubOptions
from stub_backend.auth import signature
from tests.stub_backend.exchange import Answer, Exchange

STRICT = StubOptions(require_auth=True, token_delay=0.0)
BODY = b'{"model":"stub/ok"}'


def answered(headers: dict[str, str]) -> Answer:
    """Return the response to one call with these headers."""
    exchange = Exchange(STRICT)
    exchange.send("POST", "/v1/chat/completions", BODY, headers)
    exchange.run()
    answer = exchange.answer()
    assert answer is not None
    return answer


class CredentialTests(SynchronousTestCase):
    """The errors of invalid credentials."""

    def check(self, headers: dict[str, str], status: int, detail: str) -> None:
        """Assert that a call is rejected with this text, and without a challenge."""
        answer = answered(headers)
        self.assertEqual((answer.status, answer.json()), (status, {"detail": detail}), headers)
        self.assertIsNone(answer.header("www-authenticate"))
        self.assertIsNone(answer.header("x-chutes-invocationid"))

    def test_bearers(self) -> None:
        """The error depends on the form of the header's last word."""
        for token, status, detail in (
            ("", 401, "Authentication required."),
            ("nonsense", 401, "Invalid token."),
            ("eyJh.fixture.fixture", 401, "Token expired."),
            ("cpk_short", 401, "Missing or invalid authorization header(s)"),
            ("cpk_a.b.revoked", 401, "Invalid token or user not found"),
            ("cak_noscope", 403, "Token does not have permission for this resource"),
        ):
            self.check({"authorization": f"Bearer {token}" if token else ""}, status, detail)

    def test_api_key_header(self) -> None:
        """A key in `X-API-Key` is ignored."""
        self.check({"x-api-key": "cpk_a.b.c"}, 401, "Authentication required.")

    def test_good(self) -> None:
        """A key or an OAuth token is accepted after any scheme, or none."""
        for given in ("Bearer cpk_a.b.c", "Token cpk_a.b.c", "cpk_a.b.c", "Bearer cak_fixture"):
            self.assertEqual(answered({"authorization": given}).status, 200, given)

    def test_account(self) -> None:
        """The account of a key requires a valid key, whatever the options."""
        for key, status in (("cpk_a.b.c", 200), ("cpk_a.b.revoked", 401), ("", 401)):
            exchange = Exchange(StubOptions())
            exchange.send("GET", "/users/me", b"", {"authorization": f"Bearer {key}"})
            exchange.run()
            answer = exchange.answer()
            assert answer is not None
            self.assertEqual(answer.status, status)

    def test_hotkey(self) -> None:
        """A signature covers the body, and needs a numeric nonce."""
        hotkey = {"x-chutes-hotkey": "fixture", "x-chutes-signature": "none"}
        self.check({**hotkey, "x-chutes-nonce": "soon"}, 401, "Invalid nonce!")
        self.check({**hotkey, "x-chutes-nonce": "1"}, 401, "Invalid signature!")
        signed = {"x-chutes-signature": signature("fixture", "1", BODY), "x-chutes-nonce": "1"}
        self.assertEqual(answered(hotkey | signed).status, 200)
