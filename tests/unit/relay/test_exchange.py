"""How an exchange ends in each of its states; its rules have modules of their own."""

from __future__ import annotations

from autopilot.http.response_parser import ResponseHead
from autopilot.observability.records import Outcome
from autopilot.relay.exchange_states import Input
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.retry_policy import Policy
from autopilot.upstream.types import UpstreamError
from tests.unit.relay.downstreams import INTERRUPTED
from tests.unit.relay.routers import Client, RouterTestCase
from tests.unit.relay.upstreams import JSON, ROLE, TOKEN, chunk, head, whole

CAPACITY = b'{"detail":"Infrastructure is at maximum capacity, try again later"}'
EXHAUSTED = b'{"detail":"exhausted all available targets to no avail"}'
CONTEXT = b'{"error":{"message":"This model\'s maximum context length is 10 tokens"}}'
NOT_FOUND = b'{"detail":"model not found: a"}'
CLOSE = b"Connection: close"


class EndingTests(RouterTestCase):
    """Clients that leave and routers that stop, in every state."""

    STATES: tuple[tuple[str, tuple[bytes, ...]], ...] = (
        ("attempting", ()),
        ("reading", (head(400, JSON), chunk(b"{"))),
        ("holding", (head(), chunk(ROLE))),
        ("pausing", (whole(500, b"", b"text/plain", b"Retry-After: 3", CLOSE),)),
        ("streaming", (head(), chunk(TOKEN))),
    )

    def reach(self, says: tuple[bytes, ...]) -> Client:
        """An exchange that got this far."""
        self.build(policy=Policy.OPEN)
        client = self.ask()
        self.wire.says(*says)
        return client

    def test_client_gone(self) -> None:
        """The upstream is aborted at once, nothing is retried, and the record says why."""
        for state, says in self.STATES:
            client = self.reach(says)
            client.leaves()
            self.assertEqual(self.upstreams.alive, [], state)
            self.assertEqual((self.record.outcome, self.proxy.active), ("client_gone", 0))
            self.assertIsNone(client.down.ended)
            self.clock.advance(1000)
            self.assertEqual(self.models, ["a"])
            self.assertEqual(self.tables.breaker.opened_for, {})

    def test_client_gone_while_connecting(self) -> None:
        """A connection in the air is given up."""
        self.upstreams.hanging = True
        self.ask().leaves()
        self.assertEqual(self.upstreams.cancelled, 1)

    def test_shut_down(self) -> None:
        """Before commit the client gets a 503, after it an error event and a cut."""
        for state, says in self.STATES:
            client = self.reach(says)
            self.proxy.shut_down()
            self.assertEqual(self.upstreams.alive, [], state)
            if state == "streaming":
                self.assertEqual(client.down.body, TOKEN + INTERRUPTED)
                self.assertEqual((client.down.ended, self.record.outcome), ("cut", "shut_down"))
            else:
                self.assert_refused(client, 503, "draining")

    def test_late_events(self) -> None:
        """When all is over whatever still comes is ignored."""
        client = self.ask()
        exchange = client.exchange
        assert exchange is not None
        attempt = exchange.attempt
        assert attempt is not None
        client.leaves()
        head = ResponseHead(200, b"", (), "", None)
        attempt.whole(head, b"x")
        attempt.head(head, b"")
        attempt.body(b"x")
        attempt.end(b"")
        attempt.broken(UpstreamError(FailureReason.CONNECTION_LOST))
        exchange.expired()
        exchange.client_gone()
        exchange.shut_down()
        exchange.take(Input.STREAM_OVER, None, Outcome.COMPLETED)
        self.assertEqual(len(self.records), 1)
