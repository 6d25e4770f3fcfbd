"""Tests of upstream errors on their way to the client: `ERROR_SHAPE` (contract §6 and §7)."""

from __future__ import annotations

import gzip
import json

from autopilot.http.dialect import Dialect
from autopilot.routing.retry_policy import Policy
from tests.unit.relay.routers import RouterTestCase
from tests.unit.relay.upstreams import JSON, chunk, head, shaped, whole

TOKEN = b'{"detail":"Invalid token."}'
SHAPED = shaped(TOKEN, "authentication_error")
COLD = b'{"detail":"No instances available (yet)"}'
CLOSE = b"Connection: close"
HTML = b"text/html"


class ErrorTests(RouterTestCase):
    """What the client receives, and when."""

    def test_whole(self) -> None:
        """The member is added; status, reason and every other field stay."""
        for stream in (False, True):
            self.build()
            client = self.ask("a", stream=stream)
            self.wire.says(whole(401, TOKEN, JSON + b"; charset=utf-8", b"X-One: 1", b"X-One: 2"))
            down = client.down
            self.assertEqual((down.status, down.body, down.ended), (401, SHAPED, "finish"))
            assert down.head is not None
            self.assertEqual(down.head.reason, b"Some Reason")
            self.assertEqual(
                down.head.fields[:4],
                [
                    (b"Content-Type", b"application/json; charset=utf-8"),
                    (b"Content-Length", b"%d" % len(SHAPED)),
                    (b"X-One", b"1"),
                    (b"X-One", b"2"),
                ],
            )
            self.assertTrue(down.head.framed)
            self.assertEqual((self.record.status, self.record.bytes), (401, len(SHAPED)))
            self.assertEqual((self.record.attempts, self.reasons), (1, ()))

    def test_dialects(self) -> None:
        """On the messages endpoint the type is Anthropic's."""
        for dialect, kind in (
            (Dialect.COMPLETIONS, "server_error"),
            (Dialect.RESPONSES, "server_error"),
            (Dialect.MESSAGES, "overloaded_error"),
        ):
            self.build()
            client = self.ask("a", dialect=dialect)
            self.wire.says(whole(503, COLD))
            self.assertEqual(client.down.body, shaped(COLD, kind))

    def test_without_a_length(self) -> None:
        """A chunked body, and one that ends with its connection, get no length."""
        for framed in (True, False):
            self.build()
            client = self.ask("a")
            if framed:
                self.wire.says(head(401, JSON) + chunk(TOKEN) + chunk(b""))
            else:
                self.wire.says(b"HTTP/1.1 401 No\r\nContent-Type: application/json\r\n\r\n", TOKEN)
                self.assertIsNone(client.down.head)
                self.wire.closes()
            self.assertEqual((client.down.body, client.down.ended), (SHAPED, "finish"))
            self.assertIsNone(client.down.field(b"content-length"))

    def test_in_pieces(self) -> None:
        """A body in pieces is read to its end before anything is written."""
        client = self.ask("a,b")
        self.wire.says(head(401, JSON, b"Content-Length: %d" % len(TOKEN)))
        for place in range(len(TOKEN)):
            self.assertIsNone(client.down.head)
            self.wire.says(TOKEN[place : place + 1])
        self.assertEqual((client.down.body, client.down.ended), (SHAPED, "finish"))
        self.assertEqual(client.down.field(b"content-length"), b"%d" % len(SHAPED))
        self.assertEqual((self.models, self.reasons), (["a"], ()))

    def test_last_candidate(self) -> None:
        """The last candidate's error is read too; what was tried is in its head."""
        client = self.ask("a,b")
        self.wire.says(whole(503, COLD, JSON, CLOSE))
        self.wire.says(head(503, JSON))
        self.assertIsNone(client.down.head)
        self.wire.says(chunk(COLD), chunk(b""))
        self.assertEqual(
            (client.down.status, client.down.body), (503, shaped(COLD, "server_error"))
        )
        tried = client.down.field(b"x-chutes-autopilot-tried")
        self.assertEqual(tried, b"a=status_503,b=status_503")
        self.assertEqual(self.reasons, ("status_503", "status_503"))

    def test_after_the_decision(self) -> None:
        """An error that was read for the decision is not read again."""
        for body, kind in ((b'{"detail":"why"}', "invalid_request_error"), (TOKEN, None)):
            self.build()
            client = self.ask("a")
            self.wire.says(head(400, JSON), chunk(body), chunk(b""))
            expected = shaped(body, kind or "invalid_request_error")
            self.assertEqual((client.down.body, client.down.ended), (expected, "finish"))

    def test_no_next_candidate_waits(self) -> None:
        """An error that leads on is not read for its own sake."""
        self.ask("a,b")
        self.wire.says(head(503, JSON))
        self.assertEqual(self.models, ["a", "b"])


