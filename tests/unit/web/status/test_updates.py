"""Tests of the status page's event stream: subscribers, updates and their end."""

from __future__ import annotations

import json

from twisted.web.resource import IResource, Resource
from twisted.web.server import Site

from autopilot.web.shared_body import STALL_TIMEOUT
from autopilot.web.status.updates import KEEPALIVE, MAX_SUBSCRIBERS, PERIOD
from tests.unit.service.platforms import ServiceTestCase
from tests.unit.web.browsers import Browser, SiteTestCase, request
from tests.unit.web.status.values import facts

EVENTS = b"/status/events"


def events(browser: Browser) -> list[dict[str, str]]:
    """Return the sections of each event that a browser received."""
    lines = browser.wire.split(b"\r\n\r\n", 1)[1].split(b"\n")
    prefix = b"data: "
    return [json.loads(line[len(prefix) :]) for line in lines if line.startswith(prefix)]


class LiveTestsMixin(SiteTestCase):
    """Subscribers on either channel."""

    def setUp(self) -> None:
        """Set the report, which the test changes."""
        super().setUp()
        self.active = 0
        self.looks = 0

        def status() -> object:
            self.looks += 1
            return facts("a", "b", active=self.active)

        self.status = status  # type: ignore[assignment]

    def watch(self) -> Browser:
        """Open the event stream."""
        browser = self.browser()
        browser.sends(request(EVENTS, method=b"GET"))
        return browser

    def test_what_changes(self) -> None:
        """The first event has all sections, the next ones only those that changed."""
        browser = self.watch()
        self.assertIn(b"text/event-stream", browser.wire)
        (first,) = events(browser)
        self.assertIn("ranking", first)
        self.clock.advance(PERIOD)
        self.assertEqual(len(events(browser)), 1)
        self.active = 7
        self.clock.advance(PERIOD)
        self.assertEqual(set(events(browser)[1]), {"numbers"})
        self.assertIn("<dd>7</dd>", events(browser)[1]["numbers"])

    def test_heartbeat(self) -> None:
        """A comment is sent after a silence, so that proxies keep the connection."""
        browser = self.watch()
        for _ in range(int(KEEPALIVE / PERIOD) + 1):
            self.clock.advance(PERIOD)
        self.assertEqual(browser.wire.count(b"\n:\n\n"), 1)

    def test_one_timer(self) -> None:
        """All subscribers share one report; without subscribers there is no timer."""
        browsers = [self.watch() for _ in range(3)]
        self.looks = 0
        self.clock.advance(PERIOD)
        self.assertEqual(self.looks, 1)
        for browser in browsers:
            browser.leaves()
        self.assertEqual(len(self.updates), 0)
        self.clock.advance(10 * PERIOD)
        self.assertEqual(self.looks, 1)
        self.watch()
        self.clock.advance(PERIOD)
        self.assertEqual(self.looks, 3)

    def test_slow(self) -> None:
        """A congested connection is skipped, and later receives the then current state."""
        slow, other = self.watch(), self.watch()
        producer = slow.peer.producer
        assert producer is not None
        producer.pauseProducing()
        before = len(slow.wire)
        for self.active in (1, 2, 3):
            self.clock.advance(PERIOD)
        self.assertEqual(len(slow.wire), before)
        self.assertEqual(len(events(other)), 4)
        producer.resumeProducing()
        self.clock.advance(PERIOD)
        (_, later) = events(slow)
        self.assertIn("<dd>3</dd>", later["numbers"])

    def test_stuck(self) -> None:
        """A subscriber that reads nothing for a minute is disconnected, and frees its place."""
        browser = self.watch()
        assert browser.peer.producer is not None
        browser.peer.producer.pauseProducing()
        for _ in range(int(STALL_TIMEOUT / PERIOD)):
            self.clock.advance(PERIOD)
        self.assertFalse(browser.peer.aborted)
        self.clock.advance(PERIOD)
        self.assertTrue(browser.peer.aborted)

    def test_bounded(self) -> None:
        """The number of subscribers is limited; a further one gets 503 until one leaves."""
        browsers = [self.watch() for _ in range(MAX_SUBSCRIBERS)]
        late = self.watch()
        self.assertEqual(late.response.error, (503, "server_error", "overloaded"))
        self.assertEqual(late.response.value(b"retry-after"), b"15")
        browsers[0].leaves()
        self.assertIn(b"200 OK", self.watch().wire)

    def test_head(self) -> None:
        """HEAD returns the fields, and does not subscribe."""
        got = self.get(EVENTS, method=b"HEAD")
        self.assertEqual((got.status, got.body, len(self.updates)), (200, b"", 0))

    def test_close(self) -> None:
        """On shutdown subscribers get the last state and a clean end; later ones get 503."""
        browser = self.watch()
        self.active = 5
        self.updates.close()
        self.assertIn("<dd>5</dd>", events(browser)[1]["numbers"])
        self.assertTrue(browser.wire.endswith(b"0\r\n\r\n"))
        self.assertEqual(len(self.updates), 0)
        self.assertEqual(self.watch().response.status, 503)

    def test_bug(self) -> None:
        """A failing section is logged once, and its subscribers may reconnect."""
        browser = self.watch()
        status, self.status = self.status, lambda: 1 / 0  # type: ignore[assignment,return-value]
        self.clock.advance(PERIOD)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(browser.wire.endswith(b"0\r\n\r\n"))
        self.status = status
        again = self.watch()
        self.clock.advance(PERIOD)
        self.assertEqual(len(events(again)), 1)


class OwnChannelTests(LiveTestsMixin):
    """On the router's own channel."""


class TwistedChannelTests(LiveTestsMixin):
    """On Twisted's channel, as an embedding application has it."""

    def make_site(self, resource: IResource) -> Site:
        """See `SiteTestCase`."""
        return Site(resource, reactor=self.clock)


class PrefixTests(SiteTestCase):
    """The pages under a prefix of another site."""

    def make_site(self, resource: IResource) -> Site:
        """See `SiteTestCase`."""
        root = Resource()
        root.putChild(b"llm", resource)
        return Site(root, reactor=self.clock)

    def test_relative(self) -> None:
        """The relative URLs of the page work under a prefix."""
        page = self.get(b"/llm/status").body
        for name in (b"page.js", b"page.css", b"icon.svg"):
            link = page[page.index(b"status/" + name) :].partition(b'"')[0]
            self.assertEqual(self.get(b"/llm/" + link).status, 200)
        browser = self.browser()
        browser.sends(request(b"/llm/status/events", method=b"GET"))
        self.assertEqual(len(events(browser)), 1)


class DrainTests(ServiceTestCase):
    """A whole router that stops with a subscriber."""

    def test_drain(self) -> None:
        """The subscriber is released at once, so it does not delay the shutdown."""
        router = self.running()
        browser = self.browser()
        browser.sends(request(EVENTS, method=b"GET"))
        stopped = router.stopService()
        self.assertIn("Shutting down", events(browser)[-1]["state"])
        self.assertTrue(browser.wire.endswith(b"0\r\n\r\n"))
        browser.leaves()
        self.successResultOf(stopped)
        self.assert_at_rest()


del LiveTestsMixin
