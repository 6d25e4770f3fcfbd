"""Hashes of requests: of their client, of the key by which the platform counts, of their talk."""

from __future__ import annotations

from ipaddress import ip_network

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.dialect import Dialect
from autopilot.http.headers import Field, read_request_headers
from autopilot.relay.downstream import ClientRequest
from autopilot.relay.request_hashes import RequestHashes
from autopilot.request.json_fast import BodyFields
from autopilot.routing.identity import Hasher, Trust
from autopilot.upstream.key_pool import KeyPool, PlatformKey

_KEY = b"k" * 32
_BEARER = (b"Authorization", b"Bearer secret")
_API_KEY = (b"x-api-key", b"key")
_SIGNED = (
    (b"X-Chutes-Hotkey", b" 5Hot "),
    (b"X-Chutes-Signature", b"ab"),
    (b"X-Chutes-Nonce", b"1"),
)


def request(*fields: Field, peer: str = "192.0.2.1") -> ClientRequest:
    """Return a request with these fields."""
    headers = read_request_headers(list(fields))
    path = b"/v1/chat/completions"
    return ClientRequest(Dialect.COMPLETIONS, path, b"", headers, b"", peer, "req-1")


class RequestHashesTestCase(SynchronousTestCase):
    """Hashes with a key that the test knows, so that it can compute them."""

    def setUp(self) -> None:
        """Trust no peer."""
        self.hashes, self.hasher = RequestHashes(_KEY, Trust()), Hasher(_KEY)


class ClientTests(RequestHashesTestCase):
    """Who the client is."""

    def test_keys(self) -> None:
        """The token counts before the key, and each before the address."""
        client, hasher = self.hashes.client, self.hasher
        self.assertEqual(client(request(_BEARER, _API_KEY)), hasher.token("secret"))
        self.assertEqual(client(request(_API_KEY)), hasher.api_key("key"))
        self.assertEqual(client(request()), hasher.address("192.0.2.1"))

    def test_hotkey(self) -> None:
        """A hotkey counts only with the signature that belongs to it."""
        client = self.hashes.client
        self.assertEqual(client(request(*_SIGNED)), self.hasher.hotkey("5Hot"))
        self.assertEqual(client(request(*_SIGNED[:2])), self.hasher.address("192.0.2.1"))

    def test_trust(self) -> None:
        """Forwarding fields are believed as soon as their peer is trusted."""
        forwarded = request((b"X-Forwarded-For", b"198.51.100.7"))
        self.assertEqual(self.hashes.client(forwarded), self.hasher.address("192.0.2.1"))
        self.hashes.trust = Trust(True, (ip_network("192.0.2.0/24"),))
        self.assertEqual(self.hashes.client(forwarded), self.hasher.address("198.51.100.7"))


class UpstreamKeyTests(RequestHashesTestCase):
    """By which key the platform counts a request."""

    def test_own(self) -> None:
        """Its own key, without regard to its address."""
        first, second = request(_BEARER), request(_BEARER, peer="192.0.2.2")
        found = self.hashes.upstream_key(first)
        self.assertEqual(found, self.hashes.upstream_key(second))
        self.assertNotEqual(found, self.hashes.upstream_key(request(_API_KEY)))

    def test_lent(self) -> None:
        """The key that the router lends it takes the place of its own."""
        pool = KeyPool([PlatformKey("p", b"lent", b"0" * 16)], lambda: 0.0, lambda: 0.0)
        lent = request(_BEARER)
        lent.lease = pool.lend(None)
        expected = self.hashes.upstream_key(request((b"Authorization", b"Bearer lent")))
        self.assertEqual(self.hashes.upstream_key(lent), expected)


class ConversationTests(RequestHashesTestCase):
    """Which conversation a request belongs to, and whose it is."""

    def test_apart(self) -> None:
        """Two conversations are two, and the same words of two clients are two as well."""
        one, other = (
            BodyFields(messages=Raw(b'[{"role":"user","content":"%b"}]' % said))
            for said in (b"one", b"other")
        )
        conversation = self.hashes.conversation
        found = {
            conversation(request(_BEARER), one),
            conversation(request(_BEARER), other),
            conversation(request(_API_KEY), one),
        }
        self.assertEqual(len(found), 3)
        self.assertIn(conversation(request(_BEARER, peer="192.0.2.2"), one), found)
