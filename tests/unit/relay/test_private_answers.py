"""Answers in private mode are held, guarded, limited and counted as others are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal

from autopilot.attestation.private_instances import Cause
from autopilot.http.headers import Field, Named
from autopilot.observability.records import RequestRecord
from autopilot.relay import private_call, private_path
from autopilot.relay.sse_guard import GuardLevel
from autopilot.relay.trace import Trace
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.commit import Commit
from autopilot.routing.pricing import Prices
from autopilot.routing.snapshot import Snapshot
from autopilot.routing.usage import Usage
from tests.unit.relay.downstreams import INTERRUPTED
from tests.unit.relay.private import CAPACITY, OCTETS, REPLY, PrivateRouterTestCase, instance
from tests.unit.relay.upstreams import DONE, ROLE, STOP, TOKEN, chunk, head, whole

ERROR = b'data: {"error":{"message":"out of memory"}}\n\n'
COMPLETE = (b"X-Autopilot-Commit", b"complete")


class HoldTests(PrivateRouterTestCase):
    """What is held, and for how long."""

    def test_content(self) -> None:
        """Until the first content nothing is committed to, so that a sibling can take over."""
        self.finds(1, 2)
        client = self.ask("a,b")
        init, role, error = self.call.events(ROLE, ERROR)
        self.wire.says(head(), chunk(init), chunk(role))
        self.assertIsNone(client.down.head)
        self.wire.says(chunk(error))
        self.assertEqual(self.instances.asked[-1].avoid, {instance(1)})
        self.call.streams(ROLE, TOKEN, STOP, DONE)
        self.assertEqual(client.down.body, ROLE + TOKEN + STOP + DONE)
        self.assertEqual(self.reasons, ("error_event",))

    def test_complete(self) -> None:
        """Held whole: a cut behind the last token is noticed before anything is sent."""
        self.finds(1, 2)
        client = self.ask("a", COMPLETE)
        init, token, stop = self.call.events(TOKEN, STOP)
        self.wire.says(head(), chunk(init), chunk(token), chunk(stop), chunk(b""))
        self.assertIsNone(client.down.head)
        self.call.streams(TOKEN, STOP, DONE)
        self.assertEqual(client.down.body, TOKEN + STOP + DONE)
        self.assertEqual(self.reasons, ("no_terminator",))

    def test_complete_and_silent(self) -> None:
        """Without the sealed terminator an answer is not whole, however long it is waited for."""
        self.finds(1, 2)
        client = self.ask("a", COMPLETE)
        init, token, stop = self.call.events(TOKEN, STOP)
        self.wire.says(head(), chunk(init), chunk(token), chunk(stop))
        self.clock.advance(120)
        self.assertIsNone(client.down.head)
        self.call.streams(TOKEN, STOP, DONE)
        self.assertEqual(client.down.body, TOKEN + STOP + DONE)
        self.assertEqual(self.reasons, ("stalled",))

    def test_at_once(self) -> None:
        """With the first byte committed to, a cut is an interruption."""
        self.build(commit=Commit.BYTE)
        self.finds(1)
        client = self.ask("a,b")
        init, role = self.call.events(ROLE)
        self.wire.says(head(), chunk(init), chunk(role), chunk(b""))
        self.assertEqual(client.down.body[: len(ROLE)], ROLE)
        self.assertEqual(client.down.ended, "cut")
        self.assertEqual(len(self.instances.asked), 1)

    def test_empty_reply(self) -> None:
        """A plain reply without an answer leads to a sibling as well."""
        self.finds(1, 2)
        client = self.ask("a,b", stream=False)
        self.call.replies(b'{"error":{"message":"out of memory"}}')
        self.call.replies()
        self.assertEqual((client.down.body, self.reasons), (REPLY, ("error_event",)))

    def test_allowance(self) -> None:
        """A slow instance gives way to the next model while there is one, and not to a sibling."""
        self.finds(1, 2)
        self.ask("a,b")
        self.clock.advance(12.5)
        self.assertEqual([each.chute for each in self.instances.asked], ["a", "b"])
        self.clock.advance(40)
        self.assertEqual(len(self.instances.asked), 2)
        self.call.streams(TOKEN, STOP, DONE)
        self.assertEqual(self.reasons, ("header_timeout",))


class GuardTests(PrivateRouterTestCase):
    """Each level of the guard."""

    def test_terminated(self) -> None:
        """The sealed terminator ends the answer, whatever the guard reads."""
        for guard in GuardLevel:
            with self.subTest(guard):
                self.build(guard=guard)
                self.finds(1)
                client = self.ask("a")
                events = self.call.events(ROLE, TOKEN, STOP, DONE)
                self.wire.says(head(), *map(chunk, events))
                self.assertEqual(client.down.body, ROLE + TOKEN + STOP + DONE)
                self.assertEqual(client.down.ended, "finish")
                self.assertEqual(self.record.outcome, "completed")

    def test_cut(self) -> None:
        """Without it the answer does not look whole, even if all of its choices are finished."""
        for guard in GuardLevel:
            with self.subTest(guard):
                self.build(guard=guard)
                self.finds(1)
                client = self.ask("a")
                init, token, stop = self.call.events(TOKEN, STOP)
                self.wire.says(head(), chunk(init), chunk(token), chunk(stop))
                self.wire.says(chunk(b"data: [DONE]\n\n"), chunk(b""))
                interrupted = b"" if guard is GuardLevel.OFF else INTERRUPTED
                self.assertEqual(client.down.body, TOKEN + STOP + interrupted)
                self.assertEqual(client.down.ended, "cut")
                self.assertEqual(self.record.outcome, "upstream_broken")


class LimitTests(PrivateRouterTestCase):
    """Memory, threads and back-pressure."""

    def test_held_bytes(self) -> None:
        """What is kept of a plain reply is charged until the request ends."""
        self.finds(1, 2)
        self.ask("a", stream=False)
        before = self.ledger.held_bytes
        self.wire.says(whole(200, b"x" * 1000, OCTETS)[:-400])
        self.assertEqual(self.ledger.held_bytes, before + 600)
        self.wire.resets()
        self.assertEqual(self.ledger.held_bytes, before)
        self.call.replies()
        self.assert_nothing_held()

    def test_back_pressure(self) -> None:
        """A client that does not read stops the instance's stream."""
        self.finds(1)
        client = self.ask("a")
        init, token, stop, done = self.call.events(TOKEN, STOP, DONE)
        self.wire.says(head(), chunk(init), chunk(token))
        producer = client.down.producer
        assert producer is not None
        producer.pauseProducing()
        self.assertEqual(self.wire.producerState, "paused")
        self.wire.says(chunk(stop), chunk(done))
        self.assertEqual(client.down.body, TOKEN)
        producer.resumeProducing()
        self.clock.advance(0)
        self.assertEqual(client.down.body, TOKEN + STOP + DONE)

    def test_connection_is_kept(self) -> None:
        """Behind the terminator the rest is discarded, and the connection serves again."""
        self.finds(1, 1)
        self.ask("a")
        self.wire.says(head(), *map(chunk, self.call.events(TOKEN, DONE)))
        self.wire.says(chunk(b"data: more\n\n"), chunk(b""))
        self.ask("a", stream=False)
        self.assertEqual(len(self.upstreams.wires), 1)
        self.call.replies()

    def test_threads(self) -> None:
        """Large bodies are sealed and opened in threads, while other requests go on."""
        self.patch(private_path, "LARGE", 1000)
        self.finds(1, 1)
        large = self.ask("a", stream=False, user="x" * 1000)
        self.assertEqual(self.upstreams.wires, [])
        small = self.ask("a", stream=False)
        self.call.replies()
        self.assertEqual(small.down.status, 200)
        self.threads.pop()()
        self.patch(private_call, "LARGE", 10)
        self.call.replies()
        self.assertIsNone(large.down.ended)
        self.threads.pop()()
        self.assertEqual(large.down.status, 200)

    def test_leaves_during_a_thread(self) -> None:
        """A thread's result for a client that has left is dropped; the nonce is not sent."""
        self.patch(private_path, "LARGE", 1)
        self.finds(1)
        client = self.ask("a", stream=False)
        client.leaves()
        self.threads.pop()()
        self.assertEqual(self.upstreams.wires, [])
        self.assertEqual(self.record.outcome, "client_gone")

    def test_leaves_during_opening(self) -> None:
        """So is that of a reply."""
        self.patch(private_call, "LARGE", 1)
        self.finds(1)
        client = self.ask("a", stream=False)
        self.call.replies()
        client.leaves()
        self.threads.pop()()
        self.assertEqual((client.down.ended, self.record.outcome), (None, "client_gone"))

    def test_thread_takes_too_long(self) -> None:
        """The time of an attestation ends the wait for a thread, too."""
        self.patch(private_path, "LARGE", 1)
        self.finds(1, Cause.NO_INSTANCE)
        client = self.ask("a,b", stream=False)
        self.clock.advance(20)
        self.assert_refused(client, 503, "private_unavailable")
        self.threads.pop()()
        self.assertEqual(self.upstreams.wires, [])


