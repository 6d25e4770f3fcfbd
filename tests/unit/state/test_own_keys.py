"""Tests of finding the operator's own key of a request."""

from __future__ import annotations

from hashlib import sha256

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.headers import Field, by_name
from autopilot.routing.key_policy import KeyRules
from autopilot.routing.router_error import RouterError
from autopilot.state.budgets import KeyBudgets
from autopilot.state.own_keys import OwnKey, OwnKeys, with_fields

CHAT, MESSAGES = b"/v1/chat/completions", b"/v1/messages"
SIGNED = [(b"X-Chutes-Hotkey", b"h"), (b"X-Chutes-Signature", b"s"), (b"X-Chutes-Nonce", b"1")]


def own(key: bytes, rules: KeyRules) -> OwnKey:
    """Return a key with its digest."""
    return OwnKey(sha256(key).digest(), rules)


class OwnKeysTests(SynchronousTestCase):
    """Which credentials are known, and how others are refused."""

    def setUp(self) -> None:
        """Know two keys."""
        self.clock = Clock()
        budgets = KeyBudgets(self.clock.seconds, self.clock.seconds)
        self.alice = KeyRules("alice", requests_per_minute=1)
        keys = [own(b"ap-alice", self.alice), own(b"ap-bob", KeyRules("bob", expires=50.0))]
        self.keys = OwnKeys(keys, budgets, self.clock.seconds)

    def found(self, *fields: Field, path: bytes = CHAT) -> str:
        """Return the name of the key found, or the code of the error."""
        found = self.keys.find(path, by_name(fields))
        return found.code if isinstance(found, RouterError) else found.name

    def test_known(self) -> None:
        """The scheme does not matter; on the messages path the other field is read, too."""
        for value in (b"Bearer ap-alice", b"ap-alice", b"  bearer   ap-alice "):
            self.assertEqual(self.found((b"Authorization", value)), "alice")
        self.assertEqual(self.found((b"x-api-key", b" ap-bob "), path=MESSAGES), "bob")
        both = (b"x-api-key", b"ap-alice"), (b"Authorization", b"Bearer ap-alice")
        self.assertEqual(self.found(*both, path=MESSAGES), "alice")
        self.assertEqual([each.name for each in self.keys.rules], ["alice", "bob"])
        self.assertEqual(repr(own(b"x", self.alice)), "OwnKey('alice')")

    def test_unknown(self) -> None:
        """Another key, none, two different ones, or a signature: each is a 401."""
        self.assertEqual(self.found((b"Authorization", b"Bearer ap-alicf")), "unknown_key")
        self.assertEqual(self.found((b"Authorization", b"Bearer")), "missing_key")
        self.assertEqual(self.found((b"x-api-key", b"ap-alice")), "missing_key")
        first = b"Authorization", b"Bearer ap-alice"
        self.assertEqual(self.found(first, (b"Authorization", b"Bearer cpk_x")), "unknown_key")
        self.assertEqual(self.found(first, (b"x-api-key", b"y"), path=MESSAGES), "unknown_key")
        self.assertEqual(self.found(first, *SIGNED), "unknown_key")

    def test_expiry(self) -> None:
        """A key whose time is over is unknown, and the error says when that was."""
        field = b"Authorization", b"Bearer ap-bob"
        self.assertEqual(self.found(field), "bob")
        self.clock.advance(50)
        self.assertEqual(self.found(field), "unknown_key")

    def test_configured(self) -> None:
        """Other keys take effect at once."""
        self.keys.configure([own(b"ap-carol", KeyRules("carol"))])
        self.assertEqual(self.found((b"Authorization", b"Bearer ap-alice")), "unknown_key")
        self.assertEqual(self.found((b"Authorization", b"Bearer ap-carol")), "carol")

    def test_refusal(self) -> None:
        """At its head a request is refused for a limit, too, with the rest of the limits."""
        named = by_name([(b"Authorization", b"Bearer ap-alice")])
        self.assertIsNone(self.keys.refusal(CHAT, named))
        self.keys.budgets.begin(self.alice)
        error = self.keys.refusal(CHAT, named)
        assert error is not None
        self.assertEqual((error.status, error.code), (429, "key_rate_limited"))
        self.assertIn((b"x-ratelimit-remaining-requests", b"0"), error.fields)
        self.assertEqual(error.key, "alice")
        unknown = self.keys.refusal(CHAT, by_name([(b"Authorization", b"x")]))
        assert unknown is not None
        self.assertEqual(unknown.fields, ())
        self.assertEqual(with_fields(unknown, [(b"a", b"b")]).fields, ((b"a", b"b"),))
