"""Tests of the pages of a parent, which asks its workers first."""

from __future__ import annotations

import json

from twisted.internet.defer import Deferred

from autopilot.web.shared_rendering import FRESHNESS
from autopilot.web.status.collected_pages import CollectedPages, PageName
from autopilot.web.status.page import StatusPage
from autopilot.web.status.requests import Shown
from autopilot.web.status.updates import PERIOD, LiveUpdates
from tests.unit.web.browsers import Browser, SiteTestCase, request
from tests.unit.web.responses import responses
from tests.unit.web.status.test_updates import EVENTS, events
from tests.unit.web.status.values import facts


class CollectedTestCase(SiteTestCase):
    """A site whose pages wait until the test says that the workers have reported."""

    def setUp(self) -> None:
        """Collect a number of active requests."""
        super().setUp()
        self.active = 0
        self.collecting: list[Deferred[bool]] = []
        self.status = lambda: facts("a", active=self.active)
        self.pages = CollectedPages(self.clock.seconds, self.operators, self.collect)
        self.operators = self.pages  # type: ignore[assignment]
        self.updates = LiveUpdates(self.clock, self.pages)
        self.site = self.make_site(self.tree())

    def collect(self) -> Deferred[bool]:
        """Begin to ask the workers."""
        self.collecting.append(Deferred())
        return self.collecting[-1]

    def reported(self, active: int) -> None:
        """Let the workers report."""
        self.active = active
        self.metrics_text = b"metric %d\n" % active
        self.collecting[-1].callback(True)

    def open(self, path: bytes) -> Browser:
        """Request a page."""
        browser = self.browser()
        browser.sends(request(path, method=b"GET"))
        return browser


class PagesTests(CollectedTestCase):
    """The pages on the operators' port of the parent."""

    def test_waits(self) -> None:
        """Each page is answered when the workers have reported, and one collection serves all."""
        asked = [self.open(path) for path in (b"/metrics", b"/status", b"/status.json")]
        self.assertEqual([each.wire for each in asked], [b"", b"", b""])
        self.assertEqual(len(self.collecting), 1)
        self.reported(7)
        metrics, page, document = (each.response for each in asked)
        self.assertEqual(metrics.body, b"metric 7\n")
        self.assertIn(b"<dd>7</dd>", page.body)
        self.assertEqual(json.loads(document.body)["requests_active"], 7)

    def test_fresh(self) -> None:
        """A collection is shared for a second; each later page shows the next one."""
        first = self.open(b"/metrics")
        self.reported(1)
        self.clock.advance(0.9 * FRESHNESS)
        self.assertEqual(self.open(b"/metrics").response.body, first.response.body)
        self.clock.advance(0.1 * FRESHNESS)
        later, page = self.open(b"/metrics"), self.open(b"/status")
        self.reported(2)
        self.assertEqual(later.response.body, b"metric 2\n")
        self.assertIn(b"<dd>2</dd>", page.response.body)

    def test_left(self) -> None:
        """A client that leaves before the workers have reported leaves nothing behind."""
        browser, other = self.open(b"/metrics"), self.open(b"/metrics")
        browser.leaves()
        self.reported(3)
        self.assertEqual(other.response.body, b"metric 3\n")

    def test_head(self) -> None:
        """HEAD waits for the workers, too, and returns the fields alone."""
        for path in (b"/metrics", b"/status", b"/status.json"):
            self.clock.advance(FRESHNESS)
            browser = self.browser()
            browser.sends(request(path, method=b"HEAD"))
            self.reported(1)
            browser.turn()
            (got,) = responses(browser.wire, head_only=True)
            self.assertEqual((got.status, got.body), (200, b""), path)
            self.assertGreater(int(got.value(b"content-length") or 0), 0)

    def test_for_workers(self) -> None:
        """A worker gets the same pages."""
        answers = [self.pages.answer(name) for name in PageName]
        self.reported(9)
        while self.clock.getDelayedCalls():
            self.clock.advance(0)
        page, document, metrics = map(self.successResultOf, answers)
        shown = StatusPage.decode(page, self.pages.assets)
        own = self.successResultOf(self.pages.page())
        for view in Shown:
            self.assertEqual(shown.view(view).document, own.view(view).document)
            self.assertEqual(shown.view(view).event(["numbers"]), own.view(view).event(["numbers"]))
        self.assertEqual(metrics, b"metric 9\n")
        self.assertEqual(json.loads(document)["requests_active"], 9)

    def test_bug(self) -> None:
        """A failing section is answered with 500, and the next request asks again."""
        self.status = lambda: 1 / 0  # type: ignore[assignment,return-value]
        browser = self.open(b"/status")
        self.reported(1)
        self.assertEqual(browser.response.status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class UpdatesTests(CollectedTestCase):
    """The event stream of a page whose workers are asked for each update."""

    def test_updates(self) -> None:
        """The first event and each update come when the workers have reported."""
        browser = self.open(EVENTS)
        self.assertEqual(browser.wire, b"")
        self.reported(1)
        self.assertIn("<dd>1</dd>", events(browser)[0]["numbers"])
        for active in (2, 3):
            self.clock.advance(PERIOD)
            self.reported(active)
            self.assertIn(f"<dd>{active}</dd>", events(browser)[-1]["numbers"])
        self.assertEqual(len(self.collecting), 3)

    def test_left(self) -> None:
        """A page that is closed before the workers have reported leaves no timer."""
        browser = self.open(EVENTS)
        browser.leaves()
        self.assertEqual(len(self.updates), 0)
        self.reported(1)
        again = self.open(EVENTS)
        self.clock.advance(PERIOD)
        again.leaves()
        self.reported(2)
        self.assertEqual(len(self.updates), 0)

    def test_close(self) -> None:
        """On shutdown the last update has what the workers reported last, at once."""
        browser = self.open(EVENTS)
        self.reported(1)
        self.clock.advance(PERIOD)
        self.active = 5
        self.updates.close()
        self.assertIn("<dd>5</dd>", events(browser)[-1]["numbers"])
        self.assertTrue(browser.wire.endswith(b"0\r\n\r\n"))
        self.reported(6)
        self.assertEqual(len(events(browser)), 2)

    def test_bug(self) -> None:
        """A failing section is logged once, and its subscribers may reconnect."""
        browser = self.open(EVENTS)
        self.reported(1)
        status, self.status = self.status, lambda: 1 / 0  # type: ignore[assignment,return-value]
        self.clock.advance(PERIOD)
        self.reported(2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(browser.wire.endswith(b"0\r\n\r\n"))
        self.status = status
        self.assertEqual([each.status for each in responses(browser.wire)], [200])
        self.assertEqual(len(events(self.open(EVENTS))), 1)
