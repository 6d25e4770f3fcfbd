"""No object of the router shows a secret in its text, or keeps one longer than needed."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.web.resource import IResource
from twisted.web.server import Site

from autopilot import tap
from autopilot.relay.sse_guard import GuardLevel
from autopilot.routing.identity import Hasher
from autopilot.settings import Settings, choose, load_settings
from tests.process.secrets.canaries import canary
from tests.process.secrets.objects import Watch, modules, reachable, texts
from tests.process.secrets.requests import Asking
from tests.process.secrets.stage import Secrets
from tests.unit.relay.routers import ALIAS
from tests.unit.relay.upstreams import DONE, JSON, SSE, TOKEN, chunk, head, whole
from tests.unit.web.browsers import CHAT, Browser, SiteTestCase

HELD = {
    "autopilot.relay.downstream.ClientRequest",
    "autopilot.relay.downstream.CommittedHead",
    "autopilot.request.body.BodyTemplate",
    "autopilot.request.parse.ParsedRequest",
    "autopilot.http.response_parser.ResponseHead",
    "autopilot.relay.attempt.Attempt",
    "autopilot.relay.exchange.Exchange",
    "autopilot.relay.stream.Stream",
    "autopilot.upstream.types.UpstreamCall",
    "autopilot.relay.sse.Event",
    "autopilot.request.json_scan.Member",
    "autopilot.relay.planned_request.PlannedRequest",
    "autopilot.routing.router_error.RouterError",
}
"""Classes known to hold secrets; a run without objects of these classes would prove nothing."""


class ObjectTestCase(SiteTestCase):
    """A router whose objects are all inspected."""

    def setUp(self) -> None:
        """Create the secrets; the model is not secret, because errors and records name it."""
        super().setUp()
        self.secrets = Secrets()
        self.asking = Asking(self.secrets)
        secrets = self.secrets
        self.told = tuple(each for each in secrets.all if each is not secrets.model)
        hasher = Hasher(b"k" * 32)
        client = hasher.token(secrets.bearer.text)
        session = hasher.conversation(client, b"id\0" + secrets.session.text.encode())
        self.hashes = client, hasher.api_key(secrets.api_key.text), session

    @contextmanager
    def watched(self) -> Iterator[Watch]:
        """Check that no object in use shows a secret, and none that remains."""
        watch = Watch(self.told, self.hashes)
        with watch:
            yield watch
        for each in reachable(self.site, self.proxy):
            watch.look(each)
        self.assertEqual(watch.shown, {})

    def says(self, kind: bytes = SSE, status: int = 200) -> bytes:
        """Return a response head with secrets of the upstream."""
        note = self.secrets.note.text.encode()
        key = self.secrets.bearer.text.encode()
        return head(status, kind, b"X-Note: " + note, b"Set-Cookie: a=" + note, b"X-Key: " + key)

    def event(self, member: bytes = b"x") -> bytes:
        """Return an event that quotes the client."""
        note = self.secrets.note.text.encode()
        quoting = TOKEN.replace(b'{"id"', b'{"%b":"%b","id"' % (member, note), 1)
        return quoting.replace(b'"hi"', b'"%b"' % note)

    def asked(self, wire: bytes) -> Browser:
        """Return a client that has sent this request."""
        browser = self.browser()
        browser.sends(wire)
        return browser

    def afresh(self, guard: GuardLevel) -> None:
        """Create another router, after the previous one has been collected."""
        for browser in self.browsers:
            browser.leaves()
        self.pool.close()
        self.clock.advance(0)
        self.build(guard=guard)
        self.site = self.make_site(self.tree())


class ObjectTestsMixin(ObjectTestCase):
    """Tests for both channels."""

    def test_answers(self) -> None:
        """Responses of all kinds, complete and partial, and failures before them, show nothing."""
        with self.watched() as watch:
            self.asked(self.asking.chat("a", stream=False))
            self.wire.says(whole(200, b'{"x":"%b"}' % self.secrets.note.text.encode()))
            for guard in GuardLevel:
                self.afresh(guard)
                self.asked(self.asking.chat("a,b,c"))
                detail = b'{"detail":"%b"}' % self.secrets.note.text.encode()
                self.wire.says(self.says(JSON, 429), chunk(detail[:9]))
                self.wire.says(chunk(detail[9:]), chunk(b""))
                self.asked(self.asking.chat("a,b,c"))
                self.wire.says(self.says(), chunk(b"data: {}\n\n"), chunk(self.event(b"error")))
                self.wire.says(self.says(), chunk(self.event()), chunk(self.event()))
                self.wire.says(chunk(b'\n{"error":"%b"}\n' % self.secrets.note.text.encode()))
                self.wire.says(chunk(DONE))
        self.assertEqual(HELD - watch.seen - {"autopilot.request.json_scan.Member"}, set())

    def test_waiting(self) -> None:
        """Requests that wait for a response, or receive one, show nothing."""
        with self.watched() as watch:
            self.asked(self.asking.chat(ALIAS))
            self.asked(self.asking.chat("a,b"))
            self.wire.says(self.says(), chunk(b"data: {}\n\n"))
            for _, wire in self.asking.conversations("a,b"):
                self.asked(wire)
            self.asked(self.asking.chat("b"))
            self.wire.says(self.says(), chunk(self.event()))
            self.asked(self.asking.chat("c")[:-5])
            self.asked(self.asking.chat("c").partition(b"\r\n\r\n")[0])
        self.assertIn("autopilot.relay.attempt.Attempt", watch.seen)
        self.assertIn("autopilot.relay.exchange.Exchange", watch.seen)
        self.assertIn("autopilot.upstream.types.UpstreamCall", watch.seen)

    def test_refusals(self) -> None:
        """Refused requests show nothing."""
        with self.watched() as watch:
            for wire, _ in (*self.asking.refusals(), *self.asking.malformed()):
                self.asked(wire)
            members = b'{"model":"a","stream":null,"%b":1}' % self.secrets.member.text.encode()
            self.asked(self.asking.post(members))
        self.assertIn("autopilot.request.json_scan.Member", watch.seen)

    def test_nothing_is_kept(self) -> None:
        """When a client has its response and has disconnected, nothing it sent is kept."""
        for number, model in enumerate((ALIAS, "a,b", "b", ALIAS)):
            browser = self.asked(self.asking.chat(model, stream=bool(number % 2)))
            self.wire.says(self.says(), chunk(self.event()), chunk(DONE), chunk(b""))
            browser.leaves()
        for _, wire in self.asking.conversations(ALIAS):
            browser = self.asked(wire)
            self.wire.says(self.says(), chunk(self.event()), chunk(DONE), chunk(b""))
            browser.leaves()
        self.asked(self.asking.chat("nobody")).leaves()
        self.asked(self.asking.chat("a")[:-5]).leaves()
        self.asked(self.asking.chat("a")).leaves()
        self.clock.advance(0)
        gc.collect()
        # Host names are cached, because nearly all clients of a router send the same one.
        secrets = self.secrets
        gone = [each for each in self.told if each is not secrets.host]
        left = list(texts(self.site, self.proxy, self.pool, *modules()))
        kept = {each.kind for each in gone for text in left if each.core.encode() in text}
        self.assertEqual(kept, set())
        self.assertGreater(len(self.tables.affinity), 0)
        self.assertGreater(len(left), 100)

    def test_something_is_kept_until_then(self) -> None:
        """The search finds the data of an active request."""
        self.asked(self.asking.chat("a"))
        left = b"\n".join(texts(self.site, self.proxy, self.pool))
        for each in (self.secrets.bearer, self.secrets.prompt, self.secrets.query):
            self.assertIn(each.core.encode(), left)


class OwnChannelTests(ObjectTestsMixin):
    """The router's own channel."""


