"""The way in: what goes up, and what is remembered."""

from __future__ import annotations

import json

from autopilot.http.dialect import COUNT_TOKENS, Dialect
from autopilot.http.headers import Field
from autopilot.observability.records import Failover
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.snapshot import Snapshot
from tests.unit.relay.routers import ALIAS, Client, RouterTestCase
from tests.unit.relay.upstreams import DONE, STOP, TOKEN, chunk, head, whole


class OutgoingTests(RouterTestCase):
    """The request as the upstream gets it."""

    def test_request(self) -> None:
        """Target, host, fields, length and body are right, and only the model is changed."""
        self.ask(ALIAS, (b"Cookie", b"c"), (b"X-Custom", b"1"), seed=1)
        sent = self.wire.value()
        body = json.dumps({"model": "a", "stream": True, "seed": 1}).encode()
        self.assertEqual(
            sent,
            b"POST /base/v1/chat/completions?q=1 HTTP/1.1\r\nHost: llm.test\r\n"
            b"Accept-Encoding: identity\r\nAuthorization: Bearer secret\r\nX-Custom: 1\r\n"
            b"Via: 1.1 chutes-autopilot-test\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body),
        )

    def test_equal(self) -> None:
        """Two equal requests are equal bytes."""
        self.ask("b")
        self.ask("b")
        first, second = self.upstreams.wires
        self.assertEqual(first.value(), second.value())

    def test_origins(self) -> None:
        """Each dialect has its own origin."""
        self.ask("b", dialect=Dialect.MESSAGES)
        self.assertIn(b"Host: claude.test:8080\r\n", self.wire.value())
        self.ask("b", dialect=Dialect.RESPONSES)
        self.assertEqual(self.upstreams.origins[-1].host, "responses.test")


class SignedTests(RouterTestCase):
    """Requests whose signature covers the bytes of their body (contract §2)."""

    signature = (
        (b"X-Chutes-Hotkey", b"5Hot"),
        (b"X-Chutes-Signature", b"ab"),
        (b"X-Chutes-Nonce", b"1"),
    )

    def test_untouched(self) -> None:
        """Under a direct name every byte goes up, whatever else the router would change."""
        for body in (
            b'{"model":"b","stream":true}',
            b' {"stream":null, "stream_options" : null,"model":\t"\\u0062"} ',
            b'{"stream":null,"stream":true,"model":"b","n":1.0,"n":2}',
            b'{"model":"b","x":"\\ud800"}',
            b'{"model":"b:THINKING","x":{"model":"c"}}',
        ):
            self.ask("", *self.signature, body=body)
            sent = self.wire.value()
            self.assertTrue(sent.endswith(b"\r\n\r\n" + body), body)
            self.assertIn(b"Content-Length: %d\r\n" % len(body), sent)
            self.assertIn(b"X-Chutes-Hotkey: 5Hot\r\n", sent)

    def test_refused(self) -> None:
        """A choice of models, or a name that has to change, is an error that says so."""
        for body in (
            b'{"model":"%b"}' % ALIAS.encode(),
            b'{"model":"a,b"}',
            b'{"model":"a,"}',
            b'{"models":["a"]}',
            b'{"model":"a","models":["b"]}',
            b'{"model":"a","models":null}',
            b'{"model":"a","model":"a"}',
            b'{"model":"a","stream":null,"mod\\u0065l":"b"}',
            b'{"model":"A"}',
            b'{"model":" a"}',
            b'{"model":"a\\n"}',
        ):
            self.assert_refused(self.ask("", *self.signature, body=body), 400, "signed_request")
        self.assertEqual(self.upstreams.wires, [])
        self.assert_refused(self.ask("zzz", *self.signature), 400, "unknown_model")

    def test_long_names(self) -> None:
        """A name that is not looked up is sent as it is, whatever its length."""
        self.snapshot = Snapshot()
        self.ask("x" * 1000, *self.signature)
        self.assertEqual(self.wire.models, ["x" * 1000])

    def test_all_three(self) -> None:
        """Without one of the fields, or with a blank one, the request is not signed."""
        for left_out in range(3):
            fields = list(self.signature)
            del fields[left_out]
            self.assertIsNotNone(self.ask(ALIAS, *fields).exchange)
            fields.append((self.signature[left_out][0], b" "))
            self.assertIsNotNone(self.ask(ALIAS, *fields).exchange)

    def test_the_hotkey_is_the_client(self) -> None:
        """Failures count for the hotkey, where there is no other key."""

        def client(*fields: Field) -> bytes:
            before = dict(self.tables.breaker.of_clients)
            self.ask("a", *fields, token=b"")
            self.wire.says(whole(503, b"", b"text/plain", b"Connection: close"))
            self.clock.advance(0)
            (found,) = self.tables.breaker.of_clients.keys() - before.keys()
            return found[0]

        first, address = client(*self.signature), client()
        other = client((self.signature[0][0], b"5Other"), *self.signature[1:])
        unsigned = client((b"x-api-key", b"k"), *self.signature)
        self.assertEqual(len({first, address, other, unsigned}), 4)


