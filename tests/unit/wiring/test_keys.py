"""Tests of the operator's own keys in a running router: at the head, and on a reload."""

from __future__ import annotations

from decimal import Decimal
from hashlib import sha256
from pathlib import Path

from twisted.internet.defer import execute
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.key_policy import KeyRules
from autopilot.routing.patterns import NamePattern
from autopilot.settings.files.keys import KeyEntry
from autopilot.web.shared_rendering import FRESHNESS
from autopilot.wiring import keys as wiring_keys
from autopilot.wiring.keys import rules_of
from tests.unit.relay.upstreams import whole
from tests.unit.web.browsers import request
from tests.unit.wiring.cases import ReloadTestCase

_CHAT = b"/v1/chat/completions"


def entry(name: str, key: str, more: str = "") -> str:
    """Return the entry of a key in the file."""
    return f'[keys.{name}]\nsha256 = "{sha256(key.encode()).hexdigest()}"\n{more}\n'


class KeysTests(ReloadTestCase):
    """A router with a file of keys."""

    def setUp(self) -> None:
        """Write a file with one key."""
        super().setUp()
        self.path = Path(self.mktemp())
        self.path.write_text(entry("alice", "ap-alice", "requests_per_minute = 1"))

    def refused(self, key: bytes, path: bytes = _CHAT) -> str:
        """Return the code of the error for a head with this key, whose body is never read."""
        browser = self.browser()
        field = b"Authorization: Bearer " + key
        browser.sends(request(path, field, b"Content-Length: 100"))
        got = browser.response
        self.assertTrue(browser.closed)
        code = got.json["error"]["code"]
        assert isinstance(code, str)
        return code

    def test_at_the_head(self) -> None:
        """Before the body: an unknown key on every path, and a key without a request left."""
        self.start(keys_file=str(self.path))
        self.assertEqual(self.refused(b"other"), "unknown_key")
        self.assertEqual(self.refused(b"other", b"/v1/messages"), "unknown_key")
        self.assertEqual(self.refused(b""), "missing_key")
        browser = self.ask("acme/one", b"Authorization: Bearer ap-alice", stream=False)
        self.platform.wire.says(whole(200, b'{"choices":[]}'))
        got = browser.response
        self.assertEqual(got.status, 200)
        self.assertEqual(got.value(b"x-ratelimit-remaining-requests"), b"0")
        self.assertEqual(self.refused(b"ap-alice"), "key_rate_limited")
        self.assertEqual(self.get(b"/v1/models").status, 200)


class RestartTests(ReloadTestCase):
    """Budgets beyond the life of a router."""

    def test_state_file(self) -> None:
        """A router that starts again refuses a key whose budget was spent before."""
        path, state = Path(self.mktemp()), Path(self.mktemp())
        path.write_text(entry("alice", "ap-alice", "tokens_per_day = 3"))
        self.patch(wiring_keys, "deferToThread", execute)
        self.start(keys_file=str(path), keys_state_file=str(state))
        key = b"Authorization: Bearer ap-alice"
        browser = self.ask("acme/one", key, stream=False)
        used = b'"usage":{"prompt_tokens":2,"completion_tokens":1}'
        self.platform.wire.says(whole(200, b'{"choices":[{"message":{"content":"x"}}],%b}' % used))
        self.assertEqual(browser.response.status, 200)
        self.tearDown()
        self.setUp()
        self.start(keys_file=str(path), keys_state_file=str(state))
        got = self.ask("acme/one", key, stream=False).response
        self.assertEqual((got.status, got.json["error"]["code"]), (402, "key_budget_exhausted"))


class RulesTests(SynchronousTestCase):
    """What an entry of the file means."""

    def test_rules(self) -> None:
        """Dollars become whole picodollars, names patterns."""
        made = rules_of(
            KeyEntry("k", "00", ("a*",), None, 1, 2, 3, 4, Decimal("0.000001"), Decimal(5), 6.0)
        )
        models = (NamePattern.of("a*"),)
        self.assertEqual(made, KeyRules("k", models, None, 1, 2, 3, 4, 10**6, 5 * 10**12, 6.0))


class ShownTests(ReloadTestCase):
    """What the operator's pages show of keys, and what they never do."""

    def test_pages(self) -> None:
        """Names and numbers, and neither a client's key nor one of the platform."""
        own_file, pool_file = Path(self.mktemp()), Path(self.mktemp())
        own_file.write_text(entry("alice", "ap-canary-1", "tokens_per_day = 30"))
        pool_file.write_text('[keys]\nmain = "cpk_canary_2"\nspare = "cpk_canary_3"')
        self.start(keys_file=str(own_file), chutes_api_keys_file=str(pool_file))
        browser = self.ask("acme/one", b"Authorization: Bearer ap-canary-1", stream=False)
        sent = self.platform.wire.value()
        self.assertIn(b"Authorization: Bearer cpk_canary_2\r\n", sent)
        self.assertNotIn(b"ap-canary", sent)
        used = b'"usage":{"prompt_tokens":2,"completion_tokens":1}'
        self.platform.wire.says(whole(200, b'{"choices":[{"message":{"content":"x"}}],%b}' % used))
        self.assertEqual(browser.response.status, 200)
        shown = self.get(b"/status.json").json["keys"]
        self.assertEqual(shown["own"][0]["tokens_today"], {"used": 3, "limit": 30})
        self.assertEqual([each["requests"] for each in shown["pool"]], [1, 0])
        metrics = self.get(b"/metrics").body
        self.assertIn(b'key_tokens_total{key="alice"} 3.0', metrics)
        self.assertIn(b'pool_key_requests_total{key="main"} 1.0', metrics)
        page = self.get(b"/status").body
        self.assertIn(b"alice", page)
        for text in (metrics, page, self.get(b"/status.json").body, browser.wire):
            self.assertNotIn(b"canary", text)
        self.change(keys_file=None, chutes_api_keys_file=None)
        self.reactor.advance(FRESHNESS)
        self.assertNotIn("keys", self.get(b"/status.json").json)