class UsageTests(PrivateRouterTestCase):
    """Tokens and cost are those that the instance has sealed."""

    def setUp(self) -> None:
        """Give the models prices."""
        super().setUp()
        prices = Prices(Decimal(1), Decimal(2), None)
        models = [Model(name, name, True, prices=prices) for name in "ab"]
        self.snapshot = Snapshot(Catalog.of(models), self.snapshot.ranking, 990.0, 995.0)

    def test_stream(self) -> None:
        """Of a stream, the last count; the gateway's own is not believed."""
        self.finds(1)
        self.ask("a")
        usage = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4}}\n\n'
        init, *events = self.call.events(TOKEN, STOP, usage, DONE)
        forged = b'data: {"usage":{"prompt_tokens":1,"completion_tokens":999999}}\n\n'
        self.wire.says(head(), chunk(init), *(chunk(forged + each) for each in events))
        self.assertEqual(self.record.usage, Usage(9, None, 4))
        self.assertEqual(self.record.cost_picodollars, 17_000_000)
        self.assertEqual(self.faults, {"outer_usage": 4})

    def test_plain(self) -> None:
        """Of a plain reply, with its cost in the head."""
        self.finds(1)
        client = self.ask("a", stream=False)
        reply = {**json.loads(REPLY), "usage": {"prompt_tokens": 9, "completion_tokens": 4}}
        self.call.replies(json.dumps(reply).encode())
        self.assertEqual(self.record.usage, Usage(9, None, 4))
        self.assertEqual(client.down.field(b"x-chutes-autopilot-cost"), b"0.000017")

    def test_of_a_failure(self) -> None:
        """A failed attempt keeps the usage of what was opened of it."""
        self.finds(1, 2)
        self.ask("a", COMPLETE)
        usage = TOKEN.replace(b'"choices"', b'"usage":{"prompt_tokens":9},"choices"')
        init, said = self.call.events(usage)
        self.wire.says(head(), chunk(init), chunk(said))
        self.wire.resets()
        self.call.streams(TOKEN, STOP, DONE)
        (failover,) = self.record.failovers
        self.assertEqual(failover.usage, Usage(9, None, None))


