"""When the client sees the first byte of a 2xx, and under which head."""

from __future__ import annotations

from unittest.mock import patch

from autopilot.http.dialect import Dialect
from autopilot.relay import commit, exchange_ends
from autopilot.relay.plain_answer import judge_document
from tests.unit.relay.downstreams import EMPTY
from tests.unit.relay.routers import ALIAS, Client, RouterTestCase
from tests.unit.relay.upstreams import DONE, JSON, ROLE, SSE, STOP, TOKEN, chunk, head, whole

CAPACITY = b'{"detail":"Infrastructure is at maximum capacity, try again later"}'
EXHAUSTED = b'{"detail":"exhausted all available targets to no avail"}'
CONTEXT = b'{"error":{"message":"This model\'s maximum context length is 10 tokens"}}'
NOT_FOUND = b'{"detail":"model not found: a"}'
CLOSE = b"Connection: close"
GAVE_UP = STOP.replace(b'"stop"', b'"abort"')


class CommitTests(RouterTestCase):
    """When the client sees the first byte of a 2xx."""

    def dialled(self, point: str, *, model: str = ALIAS, stream: bool = True) -> Client:
        """A request that asks for this commit point."""
        return self.ask(model, (b"X-Autopilot-Commit", point.encode()), stream=stream)

    def test_byte(self) -> None:
        """`byte`: the first body byte, or a clean end."""
        client = self.dialled("byte")
        self.wire.says(head())
        self.assertIsNone(client.down.head)
        self.wire.says(chunk(b":\n"))
        self.assertEqual(client.down.body, b":\n")
        client = self.dialled("byte")
        self.wire.says(head(), chunk(b""))
        self.assertEqual((client.down.status, client.down.ended), (200, "cut"))
        self.assertEqual(client.down.body, EMPTY)

    def test_byte_waits_not_for_content(self) -> None:
        """With `byte` the first byte stops the failover clock."""
        client = self.dialled("byte")
        self.wire.says(head(), chunk(ROLE))
        self.clock.advance(60)
        self.assertEqual((client.down.body, self.models), (ROLE, ["a"]))

    def test_content(self) -> None:
        """`content`: what announces an answer is held, then relayed verbatim with the content."""
        client = self.ask()
        self.wire.says(head(), chunk(b": hello\n\n"), chunk(ROLE))
        self.assertIsNone(client.down.head)
        self.wire.says(chunk(TOKEN[:20]), chunk(TOKEN[20:]))
        self.assertEqual(client.down.body, b": hello\n\n" + ROLE + TOKEN)
        self.assertEqual(client.down.status, 200)

    def test_content_fails_over(self) -> None:
        """An error event, bare JSON, an early end and a break before content are failures."""
        for says, reason in (
            ((chunk(b'data: {"error":{"message":"x"}}\n\n'),), "error_event"),
            ((chunk(b'{"error":"x"}\n'),), "error_event"),
            ((chunk(ROLE + GAVE_UP),), "gave_up"),
            ((chunk(ROLE + DONE),), "empty"),
            ((chunk(ROLE), chunk(b"")), "no_terminator"),
            ((chunk(ROLE), b"zz\r\n"), "cut"),
        ):
            self.build()
            client = self.ask()
            self.wire.says(head(), *says)
            self.clock.advance(0)
            self.assertEqual(len(self.models), 2, says)
            body = self.streams()
            self.assertEqual((client.down.body, self.reasons), (body, (reason,)))

    def test_content_on_the_last(self) -> None:
        """With no candidate left the first byte commits."""
        client = self.ask("a")
        self.wire.says(head(), chunk(ROLE))
        self.assertEqual(client.down.body, ROLE)

    def test_content_of_messages(self) -> None:
        """The start-up events of the messages endpoint count as empty."""
        client = self.ask(dialect=Dialect.MESSAGES)
        self.wire.says(head(), chunk(b'event: ping\ndata: {"type":"ping"}\n\n'))
        self.assertIsNone(client.down.head)

    def test_complete(self) -> None:
        """`complete`: nothing before the terminator or clean end, then everything."""
        client = self.dialled("complete")
        self.wire.says(head(), chunk(TOKEN), chunk(STOP))
        self.assertIsNone(client.down.head)
        self.wire.says(chunk(DONE), chunk(b""))
        self.assertEqual((client.down.body, client.down.ended), (TOKEN + STOP + DONE, "finish"))
        self.assertTrue(self.record.terminated)

    def test_complete_fails_over(self) -> None:
        """A stream that breaks after its content is still replaced."""
        client = self.dialled("complete")
        self.wire.says(head(), chunk(TOKEN))
        self.wire.resets()
        self.assertEqual(client.down.body, b"")
        body = self.streams()
        self.assertEqual((client.down.body, self.models), (body, ["a", "b"]))

    def test_complete_refuses(self) -> None:
        """So is one that the engine gave up, or of which an event cannot be read."""
        for says, reason in ((GAVE_UP + DONE, "gave_up"), (b"data: {\n\n", "invalid_event")):
            self.build()
            client = self.dialled("complete")
            self.wire.says(head(), chunk(TOKEN), chunk(says))
            self.clock.advance(0)
            body = self.streams()
            self.assertEqual((client.down.body, self.reasons), (body, (reason,)))

    def test_complete_without_terminator(self) -> None:
        """All choices complete are a whole answer, whatever ends the stream behind them."""
        for end in ("closes", "falls silent", "says the last chunk"):
            self.build()
            client = self.dialled("complete", model="a")
            self.wire.says(head(), chunk(TOKEN), chunk(STOP))
            if end == "closes":
                self.wire.closes()
            elif end == "falls silent":
                self.clock.advance(120)
            else:
                self.wire.says(chunk(b""))
            self.assertEqual((client.down.body, client.down.ended), (TOKEN + STOP, "finish"))
            self.assertEqual(self.record.failovers, ())

    def test_complete_with_several_choices(self) -> None:
        """One of two choices is half an answer."""
        client = self.ask("a", (b"X-Autopilot-Commit", b"complete"), n=2)
        self.wire.says(head(), chunk(TOKEN), chunk(STOP), chunk(b""))
        self.assert_refused(client, 502, "upstream_stream_interrupted")

    def test_complete_says_nothing(self) -> None:
        """With nothing left, an answer that says nothing and ended whole is what there is."""
        client = self.dialled("complete", model="a")
        self.wire.says(head(), chunk(ROLE + DONE), chunk(b""))
        self.assertEqual((client.down.body, client.down.ended), (ROLE + DONE, "finish"))
        client = self.dialled("complete", model="a", stream=False)
        self.wire.says(b"HTTP/1.1 204 Gone Well\r\n\r\n")
        self.assertEqual((client.down.status, client.down.ended), (204, "finish"))

    def test_own_error(self) -> None:
        """An error that blames the request is its answer: no other model is asked."""
        refused = b'data: {"error":{"message":"too long","code":400}}\n\n'
        for point in ("content", "complete"):
            client = self.dialled(point)
            self.wire.says(head(), chunk(ROLE + refused), chunk(b""))
            self.assertEqual((client.down.body, client.down.ended), (ROLE + refused, "finish"))
            self.assertEqual(self.records[-1].outcome, "relayed_error")
        self.assertEqual(self.models, ["a"] * 2)

    def test_plain_own_error(self) -> None:
        """The same error in a plain 2xx, with another candidate and without."""
        refused = b'{"error":{"message":"too long","code":400}}'
        for model in (ALIAS, "a"):
            for point in ("byte", "content", "complete"):
                client = self.dialled(point, model=model, stream=False)
                self.wire.says(whole(200, refused))
                self.assertEqual((client.down.body, client.down.ended), (refused, "finish"))
                self.assertEqual(self.records[-1].outcome, "relayed_error")
        self.assertEqual(self.models, ["a"] * 6)

    def test_coded(self) -> None:
        """A coded stream is passed on unread, labelled or not, and `complete` is its length."""
        gzip, zstd = b"\x1f\x8b\x08" + b"x" * 20, b"\x28\xb5\x2f\xfd" + b"x" * 20
        label = b"Content-Encoding: br"
        for body, size, *fields in ((gzip, 1), (zstd, 2), (b"data: x", 1, label)):
            client = self.ask()
            self.wire.says(head(200, SSE, *fields), chunk(body[:size]))
            self.assertEqual(client.down.body, body[:size])
            self.wire.resets()
            self.assertEqual((client.down.body, client.down.ended), (body[:size], "cut"))
            client = self.dialled("complete")
            self.wire.says(head(200, SSE, *fields), chunk(body))
            self.assertIsNone(client.down.head)
            self.wire.says(chunk(b""))
            self.assertEqual((client.down.body, client.down.ended), (body, "finish"))

    def test_complete_with_nothing_left(self) -> None:
        """With nothing left a broken stream becomes an error, as does one without a finish."""
        client = self.dialled("complete", model="a")
        self.wire.says(head(), chunk(TOKEN))
        self.wire.resets()
        self.assert_refused(client, 502, "upstream_stream_interrupted")
        client = self.dialled("complete", model="a")
        self.wire.says(head(), chunk(TOKEN), chunk(b""))
        self.assert_refused(client, 502, "upstream_stream_interrupted")

    def test_complete_too_large(self) -> None:
        """Over its limit `complete` commits to what there is."""
        self.build(commit_max_bytes=500)
        client = self.dialled("complete")
        self.wire.says(head(), chunk(TOKEN * 10))
        self.assertEqual(client.down.body, TOKEN * 10)

    def test_complete_plain(self) -> None:
        """A plain answer under `complete` is held until it is whole."""
        client = self.dialled("complete", stream=False)
        self.wire.says(whole(200, b"{}")[:-1])
        self.assertIsNone(client.down.head)
        self.wire.resets()
        self.wire.says(whole(200, b"{}"))
        self.assertEqual((client.down.body, client.down.ended), (b"{}", "finish"))

    def test_plain(self) -> None:
        """A plain answer of the last model commits at its first byte, with its declared length."""
        client = self.ask("a", stream=False)
        self.wire.says(whole(200, b'{"a":1}')[:-3])
        assert client.down.head is not None
        self.assertFalse(client.down.head.rechunk)
        self.assertEqual((client.down.body, client.down.field(b"content-length")), (b'{"a"', b"7"))

    def test_no_content(self) -> None:
        """A 204 is relayed as it is, with no candidate left."""
        client = self.ask("a")
        self.wire.says(b"HTTP/1.1 204 Gone Well\r\nX-A: 1\r\n\r\n")
        self.assertEqual((client.down.status, client.down.ended), (204, "finish"))

    def test_plain_held(self) -> None:
        """While a candidate is left a plain answer is held until it is whole."""
        client = self.ask(stream=False)
        self.wire.says(head(200, JSON), chunk(b'{"a"'))
        self.assertIsNone(client.down.head)
        self.wire.says(chunk(b":1}"), chunk(b""))
        self.assertEqual((client.down.body, client.down.ended), (b'{"a":1}', "finish"))

    def test_plain_read_once(self) -> None:
        """A plain answer that was held is not read again when it is relayed."""
        for point in ("content", "complete"):
            self.build()
            client = self.dialled(point, stream=False)
            self.wire.says(head(200, JSON), chunk(b'{"a":'))
            with (
                patch.object(commit, "judge_document", wraps=judge_document) as read,
                patch.object(exchange_ends, "judge_document", side_effect=AssertionError),
            ):
                self.wire.says(chunk(b"NaN}"), chunk(b""))
            self.assertEqual(read.call_count, 1)
            self.assertEqual((client.down.body, client.down.ended), (b'{"a":NaN}', "finish"))

    def test_plain_fails_over(self) -> None:
        """A plain answer that is empty, an error, given up or cut is none, streamed or not."""
        gave_up = b'{"choices":[{"finish_reason":"abort"}]}'
        for says, reason in (
            ((b"HTTP/1.1 204 No Content\r\n\r\n",), "empty"),
            ((whole(200, b""),), "empty"),
            ((head(200, b"text/html"), chunk(b"")), "empty"),
            ((whole(200, b'{"error":"no"}'),), "error_event"),
            ((head(200, JSON), chunk(b'{"detail":'), chunk(b'"no"}'), chunk(b"")), "error_event"),
            ((whole(200, gave_up),), "gave_up"),
            ((head(200, JSON), chunk(b'{"a":'), b"zz\r\n"), "cut"),
        ):
            for stream in (True, False):
                for point in ("content", "complete"):
                    self.build()
                    client = self.dialled(point, stream=stream)
                    self.wire.says(*says)
                    self.clock.advance(0)
                    body = self.streams()
                    self.assertEqual((client.down.body, self.reasons), (body, (reason,)), says)

    def test_plain_with_nothing_left(self) -> None:
        """With no candidate left it is relayed as it came."""
        client = self.ask("a", stream=False)
        self.wire.says(whole(200, b'{"error":"no"}'))
        self.assertEqual((client.down.body, client.down.ended), (b'{"error":"no"}', "finish"))


