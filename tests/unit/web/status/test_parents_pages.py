"""Tests of a worker that serves its parent's pages."""

from __future__ import annotations

import json

from twisted.internet.defer import Deferred, fail, succeed

from autopilot.web.shared_rendering import FRESHNESS
from autopilot.web.status.collected_pages import CollectedPages, PageName
from autopilot.web.status.page import OperatorPages
from autopilot.web.status.parents_pages import NoAnswerError, ParentsPages
from autopilot.web.status.updates import PERIOD, LiveUpdates
from tests.unit.web.browsers import SiteTestCase, request
from tests.unit.web.status.test_updates import EVENTS, events
from tests.unit.web.status.values import facts


class ParentsPagesTests(SiteTestCase):
    """The pages on the API's port of a worker."""

    def setUp(self) -> None:
        """Join a parent with seven active requests to a worker that has one."""
        super().setUp()
        self.asked: list[PageName] = []
        self.answers = True
        parent = OperatorPages(
            self.clock, lambda: facts("a", active=7), lambda: b"chutes_autopilot_requests 7\n"
        )
        self.parent = CollectedPages(self.clock.seconds, parent, lambda: succeed(True))
        self.status = lambda: facts("a", active=1, alone=2)
        self.operators = ParentsPages(  # type: ignore[assignment]
            self.clock.seconds, self.operators, self.ask_parent
        )
        self.updates = LiveUpdates(self.clock, self.operators)
        self.site = self.make_site(self.tree())

    def ask_parent(self, name: PageName) -> Deferred[bytes]:
        """Return a page of the parent, if it answers."""
        self.asked.append(name)
        return self.parent.answer(name) if self.answers else fail(NoAnswerError())

    def test_the_parents(self) -> None:
        """Every page is the parent's, and is asked for once a second."""
        for _ in range(2):
            self.assertEqual(self.get(b"/metrics").body, b"chutes_autopilot_requests 7\n")
            self.assertIn(b"<dd>7</dd>", self.get(b"/status").body)
            self.assertIn(b"<dd>7</dd>", self.get(b"/status?show=failures").body)
            document = json.loads(self.get(b"/status.json").body)
            self.assertEqual((document["requests_active"], "worker_alone" in document), (7, False))
        self.assertEqual(self.asked, [PageName.METRICS, PageName.PAGE, PageName.JSON])
        self.clock.advance(FRESHNESS)
        self.get(b"/status")
        self.assertEqual(len(self.asked), 4)

    def test_events(self) -> None:
        """So are the updates of the page."""
        browser = self.browser()
        browser.sends(request(EVENTS, method=b"GET"))
        self.assertIn("<dd>7</dd>", events(browser)[0]["numbers"])
        self.answers = False
        self.clock.advance(PERIOD)
        self.assertIn("worker 2 alone", events(browser)[1]["alone"])
        self.updates.close()
        self.assertTrue(browser.wire.endswith(b"0\r\n\r\n"))

    def test_no_answer(self) -> None:
        """Without an answer the worker shows itself, says so, and has no metrics."""
        self.answers = False
        page = self.get(b"/status").body
        self.assertIn(b"<dd>1</dd>", page)
        self.assertIn(b"worker 2 alone", page)
        document = json.loads(self.get(b"/status.json").body)
        self.assertEqual((document["requests_active"], document["worker_alone"]), (1, 2))
        metrics = self.get(b"/metrics")
        self.assertEqual((metrics.status, metrics.error), (503, (503, "not_ready", "not_ready")))
        self.assertEqual(metrics.value(b"retry-after"), b"1")
        self.answers = True
        self.assertEqual(self.get(b"/metrics").status, 200)

    def test_assets(self) -> None:
        """The files of the page are the worker's own."""
        self.assertEqual(self.get(b"/status/page.css").status, 200)
        self.assertEqual(self.asked, [])
