"""A balancer in front of the router that cuts what is silent, with bridging and without."""

from __future__ import annotations

from autopilot.relay.bridge import COMMENT
from tests.unit.relay.upstreams import DONE, ROLE, STOP, TOKEN, chunk, head, whole
from tests.unit.web.browsers import CHAT, Browser, Peer, SiteTestCase, ask, request
from tests.unit.web.responses import responses

IDLE_CUT = 2.0
STEP = 0.25
EACH = b"X-Autopilot-Keepalive: 1000"


class Balancer(Browser):
    """A client behind a balancer, which closes both sides after 2 s without a byte."""

    silent = 0.0
    _seen = 0

    def passes(self, seconds: float) -> None:
        """Note that time has passed."""
        self.silent = 0.0 if len(self.wire) > self._seen else self.silent + seconds
        self._seen = len(self.wire)
        if self.silent >= IDLE_CUT:
            self.leaves()


class IdleCutTests(SiteTestCase):
    """Slow models behind such a balancer."""

    def behind(self, *fields: bytes, stream: bool = True, version: bytes = b"1.1") -> Balancer:
        """Send one request through the balancer."""
        client = Balancer(self.site, Peer())
        self.browsers.append(client)
        body = ask("a,b", stream=stream)
        client.sends(request(CHAT, *fields, version=version, body=body))
        return client

    def wait(self, client: Balancer, seconds: float) -> None:
        """Let the time pass that a model takes."""
        for _ in range(round(seconds / STEP)):
            self.clock.advance(STEP)
            client.passes(STEP)

    def streams(self) -> bytes:
        """Answer with a whole stream; return what the client must get."""
        self.wire.says(head(), chunk(ROLE), chunk(TOKEN), chunk(STOP + DONE), chunk(b""))
        return ROLE + TOKEN + STOP + DONE

    def test_without(self) -> None:
        """Without bridging each stream of a model that takes three seconds is cut."""
        for _ in range(5):
            client = self.behind()
            self.wait(client, 3)
            self.assertTrue(client.lost)
            self.assertEqual(client.wire, b"")
        self.assertEqual({each.outcome for each in self.records}, {"client_gone"})

    def test_with(self) -> None:
        """With bridging all pass, however slow the model, on connections that can be kept."""
        client = self.behind(EACH)
        for number, seconds in enumerate((3, 8, 1.5, 11, 0.5)):
            if number:
                client.sends(request(CHAT, EACH, body=ask("a,b")))
            self.wait(client, seconds)
            answer = self.streams()
            self.assertFalse(client.lost)
            got = responses(client.wire)[-1]
            self.assertEqual((got.status, got.body.replace(COMMENT, b"")), (200, answer))
            self.assertEqual(got.body.count(COMMENT), int(seconds))
            self.assertIsNone(got.value(b"connection"))
        self.assertEqual({each.outcome for each in self.records}, {"completed"})

    def test_failover(self) -> None:
        """Neither does one that fails over late, nor one that fails in the end."""
        client = self.behind(EACH)
        self.wait(client, 5)
        self.wire.says(whole(503, b""))
        self.wait(client, 5)
        answer = self.streams()
        self.assertTrue(client.response.body.endswith(COMMENT + answer))
        client = self.behind(EACH)
        for _ in range(2):
            self.wait(client, 5)
            self.wire.says(whole(503, b'{"detail":"cold"}'))
        self.assertFalse(client.lost)
        self.assertTrue(client.closed, "the end must not look clean")
        self.assertIn(b'"message":"cold"', client.wire)
        self.assertIn(b'"status":503}}', client.wire)
        self.assertFalse(client.wire.endswith(b"0\r\n\r\n"))

    def test_never(self) -> None:
        """Plain answers are not bridged, nor clients of HTTP/1.0."""
        for client in (self.behind(EACH, stream=False), self.behind(EACH, version=b"1.0")):
            self.wait(client, 3)
            self.assertEqual((client.lost, client.wire), (True, b""))
