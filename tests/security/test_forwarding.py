"""Header fields that are not forwarded, in both directions, and the client's identity."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from twisted.web.resource import IResource
from twisted.web.server import Site

from autopilot import AutopilotService
from tests.security import routes
from tests.unit.http.test_headers import ADDRESSES
from tests.unit.relay.routers import ALIAS
from tests.unit.relay.upstreams import JSON, whole
from tests.unit.service.platforms import ServiceTestCase
from tests.unit.web.browsers import Browser, SiteTestCase, ask, request

SPOOFED = (
    *ADDRESSES,
    *(b"X-Forwarded-Proto", b"Proxy", b"Proxy-Authorization", b"Proxy-Connection", b"Cookie"),
    *(
        b"X_Forwarded_For",
        b"X_Real_IP",
        b"x_FORWARDED-host",
        b"Content_Length",
        b"Transfer_Encoding",
    ),
    *(b"Accept_Encoding", b"Proxy_Authorization", b"Keep-Alive", b"TE", b"Trailer", b"Cookie_"),
)


def _names(head: bytes) -> list[bytes]:
    """Return the names of the fields of a head, in lower case."""
    lines = head.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    return [line.partition(b":")[0].lower() for line in lines]


class FieldTestsMixin(SiteTestCase):
    """Tests for every channel and route."""

    def sent(self, path: bytes, *fields: bytes) -> bytes:
        """Return the upstream request for a request with these fields."""
        browser = self.browser()
        browser.sends(request(path, *fields, body=ask("a")))
        sent = self.wire.value()
        self.wire.says(whole(200, b"{}", JSON, b"Connection: close"))
        self.clock.advance(0)
        self.assertEqual(browser.response.status, 200)
        return bytes(sent)

    def test_spoofed(self) -> None:
        """Fields that would tell the platform the client's address are not forwarded."""
        spoofed = [name + b": 1.2.3.4" for name in SPOOFED if name != b"Cookie_"]
        for path, _, _ in routes.relayed():
            sent = self.sent(path, *spoofed, b"X-Kept: 1")
            self.assertNotIn(b"1.2.3.4", sent)
            expected = [b"host", b"accept-encoding", b"x-kept", b"via", b"content-length"]
            self.assertEqual(_names(sent), expected)

    def test_expectation(self) -> None:
        """The router answers an expectation, and does not forward it."""
        for path, _, _ in routes.relayed():
            browser = self.browser()
            browser.sends(request(path, b"Expect: 100-continue", body=ask("a")))
            self.assertNotIn(b"expect", _names(self.wire.value()))
            self.wire.says(whole(200, b"{}", JSON, b"Connection: close"))
            self.clock.advance(0)
            self.assertEqual(browser.got[-1].status, 200)

    def test_nominated_by_the_client(self) -> None:
        """Fields nominated by the client's ``Connection`` are dropped; the router's own remain."""
        named = (
            b"Connection: X-Hop, Host, Content-Length, Accept-Encoding, Authorization, x-api-key"
        )
        fields = (named, b"X-Hop: 1", b"Authorization: Bearer t", b"X-Api-Key: k")
        for path, _, origin in routes.relayed():
            sent = self.sent(path, *fields)
            self.assertNotIn(b"X-Hop", sent)
            self.assertEqual(sent.count(b"Host: " + origin.host_field + b"\r\n"), 1)
            self.assertIn(b"Accept-Encoding: identity\r\n", sent)
            self.assertIn(b"Authorization: Bearer t\r\n", sent)
            self.assertIn(b"\r\nContent-Length: ", sent)

    def test_nominated_by_the_upstream(self) -> None:
        """Fields nominated by the upstream are dropped, those that the router adds are not."""
        nominated = (
            b"Connection: X-Hop, x-request-id, X-Chutes-Autopilot-Selected, Content-Type-X",
            b"Connection: x-chutes-autopilot-attempts, content-length, date, x-should-retry",
            b"X-Hop: 1",
            b"X-Request-Id: theirs",
            b"X-Chutes-Autopilot-Selected: theirs",
            b"Keep-Alive: timeout=5",
            b"Proxy-Authenticate: Basic",
            b"Alt-Svc: h3",
            b"Upgrade: h2c",
            b"Trailer: X-Late",
        )
        for path, _, _ in routes.relayed():
            browser = self.browser()
            browser.sends(request(path, b"X-Request-Id: mine", body=ask(ALIAS)))
            self.wire.says(whole(200, b"{}", JSON, *nominated))
            got = browser.response
            self.assertEqual((got.identity, got.body), ("mine", b"{}"))
            self.assertEqual(got.value(b"x-chutes-autopilot-selected"), b"a")
            self.assertEqual(got.value(b"x-chutes-autopilot-attempts"), b"1")
            self.assertEqual(got.value(b"content-length"), b"2")
            self.assertFalse(
                {name.lower() for name, _ in got.fields}
                & {b"connection", b"x-hop", b"keep-alive", b"proxy-authenticate", b"alt-svc"}
                | {name.lower() for name, _ in got.fields} & {b"upgrade", b"trailer"}
            )


