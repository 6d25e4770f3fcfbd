"""Tests of what goes to another service, and of what comes back."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.upstream.backend import PATHS, Backend
from autopilot.upstream.pool import Origin

_CHAT = "/v1/chat/completions"


def _backend(url: str = "https://other.test/api/v3") -> Backend:
    return Backend.of("other", Origin.of(url), "key-canary", b"router-1")


class BackendTests(SynchronousTestCase):
    """A service, apart from exchanges."""

    def test_targets(self) -> None:
        """The path behind the base is as OpenAI's SDKs have it."""
        for url, expected in (
            ("https://other.test", b"POST /v1/chat/completions HTTP/1.1\r\nHost: other.test\r\n"),
            ("https://other.test/v1", b"POST /v1/chat/completions HTTP/1.1\r\n"),
            ("https://other.test/v1beta/openai/", b"POST /v1beta/openai/chat/completions HTTP"),
            ("http://10.0.0.1:8000/x/v1", b"POST /x/v1/chat/completions HTTP/1.1\r\nHost: 10.0.0"),
        ):
            sent = _backend(url).targets[_CHAT].request(b"", b"", (b"{}",))
            self.assertTrue(sent.startswith(expected), sent)
            self.assertIn(b"Via: 1.1 router-1\r\n", sent)
        self.assertEqual(set(_backend().targets), {path.decode() for path in PATHS})

    def test_fields(self) -> None:
        """Of the client's fields a fixed list, whatever their case, then the key."""
        given = [
            (b"HOST", b"router"),
            (b"authorization", b"Bearer client"),
            (b"ACCEPT", b"*/*"),
            (b"Content_Type", b"x"),
            (b"user-agent", b"sdk"),
            (b"OpenAI-Organization", b"org"),
        ]
        self.assertEqual(
            _backend().fields(given),
            [
                (b"ACCEPT", b"*/*"),
                (b"user-agent", b"sdk"),
                (b"Authorization", b"Bearer key-canary"),
            ],
        )

    def test_answered(self) -> None:
        """The name is added; the key, and what concerns the account, are left out."""
        given = [(b"A", b"1"), (b"B", b"xkey-canaryx"), (b"X-RateLimit-Reset", b"1")]
        given += [(b"X-Chutes-Quota-Used", b"1"), (b"X-Chutes-RL-User", b"60")]
        expected = [(b"A", b"1"), (b"x-chutes-autopilot-backend", b"other")]
        self.assertEqual(_backend().answered(given), expected)

    def test_masked(self) -> None:
        """An error keeps its length."""
        self.assertEqual(_backend().masked(b"no key-canary!"), b"no **********!")
        self.assertEqual(_backend().masked(b"no"), b"no")

    def test_shows_no_key(self) -> None:
        """No text of it shows the key."""
        self.assertNotIn("canary", repr(_backend()) + str(_backend().targets))
