"""Tests that a request leaves no reference cycle for the garbage collector.

Objects that refer to each other in a circle stay until a collection, and a busy router would make
dozens of them with each request.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

from tests.unit.relay.upstreams import whole
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