class ServingTestCase(RouterTestCase):
    """A router whose requests are answered at once."""

    def serve(self, model: str, *failing: str) -> list[str]:
        """Send one request and have the models in ``failing`` answer 503; the models tried."""
        before = len(self.upstreams.wires)
        self.ask(model)
        while self.wire.models[-1] in failing:
            self.wire.says(whole(503, b"", b"text/plain", b"Connection: close"))
            self.clock.advance(0)
        tried = [model for wire in self.upstreams.wires[before:] for model in wire.models]
        self.wire.says(head(200, b"text/event-stream", b"Connection: close"))
        self.wire.says(chunk(TOKEN), chunk(DONE), chunk(b""))
        self.clock.advance(0)
        return tried


class MemoryTests(ServingTestCase):
    """What one request leaves for the next."""

    def test_alias_sticks(self) -> None:
        """A client of the alias stays with the model that last answered."""
        self.assertEqual(self.serve(ALIAS, "a"), ["a", "b"])
        self.assertEqual(self.serve(ALIAS), ["b"])

    def test_alias_forgets(self) -> None:
        """A model that fails is not remembered."""
        self.serve(ALIAS, "a")
        self.assertEqual(self.serve(ALIAS, "b"), ["b", "a"])
        self.assertEqual(self.serve(ALIAS), ["a"])

    def test_list_order(self) -> None:
        """In a list the remembered model leads only while one before it has failed just now."""
        self.assertEqual(self.serve("c,b,a", "c"), ["c", "b"])
        self.assertEqual(self.serve("c,b,a"), ["b"])
        self.clock.advance(10)
        self.assertEqual(self.serve("c,b,a"), ["c"])
        self.assertEqual(self.serve("c,b,a"), ["c"])

    def test_selectors_apart(self) -> None:
        """What is remembered for one selector does not touch another one."""
        self.serve(ALIAS, "a")
        self.assertEqual(self.serve("a,b"), ["a"])

    def test_padding_changes_nothing(self) -> None:
        """A selector with any number of blanks or empty items is the same, and kept as a digest."""
        self.serve(ALIAS, "a")
        for padded in (ALIAS + " " * 60_000, "\t" * 30_000 + ALIAS, ALIAS.lower() + " \n"):
            self.assertEqual(self.serve(padded), ["b"])
        self.serve("c,b,a", "c")
        for padded in ("c,b,a" + "," * 60_000, "c" + " " * 60_000 + ",b,,a", "c,b,a,c"):
            self.assertEqual(self.serve(padded), ["b"])
        self.assertEqual([len(key[1]) for key in self.tables.affinity._entries], [16, 16])

    def test_names_of_absurd_length(self) -> None:
        """Tables, records and headers keep no more than a short mark of a name; it goes up."""
        self.snapshot = Snapshot()
        first, second = "x" * 30_000, "y" * 30_000
        for _ in range(3):
            self.ask(first)
            self.wire.says(whole(503, b"", b"text/plain", b"Connection: close"))
            self.clock.advance(0)
        self.assertEqual(self.wire.models, [first])
        self.assertEqual(self.serve(f"{first},{second}"), [second])
        self.ask(f"{first},z")
        self.assertEqual(self.wire.models[-1], "z")
        tables = self.tables
        kept = [
            *tables.breaker.breakers,
            *tables.breaker.opened_for[next(iter(tables.breaker.opened_for))],
            *(model for _, model in tables.breaker.of_clients),
            *tables.latency._models,
            *(entry.model or "" for entry in tables.affinity._entries.values()),
            *(model for entry in tables.affinity._entries.values() for model in entry.failed),
            *(record.model or "" for record in self.records),
            *(failed.model for record in self.records for failed in record.failovers),
        ]
        self.assertLess(max(map(len, kept)), 100)
        self.assertIn("x" * 64, "".join(kept))

    def test_direct_remembers_nothing(self) -> None:
        """A direct name leaves nothing to remember."""
        self.serve("a")
        self.assertEqual(len(self.tables.affinity), 0)

    def test_cooling(self) -> None:
        """Three failures in a row put a model behind the others, until it is probed by one."""
        for _ in range(3):
            self.ask("a")
            self.wire.says(whole(503, b"", b"text/plain", b"Connection: close"))
            self.clock.advance(0)
        self.assertEqual(self.serve(ALIAS, "b", "c"), ["b", "c", "a"])
        self.assertEqual(self.tables.breaker.opened_for, {})
        self.assertNotIn("a", self.tables.breaker.breakers)

    def test_probe(self) -> None:
        """A model whose pause is over is probed by one request; the next one passes it by."""
        for _ in range(3):
            self.ask("a")
            self.wire.says(whole(503, b"", b"text/plain", b"Connection: close"))
            self.clock.advance(0)
        self.clock.advance(10)
        self.ask(ALIAS)
        self.ask(ALIAS)
        self.assertEqual(self.models[-2:], ["a", "b"])

    def test_refused_requests_do_not_cool(self) -> None:
        """Errors that are the client's fault say nothing against a model."""
        for _ in range(3):
            self.ask("a")
            self.wire.says(whole(429, b"<html>", b"text/html"))
        self.assertEqual(self.tables.breaker.opened_for, {})
        self.assertEqual(dict(self.tables.breaker.breakers), {})

    def test_throughput_is_measured(self) -> None:
        """A stream of some length and duration leaves a rate and a time to first content."""
        self.ask(ALIAS)
        self.clock.advance(2)
        self.wire.says(head(), chunk(TOKEN))
        self.clock.advance(4)
        self.wire.says(chunk(TOKEN * 6), chunk(DONE))
        self.assertEqual(self.tables.latency.throughput(1006.0), {"a": 2.0})
        self.assertEqual(self.tables.latency.first_content(1006.0), {"a": 2.0})

    def test_tokens_are_counted_by_the_upstream(self) -> None:
        """Where the upstream says how many tokens there were, that counts, not the events."""
        self.ask(ALIAS)
        self.wire.says(head(), chunk(TOKEN))
        self.clock.advance(4)
        usage = b'data: {"choices":[],"usage":{"completion_tokens":80}}\n\n'
        self.wire.says(chunk(TOKEN + usage), chunk(DONE), chunk(b""))
        self.assertEqual(self.tables.latency.throughput(1004.0), {"a": 20.0})


