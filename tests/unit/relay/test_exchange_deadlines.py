"""How long each phase of an exchange may take, with a candidate left and without."""

from __future__ import annotations

from autopilot.routing.commit import Commit
from autopilot.routing.retry_policy import Policy
from tests.unit.relay.routers import ALIAS, RouterTestCase
from tests.unit.relay.upstreams import JSON, ROLE, TOKEN, chunk, head, whole

CAPACITY = b'{"detail":"Infrastructure is at maximum capacity, try again later"}'
EXHAUSTED = b'{"detail":"exhausted all available targets to no avail"}'
CONTEXT = b'{"error":{"message":"This model\'s maximum context length is 10 tokens"}}'
NOT_FOUND = b'{"detail":"model not found: a"}'
CLOSE = b"Connection: close"


class DeadlineTests(RouterTestCase):
    """How long each phase may take."""

    def passes(self, seconds: float, attempts: int) -> None:
        """One more attempt begins exactly after ``seconds``."""
        before = len(self.upstreams.wires)
        self.clock.advance(seconds - 0.01)
        self.assertEqual(len(self.upstreams.wires), before)
        self.clock.advance(0.01)
        self.assertEqual(len(self.upstreams.wires), attempts)

    def test_failover_after(self) -> None:
        """A streaming attempt has 12 s plus 1 s per 8 KB while a candidate is left."""
        self.ask(ALIAS, pad="x" * 16_000)
        allowance = 12 + (len(self.wire.value().split(b"\r\n\r\n")[1]) - len(b'"a"')) / 8000
        self.passes(allowance, 2)
        self.assertFalse(self.upstreams.wires[0].alive)
        self.assertEqual(self.models, ["a", "b"])

    def test_failover_after_holds_until_content(self) -> None:
        """Neither a head nor events without content stop that clock."""
        self.ask(ALIAS)
        self.clock.advance(11)
        self.wire.says(head(), chunk(ROLE))
        self.clock.advance(1.1)
        self.assertEqual(self.models, ["a", "b"])
        self.assertEqual(self.clients[0].down.head, None)

    def test_slow_by_nature(self) -> None:
        """A model has three times its own 95th percentile, once 20 are known."""
        for _ in range(20):
            self.tables.latency.started("a", 10.0, 1000.0)
        self.ask(ALIAS)
        self.passes(30, 2)

    def test_header_timeout_last(self) -> None:
        """The last candidate has the full time for its head, then the client gets a 504."""
        client = self.ask("a")
        self.clock.advance(59.99)
        self.assertIsNone(client.down.ended)
        self.clock.advance(0.01)
        self.assert_refused(client, 504, "upstream_header_timeout")
        self.assertEqual(self.reasons, ("header_timeout",))
        self.assertFalse(self.wire.alive)

    def test_header_timeout_with_candidate(self) -> None:
        """The header timeout turns to the next candidate when it is the nearer one."""
        self.build(header=5.0)
        self.ask(ALIAS)
        self.passes(5, 2)

    def test_unary(self) -> None:
        """The last candidate of a plain call has 600 s for its head."""
        self.build(total=2000.0)
        client = self.ask("a,b", stream=False)
        self.passes(180, 2)
        self.clock.advance(599.9)
        self.assertIsNone(client.down.ended)
        self.clock.advance(0.1)
        self.assert_refused(client, 504, "upstream_header_timeout")

    def test_first_body_byte(self) -> None:
        """After its head a response has 60 s for its first byte."""
        client = self.ask("a")
        self.wire.says(head())
        self.clock.advance(60)
        self.assert_refused(client, 504, "upstream_first_body_byte_timeout")

    def test_first_body_byte_with_candidate(self) -> None:
        """That deadline too turns to the next candidate."""
        self.build(first_body_byte=3.0)
        self.ask(ALIAS)
        self.wire.says(head())
        self.passes(3, 2)

    def test_idle_before_commit(self) -> None:
        """A held answer that stalls has the allowance, and the idle time if it is the last."""
        self.build(commit=Commit.COMPLETE)
        client = self.ask("a,b", pad="x" * 8_000)
        allowance = 12 + (len(self.wire.value().split(b"\r\n\r\n")[1]) - len(b'"a"')) / 8000
        self.wire.says(head(), chunk(TOKEN))
        self.clock.advance(11)
        self.wire.says(chunk(TOKEN))
        self.passes(allowance, 2)
        self.wire.says(head(), chunk(TOKEN))
        self.clock.advance(120)
        self.assert_refused(client, 502, "upstream_stream_interrupted")
        self.assertEqual(self.reasons, ("stalled", "stalled"))

    def test_total_deadline(self) -> None:
        """All attempts together have the total time, in every state before commit."""
        for says in ((), (head(),), (head(400, JSON),)):
            self.build(total=20.0, error_body=30.0)
            client = self.ask(ALIAS)
            self.clock.advance(12)
            self.wire.says(*says)
            self.clock.advance(8)
            self.assert_refused(client, 504, "upstream_total_timeout")
            self.assertEqual(self.upstreams.alive, [])

    def test_total_deadline_counts_against_no_model(self) -> None:
        """It says nothing of the model, which may have had little of the time."""
        self.build(threshold=1, total=5.0)
        self.ask(ALIAS)
        self.clock.advance(5)
        self.assertEqual(self.reasons, ("total_deadline",))
        self.assertEqual(dict(self.tables.breaker.of_clients), {})

    def test_error_body_outlives_failover_after(self) -> None:
        """A client's error whose body is slow is never turned into another attempt."""
        client = self.ask(ALIAS)
        self.clock.advance(11.5)
        self.wire.says(head(400, JSON), chunk(b'{"detail":'))
        self.clock.advance(1)
        self.assertEqual(self.models, ["a"])
        self.clock.advance(1)
        self.assertEqual((client.down.status, client.down.body), (400, b'{"detail":'))

    def test_connect_timeout(self) -> None:
        """Connections that are never made use up the candidates."""
        self.upstreams.hanging = True
        client = self.ask(ALIAS)
        self.clock.pump([2, 2, 2])
        self.assert_refused(client, 502, "upstream_connect_error")
        self.assertEqual(self.reasons, ("connect_timeout",) * 3)

    def test_held_up(self) -> None:
        """After a delay of the process, with several deadlines passed, no candidate is tried."""
        self.build(header=5.0, total=20.0)
        client = self.ask(ALIAS)
        self.clock.advance(30)
        self.assert_refused(client, 504, "upstream_total_timeout")
        self.assertEqual((self.models, self.reasons), (["a"], ("header_timeout",)))

    def test_held_up_in_a_pause(self) -> None:
        """Nor does it ask the same model again when the pause ends behind all time."""
        self.build(policy=Policy.OPEN, total=20.0)
        client = self.ask(ALIAS)
        self.wire.says(whole(429, b"", JSON, b"Retry-After: 5"))
        self.clock.advance(30)
        self.assert_refused(client, 504, "upstream_total_timeout")
        self.assertEqual((self.models, self.reasons), (["a"], ("status_429",)))