class HeadTests(RouterTestCase):
    """The response head the client gets."""

    def test_fields(self) -> None:
        """Fields pass in order with duplicates, less the connection's own, plus the router's."""
        client = self.ask()
        self.wire.says(
            head(
                200,
                SSE,
                b"X-RateLimit-Limit: 1",
                b"Set-Cookie: a",
                b"Set-Cookie: b",
                b"Connection: keep-alive, x-hop",
                b"X-Hop: 1",
                b"Alt-Svc: h3",
                b"X-Request-ID: theirs",
                b"X-Chutes-Autopilot-Selected: theirs",
            ),
            chunk(TOKEN),
        )
        assert client.down.head is not None
        self.assertEqual(
            list(client.down.head.fields),
            [
                (b"Content-Type", SSE),
                (b"X-RateLimit-Limit", b"1"),
                (b"Set-Cookie", b"a"),
                (b"Set-Cookie", b"b"),
                (b"Date", b"Fri, 15 Jan 2027 08:00:00 GMT"),
                (b"x-request-id", b"req-1"),
                (b"x-chutes-autopilot-selected", b"a"),
                (b"x-chutes-autopilot-attempts", b"1"),
                (b"x-chutes-autopilot-affinity", b"miss"),
                (b"X-Accel-Buffering", b"no"),
            ],
        )
        self.assertTrue(client.down.head.rechunk)
        self.assertEqual(client.down.head.reason, b"Some Reason")

    def test_direct(self) -> None:
        """A direct response names no model and no attempts."""
        client = self.ask("a")
        self.wire.says(whole(200, b"{}"))
        self.assertEqual(client.down.field(b"x-request-id"), b"req-1")
        self.assertIsNone(client.down.field(b"x-chutes-autopilot-selected"))
        self.assertIsNone(client.down.field(b"x-chutes-autopilot-attempts"))

    def test_unprintable(self) -> None:
        """A name that may not stand in a header is left out."""
        self.snapshot = type(self.snapshot)()
        client = self.ask("caf\u00e9,b")
        self.wire.says(whole(200, b"{}"))
        self.assertIsNone(client.down.field(b"x-chutes-autopilot-selected"))
        self.assertEqual(client.down.field(b"x-chutes-autopilot-attempts"), b"1")
