"""The boundary for faults of the router's own: one exchange pays for one, and honestly.

`tests/properties/test_exchange_faults.py` raises anywhere; here are the places that matter, each
with what the client sees.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import PropertyMock, patch

from autopilot.http.response_parser import ResponseParser
from autopilot.relay.commit import FirstContent
from autopilot.relay.event_guard import EventGuard
from autopilot.relay.exchange import Exchange
from autopilot.relay.exchange_states import State
from tests.unit.relay.routers import Client, RouterTestCase, snapshot
from tests.unit.relay.upstreams import TOKEN, chunk, head, whole

FAULT = ZeroDivisionError("the request's own words")


class BoundaryTests(RouterTestCase):
    """What raises, and what the client, the record and the router make of it."""

    def assert_failed(self, client: Client, count: int = 1) -> None:
        """The client got a 500 that says nothing, and nothing is kept."""
        self.assert_refused(client, 500, "internal_error")
        assert client.down.refusal is not None
        self.assertNotIn("own words", client.down.refusal.message)
        self.assert_released("failed", count)

    def assert_released(self, outcome: str, count: int = 1) -> None:
        """There is one record and one failure in the log, and nothing is kept."""
        self.assertEqual(self.record.outcome, outcome)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), count)
        busy = [each for each in self.pool._open if each._call is not None]
        self.assertEqual((self.proxy.active, busy), (0, []))

    def test_in_the_feeds(self) -> None:
        """A fault while the snapshot is asked for; nothing is kept, and there is a record."""
        with patch.object(type(self), "snapshot", PropertyMock(side_effect=FAULT), create=True):
            client = self.ask()
        self.assert_failed(client)
        self.assertIsNone(self.record.snapshot_age_ms)

    def test_before_the_head(self) -> None:
        """A fault while the request is sent."""
        with patch.object(self.pool, "dispatch", side_effect=FAULT):
            client = self.ask()
        self.assert_failed(client)

    def test_at_the_head(self) -> None:
        """A fault while a head is judged is no failover: the next model would meet it too."""
        client = self.ask()
        with patch("autopilot.relay.exchange_retries.retry_policy.at_head", side_effect=FAULT):
            self.wire.says(whole(503, b""))
        self.assert_failed(client)
        self.assertEqual(self.models, ["a"])

    def test_in_the_commit_policy(self) -> None:
        """A fault while the first bytes of an answer are held."""
        client = self.ask()
        with patch.object(FirstContent, "feed", side_effect=FAULT):
            self.wire.says(head(), chunk(TOKEN))
        self.assert_failed(client)

    def test_in_the_parser(self) -> None:
        """An exception in a parser's callback is not reported as a malformed response."""
        client = self.ask()
        with patch.object(ResponseParser, "_read_head", side_effect=FAULT):
            self.wire.says(head())
        self.assert_refused(client, 500, "internal_error")
        self.assertEqual((self.record.outcome, self.models), ("failed", ["a"]))
        # httptools wraps what a hook raises.
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_at_a_deadline(self) -> None:
        """A fault when the timer fires."""
        client = self.ask("a")
        with patch("autopilot.relay.exchange_ends.given_up", side_effect=FAULT):
            self.clock.advance(60)
        self.assert_failed(client)

    def test_after_commit(self) -> None:
        """A fault in a stream cuts it: the client must not take half an answer for whole."""
        client = self.ask()
        self.wire.says(head(), chunk(TOKEN))
        with patch.object(EventGuard, "feed", side_effect=FAULT):
            self.wire.says(chunk(TOKEN))
        self.assertEqual((client.down.body, client.down.ended), (TOKEN, "abort"))
        self.assert_released("failed")

    def test_at_the_end(self) -> None:
        """A fault at a stream's end cuts it, too."""
        client = self.ask()
        self.wire.says(head(), chunk(TOKEN))
        with patch.object(EventGuard, "end", side_effect=FAULT):
            self.wire.says(chunk(b""))
        self.assertEqual(client.down.ended, "abort")
        self.assert_released("failed")

    def test_in_a_producer(self) -> None:
        """A fault while the client's transport pauses the stream."""
        client = self.ask()
        self.wire.says(head(), chunk(TOKEN))
        producer: Any = client.down.producer
        with patch.object(self.wire, "pauseProducing", side_effect=FAULT):
            producer.pauseProducing()
        self.assertEqual(client.down.ended, "abort")
        self.assert_released("failed")

    def test_record(self) -> None:
        """If a consumer of records raises, slots are released and the router can stop."""
        emptied: list[str] = []
        records = self.records
        for _ in range(3):
            with patch.object(self.proxy, "_shared", _recording(self.proxy, FAULT)):
                client = self.ask(stream=False)
                self.wire.says(whole(200, b"{}"))
            self.assertEqual(client.down.body, b"{}")
        self.proxy.when_empty(lambda: emptied.append("empty"))
        self.assertEqual((self.proxy.active, emptied, records), (0, ["empty"], []))
        # Three of one kind are logged once.
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clients.clear()

    def test_last_place(self) -> None:
        """What waits for the last exchange finds its record, and may raise."""
        client = self.ask(stream=False)
        records: list[int] = []

        def emptied() -> None:
            records.append(len(self.records))
            raise FAULT

        self.proxy.when_empty(emptied)
        self.wire.says(whole(200, b"{}"))
        self.assertEqual((client.down.body, records), (b"{}", [1]))
        self.assert_released("completed")

    def test_trace_cannot_begin(self) -> None:
        """A tracer that raises costs the request a 500, and nothing else."""
        with patch.object(self.proxy, "_tracer", side_effect=FAULT):
            client = self.ask()
        self.assert_failed(client)

    def test_hint_for_retries(self) -> None:
        """A fault while the router looks up when the feeds are fetched next."""
        self.snapshot = snapshot()
        with patch.object(self.proxy._planner, "_refreshed_in", side_effect=FAULT):
            client = self.ask()
        self.assert_failed(client)

    def test_nowhere_to_go(self) -> None:
        """A step that leads where the table does not is a fault, too."""
        with patch.object(Exchange, "_steps", {State.PLANNED: {}}):
            client = self.ask()
        self.assert_refused(client, 500, "internal_error")
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_answer_fails(self) -> None:
        """If even the error cannot be written, everything is released all the same."""
        with (
            patch.object(self.pool, "dispatch", side_effect=FAULT),
            patch("tests.unit.relay.downstreams.RecordingDownstream.refuse", side_effect=FAULT),
        ):
            client = self.ask()
        self.assertIsNone(client.down.ended)
        client.down.lost()
        self.assert_released("failed", 2)


def _recording(proxy: Any, fault: Exception) -> Any:
    """Return the shared objects of exchanges, with a consumer of records that raises."""

    def record(_record: object) -> None:
        raise fault

    return replace(proxy._shared, record=record)
