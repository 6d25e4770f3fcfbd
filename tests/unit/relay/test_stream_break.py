"""What a client sees of a stream that breaks."""

from __future__ import annotations

from autopilot.http.dialect import Dialect
from autopilot.relay.sse_guard import GuardLevel
from tests.unit.relay.downstreams import INTERRUPTED
from tests.unit.relay.streams import BARE, SPEECH, StreamTestCase
from tests.unit.relay.upstreams import DONE, JSON, SSE, STOP, TOKEN, chunk, head, whole


class BreakTests(StreamTestCase):
    """Streams that end badly: the client must be able to tell."""

    def test_between_events(self) -> None:
        """A break at the boundary of events adds an error event, then cuts."""
        for lose in ("resets", "closes"):
            client = self.streaming()
            getattr(self.wire, lose)()
            self.ended(client, "cut", "upstream_broken", TOKEN + INTERRUPTED)

    def test_position(self) -> None:
        """An error event continues the first and the last bytes, of which few are kept."""
        self.build()
        client = self.ask("a", dialect=Dialect.RESPONSES)
        said = SPEECH[Dialect.RESPONSES]
        self.wire.says(head(), chunk(said * 200), *[chunk(said)] * 100)
        self.wire.resets()
        opening, latest = client.down.announced
        self.assertEqual(opening, (said * 200)[:2048])
        self.assertEqual(latest, said * (len(latest) // len(said)))
        self.assertGreaterEqual(len(latest), 2048)
        self.assertLess(len(latest), 2 * (2048 + len(said)))

    def test_inside_an_event(self) -> None:
        """A break inside an event is a cut, and nothing is said in the middle of it."""
        client = self.streaming(GuardLevel.ON, TOKEN[:9])
        self.wire.resets()
        self.ended(client, "cut", "upstream_broken", TOKEN + TOKEN[:9])

    def test_bad_chunk(self) -> None:
        """Broken framing is a break."""
        client = self.streaming()
        self.wire.says(b"zz\r\n")
        self.ended(client, "cut", "upstream_broken", TOKEN + INTERRUPTED)

    def test_guard_off(self) -> None:
        """Without the guard the stream is cut, and nothing is added."""
        client = self.streaming(GuardLevel.OFF)
        assert client.down.head is not None
        self.assertFalse(client.down.head.rechunk)
        self.wire.resets()
        self.ended(client, "cut", "upstream_broken", TOKEN)

    def test_guard_off_passes_everything(self) -> None:
        """Without the guard a bare error passes as it is."""
        client = self.streaming(GuardLevel.OFF, BARE, b"")
        self.ended(client, "finish", "completed", TOKEN + BARE)

    def test_not_sse(self) -> None:
        """Any other response is cut without a word."""
        client = self.ask("a", stream=False)
        self.wire.says(whole(200, b'{"a":1}')[:-2])
        self.wire.resets()
        self.ended(client, "cut", "upstream_broken", b'{"a":')

    def test_json_until_close(self) -> None:
        """JSON framed by its connection's end is cut for the client if it is cut."""
        for body, how in ((b'{"choices":[]}', "finish"), (b'{"choices":[', "cut")):
            for status in (200, 400):
                self.build()
                client = self.ask("a", stream=False)
                self.wire.says(b"HTTP/1.1 %d X\r\nContent-Type: %b\r\n\r\n" % (status, JSON), body)
                self.wire.closes()
                self.assertEqual((client.down.ended, client.down.body), (how, body))

    def test_json_until_close_with_another_model(self) -> None:
        """With a candidate left the next model answers."""
        client = self.ask("a,b", stream=False)
        self.wire.says(b"HTTP/1.1 200 X\r\nContent-Type: %b\r\n\r\n" % JSON, b'{"choices":[')
        self.wire.closes()
        self.assertEqual(self.models, ["a", "b"])
        self.wire.says(whole(200, b"{}"))
        self.assertEqual((client.down.body, self.reasons), (b"{}", ("cut",)))

    def test_bare_tail(self) -> None:
        """A bare JSON error at the end becomes a proper error event."""
        client = self.streaming(GuardLevel.ON, BARE, b"")
        self.ended(client, "cut", "upstream_error", TOKEN + INTERRUPTED)

    def test_bare_line(self) -> None:
        """A bare JSON error line ends the stream though the upstream goes on."""
        client = self.streaming(GuardLevel.ON, BARE + b"\n", TOKEN)
        self.ended(client, "cut", "upstream_error", TOKEN + INTERRUPTED)
        self.assertFalse(self.wire.alive)

    def test_bare_harmless(self) -> None:
        """A bare JSON line that is no error is relayed in the end."""
        client = self.streaming(GuardLevel.ON, STOP, b'{"a":1}', b"")
        self.ended(client, "finish", "completed", TOKEN + STOP + b'{"a":1}')

    def test_splice(self) -> None:
        """Under the strict guard a second generation ends the stream."""
        other = TOKEN.replace(b'"1"', b'"2"')
        client = self.streaming(GuardLevel.STRICT, other)
        self.ended(client, "cut", "upstream_spliced", TOKEN + INTERRUPTED)

    def test_fault_in_held_bytes(self) -> None:
        """A fault already among the held bytes ends the stream once, though its end is known."""
        client = self.ask("a")
        self.wire.says(head() + chunk(TOKEN + BARE + b"\n") + chunk(b""))
        self.ended(client, "cut", "upstream_error", TOKEN + INTERRUPTED)

    def test_until_close(self) -> None:
        """A stream without framing ends well where its answer is whole, badly elsewhere."""
        for says, lose, how in (
            (TOKEN, "closes", "cut"),
            (TOKEN, "resets", "cut"),
            (TOKEN + STOP, "closes", "finish"),
            (TOKEN + STOP, "resets", "finish"),
            (TOKEN + DONE, "closes", "finish"),
        ):
            self.build()
            client = self.ask("a")
            self.wire.says(b"HTTP/1.1 200 OK\r\nContent-Type: " + SSE + b"\r\n\r\n" + says)
            getattr(self.wire, lose)()
            self.assertEqual(client.down.ended, how, (says, lose))
            self.assertFalse(self.wire.alive)
