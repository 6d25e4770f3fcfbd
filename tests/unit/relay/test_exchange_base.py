"""Tests of what the steps of an exchange share: its record, its end and its slot."""

from __future__ import annotations

from unittest.mock import patch

from autopilot.state.circuit_breaker import CircuitBreaker
from tests.unit.relay.routers import RouterTestCase
from tests.unit.relay.upstreams import DONE, STOP, TOKEN, chunk, head, whole

_RECORD = "autopilot.relay.exchange_base.RequestRecord"
FAULT = ZeroDivisionError("a fault")


class EndTests(RouterTestCase):
    """The end of an exchange, also if it goes wrong."""

    def assert_no_record(self) -> None:
        """There is no record, a failure in the log, and nothing is kept."""
        self.assertEqual((self.proxy.active, self.records), (0, []))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clients.clear()  # else each would have to have a record

    def test_record_cannot_be_made(self) -> None:
        """If the record cannot be made, the slot is released; the client has its response."""
        client = self.ask("a", stream=False)
        with patch(_RECORD, side_effect=FAULT):
            self.wire.says(whole(200, b"{}"))
        self.assertEqual(client.down.body, b"{}")
        self.assert_no_record()

    def test_record_of_a_refusal_cannot_be_made(self) -> None:
        """So is that of an exchange that fails before its commit."""
        client = self.ask("a", stream=False)
        with patch(_RECORD, side_effect=FAULT):
            self.wire.closes()
        self.assertEqual(client.down.status, 502)
        self.assert_no_record()

    def test_record_of_a_stream_cannot_be_made(self) -> None:
        """So is that of a stream."""
        client = self.ask("a")
        self.wire.says(head(), chunk(TOKEN))
        with patch(_RECORD, side_effect=FAULT):
            self.wire.says(chunk(STOP + DONE), chunk(b""))
        self.assertEqual(client.down.body, TOKEN + STOP + DONE)
        self.assert_no_record()

    def test_success_that_cannot_be_noted(self) -> None:
        """A table that raises at a stream's end does not keep the slot either."""
        for _ in range(2):
            self.ask("a")
            self.wire.closes()
        client = self.ask("a")
        self.wire.says(head(), chunk(TOKEN))
        with patch.object(CircuitBreaker, "succeeded", side_effect=FAULT):
            self.wire.says(chunk(STOP + DONE), chunk(b""))
        self.assertEqual(client.down.body, TOKEN + STOP + DONE)
        self.assertEqual((self.proxy.active, len(self.records)), (0, 3))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
