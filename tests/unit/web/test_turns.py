"""Tests of the limit of one request a turn for pipelines on Twisted's own channel."""

from __future__ import annotations

from twisted.web.resource import IResource, Resource
from twisted.web.server import Site

from autopilot.web.turns import Turns
from tests.unit.web.browsers import CHAT, Browser, SiteTestCase, request
from tests.unit.web.test_shared_body import LIMIT, SlowPeer

HEALTH = request(b"/healthz", method=b"GET")


class TurnTests(SiteTestCase):
    """Pipelines on Twisted's channel, as an embedding application has it."""

    def make_site(self, resource: IResource) -> Site:
        """See `SiteTestCase`."""
        site = Site(resource, reactor=self.clock)
        site.timeOut = None
        return site

    def turn(self) -> None:
        """Run the calls that are due now, as a reactor does: those they make are for later."""
        due = [call for call in self.clock.calls if call.getTime() <= self.clock.seconds()]
        for call in due:
            if call.active():
                self.clock.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)

    def send(self, data: bytes) -> Browser:
        """Send on a new connection, without a turn of the reactor."""
        browser = self.browser()
        browser.protocol.dataReceived(data)
        return browser

    def answers(self, browser: Browser) -> int:
        """Return the number of responses written so far."""
        return browser.wire.count(b"HTTP/1.1 ")

    def test_one_a_turn(self) -> None:
        """The first request is handled at once, each further one in a turn of its own."""
        refused = request(b"/nothing", method=b"GET")
        bad = request(CHAT, body=b"{")
        odd = request(b"/healthz", method=b"GARBAGE")
        for wire in (HEALTH, refused, bad, odd, request(b"/metrics", method=b"GET")):
            browser = self.send(wire * 10)
            for count in range(1, 11):
                self.assertEqual(self.answers(browser), count, wire)
                self.turn()
            self.assertEqual(len({each.status for each in browser.got}), 1)
            self.assertEqual(len(browser.got), 10)

    def test_many_connections(self) -> None:
        """Connections do not wait for each other."""
        browsers = [self.send(HEALTH * 3) for _ in range(5)]
        for count in (1, 2, 3):
            self.assertEqual([self.answers(each) for each in browsers], [count] * 5)
            self.turn()

    def test_one_after_another(self) -> None:
        """A client that awaits its responses waits for no turn."""
        browser = self.browser()
        for count in (1, 2, 3):
            browser.protocol.dataReceived(HEALTH)
            self.assertEqual(self.answers(browser), count)
            self.turn()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_unread(self) -> None:
        """A client that reads nothing gets no more than its connection buffers, then the rest."""
        self.metrics_text = b"metric 1\n" * 1000
        peer = SlowPeer()
        browser = Browser(self.site, peer)
        self.browsers.append(browser)
        browser.protocol.dataReceived(request(b"/metrics", method=b"GET") * 250)
        for _ in range(300):
            self.turn()
        self.assertLess(peer.longest, LIMIT + 10_000)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        while peer.held:
            peer.reads()
            browser.turn()
        self.assertEqual(self.answers(browser), 250)

    def test_leaves(self) -> None:
        """A client that leaves while a request waits leaves nothing behind."""
        browser = self.send(HEALTH * 10)
        browser.leaves()
        self.turn()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.answers(browser), 1)

    def test_bug(self) -> None:
        """A bug in a page that waited is handled as that of any other."""

        class Broken(Resource):
            isLeaf = True

            def render(self, request: object) -> bytes:
                raise ZeroDivisionError

        turns = Turns(self.clock)

        class Root(Resource):
            def getChildWithDefault(self, path: bytes, request: object) -> IResource:
                return turns.take(request, Broken())  # type: ignore[arg-type]

        self.site = self.make_site(Root())
        browser = self.send(HEALTH * 2)
        self.turn()
        self.assertEqual(self.answers(browser), 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