class OwnChannelTests(FieldTestsMixin):
    """The router's own channel."""


class TwistedChannelTests(FieldTestsMixin):
    """Twisted's channel, as in an embedding application."""

    def make_site(self, resource: IResource) -> Site:
        """See `SiteTestCase`."""
        return Site(resource, reactor=self.clock)


del FieldTestsMixin


class ClientTests(ServiceTestCase):
    """Identity of clients; all requests come from 192.0.2.7."""

    def clients(self, trusted: str, *requests: tuple[bytes, ...], believing: bool = True) -> int:
        """Return how many different clients the router sees in these requests."""
        settings: dict[str, Any] = {}
        if trusted:
            networks = (ip_network(trusted),)
            settings = {"trust_proxy_headers": believing, "trusted_proxy_cidrs": networks}
        service = self.running(**settings)
        browser = self.browser(-1)
        for fields in requests:
            browser.sends(request(b"/v1/chat/completions", *fields, body=ask()))
            self.platform.wire.says(whole(200, b"{}", JSON, b"Connection: close"))
            self.reactor.advance(0)
        count = _sticky(service)
        self._stop(service, browser)
        return count

    def _stop(self, service: AutopilotService, browser: Browser) -> None:
        browser.leaves()
        self.successResultOf(service.stopService())
        self.assert_at_rest()

    def test_untrusted_peer(self) -> None:
        """Fields of an untrusted peer do not change the client's identity."""
        spoofs = [(name + b": 1.2.3.%d" % number,) for number, name in enumerate(SPOOFED)]
        self.assertEqual(self.clients("", (), *spoofs), 1)
        self.assertEqual(self.clients("10.0.0.0/8", (), *spoofs), 1)

    def test_not_switched_on(self) -> None:
        """Fields of a known proxy do not either, unless the setting trusts it."""
        spoofs = [(name + b": 1.2.3.%d" % number,) for number, name in enumerate(SPOOFED)]
        self.assertEqual(self.clients("192.0.2.0/24", (), *spoofs, believing=False), 1)

    def test_trusted_peer(self) -> None:
        """From a trusted proxy, the client is the right-most address that is not trusted."""
        found = self.clients(
            "192.0.2.0/24",
            (b"X-Forwarded-For: 1.2.3.4",),
            (b"X-Forwarded-For: 6.6.6.6, 1.2.3.4",),
            (b"X-Forwarded-For: 6.6.6.6", b"X-Forwarded-For: 1.2.3.4, 192.0.2.9"),
            (b"X-Forwarded-For: garbage, 1.2.3.4:443",),
        )
        self.assertEqual(found, 1)
        found = self.clients(
            "192.0.2.0/24", (b"X-Forwarded-For: 1.2.3.4",), (b"X-Forwarded-For: 1.2.3.5",)
        )
        self.assertEqual(found, 2)

    def test_malformed(self) -> None:
        """A trusted proxy without a valid field counts as the client itself."""
        values = (b"unknown", b"1.2.3.4, x", b"1.2.3.4, [::1", b"\xff\xfe", b",,", b"a" * 9000)
        malformed = [(b"X-Forwarded-For: " + value,) for value in values]
        self.assertEqual(self.clients("192.0.2.0/24", (), *malformed), 1)

    def test_other_fields_are_no_address(self) -> None:
        """Only X-Forwarded-For is used, from a trusted proxy too."""
        names = (b"Forwarded: for=", b"X-Real-IP: ", b"X_Forwarded_For: ", b"X-Client-IP: ")
        fields = [(name + b"1.2.3.4",) for name in names]
        self.assertEqual(self.clients("192.0.2.0/24", (), *fields), 1)

    def test_a_token_counts_first(self) -> None:
        """A token identifies the client, whatever its address."""
        token = b"Authorization: Bearer t"
        found = self.clients(
            "192.0.2.0/24",
            (token, b"X-Forwarded-For: 1.2.3.4"),
            (token, b"X-Forwarded-For: 1.2.3.5"),
            (token, b"X-Api-Key: other"),
        )
        self.assertEqual(found, 1)


def _sticky(service: AutopilotService) -> int:
    """Return the number of stored clients."""
    return len(service._parts.tables.affinity)