class TwistedChannelTests(ObjectTestsMixin):
    """Twisted's channel, with Twisted's request objects."""

    def make_site(self, resource: IResource) -> Site:
        """See `SiteTestCase`."""
        return Site(resource, reactor=self.clock)


class PagesTests(ObjectTestCase):
    """Requests that Twisted handles on the router's own channel."""

    def test_pages(self) -> None:
        """A page's request shows neither its query nor its client."""
        with self.watched() as watch:
            for path in (b"/healthz", b"/readyz", b"/v1/models/x", CHAT, b"/none", b"/status"):
                self.asked(self.asking.get(path))
        self.assertIn("autopilot.web.site.PlainRequest", watch.seen)


del ObjectTestsMixin


class SettingsTests(SiteTestCase):
    """Objects that hold the operator's secret."""

    def test_settings(self) -> None:
        """Settings, and the sources they were read from, do not show the key."""
        key = canary("key")
        watch = Watch((key,))
        texts_of = {"STICKY_HASH_KEY": key.text}
        with watch:
            load_settings({}, texts_of, {})
            options = tap.Options()
            options.environ = {}
            options.parseOptions(["--env-file=/dev/null", f"--sticky-hash-key={key.text}"])
        shown: tuple[Any, ...] = (
            options,
            options.settings,
            Settings(sticky_hash_key=key.text.encode()),
            choose(texts_of, {}, {}),
            Hasher(key.text.encode()),
        )
        for each in shown:
            watch.look(each)
        self.assertEqual(watch.shown, {})
        self.assertIn("autopilot.settings.merge.Chosen", watch.seen)
