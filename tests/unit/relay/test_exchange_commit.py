"""When the client sees the first byte of a 2xx, and under which head."""

from __future__ import annotations

from autopilot.http.dialect import Dialect
from tests.unit.relay.routers import ALIAS, Client, RouterTestCase
from tests.unit.relay.upstreams import DONE, ROLE, SSE, STOP, TOKEN, chunk, head, whole

CAPACITY = b'{"detail":"Infrastructure is at maximum capacity, try again later"}'
EXHAUSTED = b'{"detail":"exhausted all available targets to no avail"}'
CONTEXT = b'{"error":{"message":"This model\'s maximum context length is 10 tokens"}}'
NOT_FOUND = b'{"detail":"model not found: a"}'
CLOSE = b"Connection: close"


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
        self.assertEqual((client.down.status, client.down.ended), (200, "finish"))

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
            ((chunk(ROLE + DONE),), "empty_stream"),
            ((chunk(ROLE), chunk(b"")), "empty_stream"),
            ((chunk(ROLE), b"zz\r\n"), "broken_before_commit"),
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
        """`complete`: nothing before the clean end, then everything."""
        client = self.dialled("complete")
        self.wire.says(head(), chunk(TOKEN), chunk(STOP + DONE))
        self.assertIsNone(client.down.head)
        self.wire.says(chunk(b""))
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
        """A plain answer commits at its first byte, with its declared length."""
        client = self.ask(stream=False)
        self.wire.says(whole(200, b'{"a":1}')[:-3])
        assert client.down.head is not None
        self.assertFalse(client.down.head.rechunk)
        self.assertEqual((client.down.body, client.down.field(b"content-length")), (b'{"a"', b"7"))

    def test_no_content(self) -> None:
        """A 204 is relayed as it is."""
        client = self.ask()
        self.wire.says(b"HTTP/1.1 204 Gone Well\r\nX-A: 1\r\n\r\n")
        self.assertEqual((client.down.status, client.down.ended), (204, "finish"))


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
                (b"x-request-id", b"req-1"),
                (b"x-chutes-autopilot-selected", b"a"),
                (b"x-chutes-autopilot-attempts", b"1"),
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