class LifeTests(RouterTestCase):
    """What the proxy knows of the exchanges under way."""

    def test_when_empty(self) -> None:
        """The callback for the last exchange is called once, and at once if there is none."""
        told: list[str] = []
        self.proxy.when_empty(lambda: told.append("now"))
        first, second = self.ask(), self.ask()
        self.proxy.when_empty(lambda: told.append("later"))
        first.leaves()
        self.assertEqual(told, ["now"])
        second.leaves()
        self.ask().leaves()
        self.assertEqual(told, ["now", "later"])

    def test_shut_down(self) -> None:
        """Shutting down ends whatever is under way."""
        waiting, streaming = self.ask(), self.ask()
        self.wire.says(head(), chunk(TOKEN))
        self.proxy.shut_down()
        self.assertEqual(self.proxy.active, 0)
        self.assert_refused(waiting, 503, "draining")
        self.assertEqual(streaming.down.ended, "cut")

    def test_limit(self) -> None:
        """The web layer can ask how large a body may be."""
        self.assertEqual(self.proxy.max_body, 100_000)


class RecordTests(RouterTestCase):
    """The record of a request."""

    def test_success(self) -> None:
        """Every field of a failover that ended well."""
        self.ask(ALIAS)
        self.clock.advance(1)
        self.wire.says(whole(503, b""))
        self.clock.advance(2)
        self.wire.says(head(), chunk(TOKEN))
        self.clock.advance(4)
        self.wire.says(chunk(b"data: [DONE]\n\n"), chunk(b""))
        record = self.record
        self.assertEqual((record.req_id, record.mode, record.candidates), ("req-1", "alias", 3))
        self.assertEqual((record.model, record.attempts), ("b", 2))
        self.assertEqual(
            record.failovers, (Failover("a", FailureReason("status_503"), 503, 1000.0),)
        )
        self.assertEqual(record.status, 200)
        self.assertEqual((record.snapshot_age_ms, record.catalog_age_ms), (5000.0, 10_000.0))
        self.assertEqual((record.ttfb_ms, record.duration_ms), (3000.0, 7000.0))
        self.assertEqual((record.bytes, record.outcome), (len(TOKEN) + 14, "completed"))
        self.assertTrue(record.terminated)

    def test_unterminated(self) -> None:
        """A stream that is whole without its terminator is marked as such."""
        self.ask("a")
        self.wire.says(head(), chunk(TOKEN), chunk(STOP), chunk(b""))
        self.assertEqual((self.record.outcome, self.record.terminated), ("completed", False))
        self.assertEqual(self.record.mode, "direct")


