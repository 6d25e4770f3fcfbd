"""Concurrent clients on shared upstream connections: no client receives another's data."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random

from twisted.web.resource import IResource
from twisted.web.server import Site

from tests.process.secrets.objects import modules, texts
from tests.unit.relay.routers import ALIAS
from tests.unit.relay.upstreams import DONE, SSE, TOKEN, Wire, chunk, head
from tests.unit.web.browsers import Browser, SiteTestCase, ask, request

TENANTS = 12
STEPS = 400
UPSTREAM_IDLE = 4.1
"""Seconds after which all idle upstream connections have closed."""


@dataclass(eq=False)
class Tenant:
    """One client; ``asked`` are the nonces of the requests on its current connection."""

    name: str
    browser: Browser
    asked: list[str] = field(default_factory=list)

    @property
    def token(self) -> str:
        """The token in its requests; some clients have none."""
        return "" if self.name.endswith("0") else f"token-of-{self.name}"


@dataclass(eq=False)
class Upstream:
    """An upstream request whose response is incomplete."""

    wire: Wire
    nonce: str
    begun: bool = False


class TenantTestsMixin(SiteTestCase):
    """Tests for every channel."""

    def setUp(self) -> None:
        """Start without a tenant."""
        super().setUp()
        self.random = Random(0)
        self.count = 0
        self.read: dict[Wire, int] = {}
        self.open: list[Upstream] = []
        self.owners: dict[str, str] = {}

    def tenant(self, number: int) -> Tenant:
        """Connect a tenant."""
        return Tenant(f"tenant-{number}", self.browser())

    def asks(self, tenant: Tenant) -> None:
        """Send a request with a new nonce."""
        self.count += 1
        nonce = f"nonce-{self.count:05}-{tenant.name}-"
        self.owners[nonce] = tenant.name
        tenant.asked.append(nonce)
        fields = [f"X-Nonce: {nonce}".encode()]
        if tenant.token:
            fields.append(f"Authorization: Bearer {tenant.token}".encode())
        model = self.random.choice([ALIAS, "a,b", "b"])
        tenant.browser.sends(request(b"/v1/chat/completions", *fields, body=ask(model, user=nonce)))
        self.listen()

    def listen(self) -> None:
        """Parse the new upstream requests; check that the parts of each belong together."""
        for wire in self.upstreams.wires:
            for text in bytes(wire.value())[self.read.get(wire, 0) :].split(b"POST ")[1:]:
                lines, _, body = text.partition(b"\r\n\r\n")
                nonce = str(json.loads(body)["user"])
                fields = dict(line.split(b": ", 1) for line in lines.split(b"\r\n")[1:])
                owner = Tenant(self.owners[nonce], self.browsers[0])
                authorization = f"Bearer {owner.token}".encode() if owner.token else None
                self.assertEqual(fields.get(b"Authorization"), authorization)
                self.assertEqual(fields[b"X-Nonce"], nonce.encode())
                self.assertNotIn(b"Cookie", fields)
                self.open.append(Upstream(wire, nonce))
            self.read[wire] = len(wire.value())
        self.open = [each for each in self.open if each.wire.alive]

    def answers(self, upstream: Upstream) -> None:
        """Send a part of the response, which only its client may receive, and perhaps the end."""
        said = json.dumps({"choices": [{"index": 0, "delta": {"content": upstream.nonce}}]})
        event = chunk(f"data: {said}\n\n".encode())
        if not upstream.begun:
            upstream.begun = True
            cookie = f"Set-Cookie: session={upstream.nonce}; Path=/".encode()
            upstream.wire.says(head(200, SSE, cookie, b"X-Nonce: " + upstream.nonce.encode()))
        upstream.wire.says(event)
        if upstream.wire.alive and self.random.random() < 0.4:
            self.open.remove(upstream)
            upstream.wire.says(chunk(DONE) + chunk(b""))
        elif self.random.random() < 0.1:
            self.open.remove(upstream)
            upstream.wire.resets()
        self.clock.advance(0)
        self.listen()

    def leaves(self, tenant: Tenant) -> None:
        """Disconnect, and connect again."""
        self.check(tenant)
        tenant.browser.leaves()
        self.clock.advance(0)
        tenant.browser, tenant.asked = self.browser(), []
        self.listen()

    def check(self, tenant: Tenant) -> None:
        """Check that the client received responses to its own requests only."""
        got = tenant.browser.wire.decode()
        for nonce in (word for word in self.owners if word in got):
            self.assertIn(nonce, tenant.asked)

    def test_isolation(self) -> None:
        """Requests, responses, failures and disconnections may occur in any order."""
        for seed in range(3):
            self.random = Random(seed)
            tenants = [self.tenant(number) for number in range(TENANTS)]
            for _ in range(STEPS):
                tenant = self.random.choice(tenants)
                act = self.random.random()
                if act < 0.3:
                    self.asks(tenant)
                elif act < 0.4 or tenant.browser.closed:
                    self.leaves(tenant)
                elif self.open:
                    self.answers(self.random.choice(self.open))
            for tenant in tenants:
                self.leaves(tenant)
        reused = [wire for wire in self.upstreams.wires if wire.value().count(b"POST ") > 1]
        self.assertGreater(len(reused), 10)
        self.assertGreater(self.count, 300)

    def test_nothing_is_kept(self) -> None:
        """No data of a tenant outlive its connections, in particular no keys and cookies."""
        tenants = [self.tenant(number) for number in range(1, 4)]
        for tenant in tenants:
            self.asks(tenant)
            upstream = self.open[-1]
            upstream.wire.says(head(200, SSE, b"Set-Cookie: session=" + upstream.nonce.encode()))
            upstream.wire.says(chunk(TOKEN + DONE) + chunk(b""))
        for tenant in tenants:
            tenant.browser.leaves()
        self.clock.advance(UPSTREAM_IDLE)
        kept = b"\n".join(texts(self.site, self.proxy, self.pool, *modules()))
        said = [*self.owners, *(tenant.token for tenant in tenants)]
        self.assertEqual([each for each in said if each.encode() in kept], [])

    def test_no_credentials_of_others(self) -> None:
        """A request without a token gets none, even on a connection that has just carried one."""
        with_key, without = self.tenant(1), self.tenant(10)
        for tenant in (with_key, without, with_key, without):
            self.asks(tenant)
            upstream = self.open[-1]
            cookie = b"Set-Cookie: session=" + upstream.nonce.encode()
            upstream.wire.says(head(200, SSE, cookie), chunk(TOKEN + DONE) + chunk(b""))
        self.assertEqual(len(self.upstreams.wires), 1)
        parts = self.upstreams.wires[0].value().split(b"POST ")[1:]
        held = [b"Authorization: Bearer token-of-tenant-1\r\n" in part for part in parts]
        self.assertEqual(held, [True, False, True, False])


class OwnChannelTests(TenantTestsMixin):
    """The router's own channel."""


class TwistedChannelTests(TenantTestsMixin):
    """Twisted's channel, as in an embedding application."""

    def make_site(self, resource: IResource) -> Site:
        """See `SiteTestCase`."""
        return Site(resource, reactor=self.clock)


del TenantTestsMixin
