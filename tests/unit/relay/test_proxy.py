"""The way in: what goes up, which exchanges are under way, and what their records hold."""

from __future__ import annotations

import json

from autopilot.http.dialect import Dialect
from autopilot.http.headers import Field
from autopilot.observability.records import Failover
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.snapshot import Snapshot
from tests.unit.relay.routers import ALIAS, RouterTestCase
from tests.unit.relay.upstreams import STOP, TOKEN, chunk, head, whole


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