class OrderTests(RouterTestCase):
    """Candidates ordered by this router's own measurements."""

    def test_measured_first(self) -> None:
        """The soonest, or the fastest, model is tried first where the suffix asks for it."""
        experience, now = self.tables.latency, self.clock.seconds()
        for model, seconds, per_second in (("a", 3.0, 90.0), ("b", 1.0, 10.0)):
            experience.started(model, seconds, now)
            experience.record_rate(model, per_second, now)
        for selector, first in (
            ("c,a,b", "c"),
            ("c,a,b:latency", "b"),
            ("c,b,a:throughput", "a"),
            (f"{ALIAS}:LATENCY", "b"),
        ):
            client = self.ask(selector)
            self.assertEqual(self.models[-1], first, selector)
            client.leaves()


class MistakeTests(RouterTestCase):
    """An exception behind the proxy."""

    def test_nothing_is_kept(self) -> None:
        """The client gets a 500, and neither a timer nor a place is kept for the request."""

        def fail(*args: object, **kwargs: object) -> None:
            raise RuntimeError("a bug")

        self.patch(self.pool, "dispatch", fail)
        client = self.ask()
        self.assert_refused(client, 500, "internal_error")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.proxy.active, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.records), 1)


class CountTokensTests(ServingTestCase):
    """A count of tokens is for the model that the conversation's next request would try first."""

    def count(self, model: str, status: int = 200) -> Client:
        """Have the tokens of a request counted; the model tried answers with this status."""
        client = self.ask(model, dialect=Dialect.MESSAGES, stream=False, path=COUNT_TOKENS)
        self.wire.says(whole(status, b'{"input_tokens":7}', b"application/json"))
        return client

    def test_target(self) -> None:
        """It goes to the origin of messages; only the model differs from what the client sent."""
        client = self.count("b")
        sent = self.wire.value()
        self.assertIn(b"POST /v1/messages/count_tokens?q=1 HTTP/1.1\r\n", sent)
        self.assertIn(b"Host: claude.test:8080\r\n", sent)
        self.assertTrue(sent.endswith(b'\r\n\r\n{"model": "b"}'))
        self.assertEqual((client.down.status, client.down.body), (200, b'{"input_tokens":7}'))
        self.assertEqual(self.records[-1].endpoint, "/v1/messages/count_tokens")

    def test_model(self) -> None:
        """It is the remembered model, else the first candidate; a direct name is itself."""
        for selector, failing, expected in (
            (ALIAS, (), "a"),
            ("c,b", (), "c"),
            ("b", (), "b"),
            (ALIAS, ("a",), "b"),
            ("c,b,a", ("c",), "b"),
        ):
            if failing:
                self.serve(selector, *failing)
            self.count(selector)
            self.assertEqual(self.models[-1], expected, selector)

    def test_no_failover(self) -> None:
        """A failure is relayed as it came, though others are left."""
        for status in (503, 500, 429, 404):
            before = len(self.models)
            client = self.count(ALIAS, status)
            self.assertEqual(client.down.status, status)
            self.assertEqual(self.models[before:], ["a"])

    def test_leaves_nothing(self) -> None:
        """Whether it succeeds or fails, nothing is remembered of its client or its model."""
        for status in (200, 503, 503, 503):
            self.count(ALIAS, status)
        self.assertEqual(len(self.tables.affinity), 0)
        self.assertEqual(dict(self.tables.breaker.of_clients), {})
        self.assertIsNone(self.tables.latency.plain_p95("a"))
        self.assertEqual(self.serve(ALIAS, "a"), ["a", "b"])
        self.count(ALIAS)
        self.assertEqual(self.serve(ALIAS), ["b"])
