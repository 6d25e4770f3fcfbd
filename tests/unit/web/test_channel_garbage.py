"""Tests that a request leaves no reference cycle for the garbage collector.

Objects that refer to each other in a circle stay until a collection, and a busy router would make
dozens of them with each request.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import cast
from unittest.mock import patch

from twisted.internet.interfaces import IPushProducer

from tests.unit.relay.upstreams import TOKEN, chunk, head, whole
from tests.unit.web.browsers import SiteTestCase, ask, request


class GarbageTests(SiteTestCase):
    """Finished exchanges on open connections."""

    def garbage_of(self, exchange: Callable[[], object]) -> set[str]:
        """Return the types that the collector finds after the exchange, following a warm-up."""
        exchange()
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            exchange()
            gc.collect()
            return {type(each).__name__ for each in gc.garbage}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()

    def check(self, exchange: Callable[[], object]) -> None:
        """Assert that nothing is found."""
        self.assertEqual(self.garbage_of(exchange), set())

    def check_exchange(self, exchange: Callable[[], object]) -> None:
        """Assert that the exchange and its parts are not found; connections may be."""
        found = self.garbage_of(exchange)
        parts = {"Exchange", "Attempt", "Stream", "UpstreamCall", "_Opening"}
        self.assertEqual(found & parts, set())

    def test_plain_answer(self) -> None:
        """A plain response."""
        browser = self.browser()

        def exchange() -> None:
            browser.sends(request(body=ask("a", stream=False)))
            self.wire.says(whole(200, b"{}"))

        self.check(exchange)

    def test_stream(self) -> None:
        """A stream."""
        browser = self.browser()

        def exchange() -> None:
            browser.sends(request(body=ask("a")))
            self.streams()

        self.check(exchange)

    def test_failover(self) -> None:
        """A failover."""
        browser = self.browser()

        def exchange() -> None:
            browser.sends(request(body=ask("a,b")))
            self.wire.says(whole(503, b'{"detail":"no"}'))
            self.wire.says(whole(200, b"{}"))

        self.check(exchange)

    def test_refusal(self) -> None:
        """An error of the router's own."""
        browser = self.browser()
        self.check(lambda: browser.sends(request(body=ask("nobody"))))

    def test_refused_connection(self) -> None:
        """Connections that are refused at once."""
        browser = self.browser()

        def exchange() -> None:
            self.upstreams.refusing = 2
            browser.sends(request(body=ask("a,b")))

        self.check(exchange)

    def test_stale_connection(self) -> None:
        """A request that is sent again on a fresh connection."""
        browser = self.browser()

        def exchange() -> None:
            browser.sends(request(body=ask("a", stream=False)))
            self.wire.says(whole(200, b"{}"))
            browser.sends(request(body=ask("a", stream=False)))
            self.wire.closes()
            self.wire.says(whole(200, b"{}"))
            self.wire.closes()

        self.check(exchange)

    def test_pipelined_requests(self) -> None:
        """Requests that were sent together."""
        browser = self.browser()

        def exchange() -> None:
            browser.sends(request(body=ask("a", stream=False)) * 2 + request(body=ask("nobody")))
            self.wire.says(whole(200, b"{}"))
            self.wire.says(whole(200, b"{}"))

        self.check(exchange)

    def test_deadlines(self) -> None:
        """An exchange that runs out of time."""
        browser = self.browser()

        def exchange() -> None:
            browser.sends(request(body=ask("a,b")))
            self.clock.advance(1000)

        self.check(exchange)

    def test_client_gone(self) -> None:
        """Clients that leave before commit and after it."""

        def exchange() -> None:
            self.post(ask("a")).leaves()
            client = self.post(ask("a"))
            self.wire.says(head(), chunk(TOKEN))
            client.leaves()
            self.browsers.clear()
            self.upstreams.wires.clear()
            self.clock.advance(0)

        self.check_exchange(exchange)

    def test_cut(self) -> None:
        """A stream that breaks, and one whose client takes nothing."""

        def exchange() -> None:
            client = self.post(ask("a"))
            self.wire.says(head(), chunk(TOKEN))
            self.wire.resets()
            client.leaves()
            client = self.post(ask("a"))
            self.wire.says(head(), chunk(TOKEN))
            cast(IPushProducer, client.protocol).pauseProducing()
            self.clock.advance(1000)
            client.leaves()
            self.browsers.clear()
            self.upstreams.wires.clear()
            self.clock.advance(0)

        self.check_exchange(exchange)

    def test_fault(self) -> None:
        """An exchange that a fault of the router ended at once."""
        browser = self.browser()

        def exchange() -> None:
            with patch.object(self.pool, "dispatch", lambda *_, **__: 1 / 0):
                browser.sends(request(body=ask("a")))
            self.flushLoggedErrors(ZeroDivisionError)

        self.check_exchange(exchange)