class AsItCameTests(RouterTestCase):
    """What is relayed as it comes."""

    def assert_at_once(self, response: bytes, body: bytes, policy: Policy = Policy.STRICT) -> None:
        """Assert that the client has everything that the upstream has sent."""
        self.build(policy=policy)
        client = self.ask("a,b")
        self.wire.says(response)
        self.assertIsNotNone(client.down.head, response)
        self.assertEqual(client.down.body, body)

    def test_other_bodies(self) -> None:
        """Pages, coded bodies, long ones, and those that begin like no object."""
        self.assert_at_once(head(502, HTML) + chunk(b"<html>"), b"<html>")
        self.assert_at_once(head(401, b"text/plain") + chunk(TOKEN), TOKEN)
        coded = gzip.compress(TOKEN)
        self.assert_at_once(head(401, JSON, b"Content-Encoding: gzip"), b"")
        self.assert_at_once(head(401, JSON) + chunk(coded[:9]), coded[:9])
        self.assert_at_once(head(401, JSON, b"Content-Length: 65537"), b"")
        self.assert_at_once(head(401, JSON) + chunk(b"[" + TOKEN), b"[" + TOKEN)

    def test_whole_bodies(self) -> None:
        """An error of its own, and what says nothing; the length stays."""
        for body in (b'{"error":{"message":"busy"},"detail":"no"}', b"{}", b'{"detail":"no"', b""):
            self.build()
            client = self.ask("a")
            self.wire.says(whole(401, body))
            self.assertEqual((client.down.body, client.down.ended), (body, "finish"))
            self.assertEqual(client.down.field(b"content-length"), b"%d" % len(body))

    def test_setting(self) -> None:
        """With `ERROR_SHAPE=upstream` nothing is added and nothing is waited for."""
        self.build(shape_errors=False)
        client = self.ask("a")
        self.wire.says(head(401, JSON, b"Content-Length: %d" % len(TOKEN)))
        self.assertEqual(client.down.status, 401)
        self.wire.says(TOKEN)
        self.assertEqual((client.down.body, client.down.ended), (TOKEN, "finish"))

    def test_success(self) -> None:
        """An answer is no error, whatever it says."""
        client = self.ask("a", stream=False)
        self.wire.says(whole(200, TOKEN))
        self.assertEqual(client.down.body, TOKEN)

    def test_large(self) -> None:
        """A body of more than 64 KiB is relayed from there on."""
        client = self.ask("a")
        begun = b'{"detail":"' + b"x" * 65525
        self.wire.says(head(401, JSON), chunk(begun))
        self.assertIsNone(client.down.head)
        self.wire.says(chunk(b"x"))
        self.assertEqual(client.down.body, begun + b"x")
        self.wire.says(chunk(b'"}'), chunk(b""))
        self.assertEqual((client.down.body, client.down.ended), (begun + b'x"}', "finish"))

    def test_slow(self) -> None:
        """A body that is not whole after two seconds is relayed as it comes."""
        for begun in (b"", TOKEN[:9]):
            self.build()
            client = self.ask("a")
            self.wire.says(head(401, JSON), *([chunk(begun)] if begun else []))
            self.clock.advance(1.99)
            self.assertIsNone(client.down.head)
            self.clock.advance(0.01)
            self.assertEqual((client.down.status, client.down.body), (401, begun))
            self.wire.says(chunk(TOKEN[len(begun) :]), chunk(b""))
            self.assertEqual((client.down.body, client.down.ended), (TOKEN, "finish"))

    def test_slow_after_the_decision(self) -> None:
        """The time for the decision is not given twice."""
        client = self.ask("a")
        self.wire.says(head(400, JSON), chunk(b'{"detail":'))
        self.clock.advance(2)
        self.assertEqual((client.down.status, client.down.body), (400, b'{"detail":'))

    def test_broken(self) -> None:
        """A body that breaks is cut for the client as well."""
        for begun in (b"", TOKEN[:-1], TOKEN):
            self.build()
            client = self.ask("a,b")
            self.wire.says(head(401, JSON), *([chunk(begun)] if begun else []))
            self.wire.resets()
            self.assertEqual((client.down.status, client.down.body), (401, begun))
            self.assertEqual((client.down.ended, self.models), ("cut", ["a"]))

    def test_total_deadline(self) -> None:
        """An error that is the client's is still that when the time is over."""
        self.build(total=1.0)
        client = self.ask("a")
        self.wire.says(head(401, JSON), chunk(TOKEN[:9]))
        self.clock.advance(1)
        self.assertEqual((client.down.status, client.down.body), (401, TOKEN[:9]))

    def test_leaving(self) -> None:
        """A client that leaves meanwhile ends the request."""
        client = self.ask("a")
        self.wire.says(head(401, JSON), chunk(TOKEN[:9]))
        client.leaves()
        self.assertEqual((self.record.outcome, self.upstreams.alive), ("client_gone", []))

    def test_shutdown(self) -> None:
        """So does the end of a shutdown."""
        client = self.ask("a")
        self.wire.says(head(401, JSON), chunk(TOKEN[:9]))
        assert client.exchange is not None
        client.exchange.shut_down()
        self.assert_refused(client, 503, "draining")

    def test_words(self) -> None:
        """The words are the platform's, whatever they are."""
        words = 'a "quoted"\nword, \u00e9 and \U0001f600'
        client = self.ask("a")
        self.wire.says(whole(401, json.dumps({"detail": words}).encode()))
        self.assertEqual(json.loads(client.down.body)["error"]["message"], words)
