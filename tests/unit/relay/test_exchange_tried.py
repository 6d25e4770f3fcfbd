"""What a client learns when every candidate has failed (contract §6)."""

from __future__ import annotations

from tests.unit.relay.routers import ALIAS, Client, RouterTestCase
from tests.unit.relay.upstreams import JSON, whole

TRIED = b"x-chutes-autopilot-tried"
RETRY = b"x-should-retry"
UNAVAILABLE = whole(503, b"", JSON, b"Connection: close", b"x-should-retry: true")
BAD_REQUEST = whole(400, b"", JSON, b"Connection: close")


class TriedTests(RouterTestCase):
    """The last response, or the router's own error."""

    def told(self, client: Client) -> tuple[bytes | None, bytes | None]:
        """Return what a relayed response says of a retry, and of what was tried."""
        return client.down.field(RETRY), client.down.field(TRIED)

    def test_relayed(self) -> None:
        """The last response says what was tried and why, in order."""
        for selector in (ALIAS, "a,b,c"):
            self.build()
            client = self.ask(selector)
            self.wire.resets()
            self.wire.says(UNAVAILABLE)
            self.wire.says(UNAVAILABLE)
            tried = b"a=connection_lost,b=status_503,c=status_503"
            self.assertEqual(self.told(client), (b"false", tried))

    def test_own_error(self) -> None:
        """So does an error of the router's own."""
        client = self.ask("a,b")
        self.wire.says(UNAVAILABLE)
        self.clock.advance(self.config.timeouts.header)
        self.assert_refused(client, 504, "upstream_header_timeout")
        assert client.down.refusal is not None
        self.assertEqual(client.down.refusal.tried, b"a=status_503,b=header_timeout")

    def test_attempts_used_up(self) -> None:
        """Nothing is left either when the attempts are used up."""
        self.build(max_attempts=1)
        client = self.ask("a,b")
        self.wire.says(UNAVAILABLE)
        self.assertEqual(self.told(client), (b"false", b"a=status_503"))

    def test_direct(self) -> None:
        """Under a direct name neither field is added, and the upstream's own one passes."""
        client = self.ask("a")
        self.wire.says(UNAVAILABLE)
        self.assertEqual(self.told(client), (b"true", None))
        self.build()
        client = self.ask("a")
        self.wire.resets()
        assert client.down.refusal is not None
        self.assertIsNone(client.down.refusal.tried)

    def test_answers(self) -> None:
        """A response that is the client's answer has neither, whatever was tried before it."""
        for answer in (BAD_REQUEST, whole(200, b"{}", JSON)):
            self.build()
            client = self.ask("a,b")
            self.wire.says(UNAVAILABLE)
            self.wire.says(answer)
            self.assertEqual(self.told(client), (None, None))

    def test_total_deadline(self) -> None:
        """When the time is used up, no candidate is left either, and the last attempt is named."""
        self.build(total=20.0)
        client = self.ask("a,b")
        self.clock.pump([13, 7])
        assert client.down.refusal is not None
        tried = b"a=header_timeout,b=total_deadline"
        self.assertEqual((client.down.status, client.down.refusal.tried), (504, tried))
