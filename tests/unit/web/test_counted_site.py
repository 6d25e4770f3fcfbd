"""Tests of what a worker's site and proxy show to the parent."""

from __future__ import annotations

from twisted.web.resource import IResource
from twisted.web.server import Site

from autopilot.process.board import Board
from autopilot.relay.counted_exchanges import CountedExchanges
from autopilot.web.counted_site import CountedSite
from tests.unit.relay.upstreams import SSE, TOKEN, chunk, head, whole
from tests.unit.web.browsers import SiteTestCase, ask, request


class CountedSiteTests(SiteTestCase):
    """The numbers of connections and requests, through the life of each."""

    def make_site(self, resource: IResource) -> Site:
        """Return the site under test, with a slot of the board."""
        board = Board.create(1)
        self.addCleanup(board.close)
        self.slot = board.slot(0)
        self.proxy._exchanges = CountedExchanges(self.slot)
        return CountedSite(resource, self.clock, self.limits, self._refuses, self.slot)

    def assert_numbers(self, connections: int, fresh: int, requests: int) -> None:
        """Compare the slot."""
        slot = self.slot
        self.assertEqual(
            (slot.connections, slot.fresh, slot.requests), (connections, fresh, requests)
        )

    def test_request(self) -> None:
        """A fresh connection becomes one with a request, and stays idle after its end."""
        browser = self.browser()
        self.assert_numbers(1, 1, 0)
        for _ in range(2):
            browser.sends(request(body=ask("a")))
            self.assert_numbers(1, 0, 1)
            self.wire.says(whole(200, b"{}"))
            self.assert_numbers(1, 0, 0)
        browser.leaves()
        self.assert_numbers(0, 0, 0)

    def test_other_requests(self) -> None:
        """A request that is not relayed makes a connection idle, too."""
        browser = self.browser()
        browser.sends(request(b"/healthz", method=b"GET"))
        self.assert_numbers(1, 0, 0)
        browser.leaves()
        self.assert_numbers(0, 0, 0)

    def test_silent_client(self) -> None:
        """A client that leaves without a request is no longer expected to send one."""
        browser = self.browser()
        self.browser()
        browser.leaves()
        self.assert_numbers(1, 1, 0)

    def test_rejected(self) -> None:
        """A connection whose head is rejected counts until it is closed."""
        browser = self.browser()
        browser.sends(b"\x00\r\n\r\n")
        browser.leaves()
        self.assert_numbers(0, 0, 0)

    def test_cut_stream(self) -> None:
        """A client that leaves in the middle of a stream takes its request with it."""
        browser = self.browser()
        browser.sends(request(body=ask("a")))
        self.wire.says(head(200, SSE), chunk(TOKEN))
        self.assert_numbers(1, 0, 1)
        browser.leaves()
        self.assert_numbers(0, 0, 0)