class Spans:
    """A trace that records its calls."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def attempting(self, model: str) -> None:
        """See `Trace`."""
        self.told.append(("attempting", model))

    def inject(self, fields: Sequence[Field]) -> Sequence[Field]:
        """See `Trace`."""
        self.told.append("inject")
        return [*fields, (b"traceparent", b"00-canary")]

    def hedging(self, model: str) -> None:
        """See `Trace`; no private request is hedged, so nothing is expected of these."""
        raise AssertionError

    def inject_beside(self, fields: Sequence[Field]) -> Sequence[Field]:
        """See `Trace`."""
        raise AssertionError

    def overtaken(self) -> None:
        """See `Trace`."""
        raise AssertionError

    def hedge_lost(self, status: int | None) -> None:
        """See `Trace`."""
        raise AssertionError

    def failed(self, reason: str, status: int | None) -> None:
        """See `Trace`."""
        self.told.append(("failed", reason, status))

    def committed(self, status: int) -> None:
        """See `Trace`."""
        self.told.append(("committed", status))

    def over(self, record: RequestRecord) -> None:
        """See `Trace`."""
        self.told.append("over")


class TraceTests(PrivateRouterTestCase):
    """Traces."""

    def test_spans(self) -> None:
        """Each instance has a span; the trace context is not sent outside the seal."""
        spans, hosts = Spans(), []

        def begin(path: bytes, named: Named, asked: str | None, host: str) -> Trace:
            hosts.append(host)
            return spans

        self.tracer = begin
        self.build()
        self.finds(1, 2)
        self.ask("a", (b"traceparent", b"00-client"))
        self.wire.says(CAPACITY)
        self.call.streams(TOKEN, STOP, DONE)
        self.assertEqual(
            spans.told,
            [
                ("attempting", "a"),
                ("failed", "capacity", 429),
                ("attempting", "a"),
                ("committed", 200),
                "over",
            ],
        )
        self.assertEqual(hosts, ["api.test"])
        for wire in self.upstreams.wires:
            self.assertNotIn(b"traceparent", wire.value().lower())
