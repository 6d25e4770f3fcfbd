"""The size limit of a feed: exactly 16 MiB, whatever the framing."""

from __future__ import annotations

from autopilot.http.fetch import MAX_BYTES
from tests.unit.feeds.records import catalog_body, entry, record, utilization_body
from tests.unit.relay.upstreams import JSON, head
from tests.unit.service.platforms import NAMES, ServiceTestCase, Wire
from tests.unit.web.browsers import request

_PIECE = 1 << 20
FRAMINGS = ("declared", "chunked", "until it closes")


def padded(body: bytes, size: int) -> bytes:
    """Return the JSON padded with blanks."""
    return body + b" " * (size - len(body))


class FeedLimitTests(ServiceTestCase):
    """A router whose platform sends more than it should."""

    def feed(self, wire: Wire, body: bytes, framing: str) -> int:
        """Send a feed until the router closes; return the number of bytes sent."""
        if framing == "declared":
            wire.says(head(200, JSON, b"Content-Length: %d" % len(body)))
        elif framing == "chunked":
            wire.says(head(200, JSON) + b"%x\r\n" % len(body))
        else:
            wire.says(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        sent = 0
        self.reactor.advance(0)
        while sent < len(body) and not wire.lost:
            wire.says(body[sent : sent + _PIECE])
            self.reactor.advance(0)
            sent += _PIECE
        if not wire.lost and framing == "chunked":
            wire.says(b"\r\n0\r\n\r\n")
        elif not wire.lost and framing == "until it closes":
            wire.loseConnection()
        self.reactor.advance(0)
        return sent

    def accepted(self, size: int, framing: str) -> bool:
        """Return whether the router accepts feeds of this size."""
        service = self.service()
        service.startService()
        while self.reactor.tcpClients:
            wire = Wire(self.platform, self.reactor.tcpClients.pop(0)[2])
            self.platform.wires.append(wire)
            is_catalog = wire.value().startswith(b"GET /v1/models ")
            body = (
                catalog_body(*map(entry, NAMES))
                if is_catalog
                else utilization_body(*map(record, NAMES))
            )
            sent = self.feed(wire, padded(body, size), framing)
            if framing == "declared" and size > MAX_BYTES:
                self.assertEqual(sent, 0)  # the head declared it
        browser = self.browser(-1)
        browser.sends(request(b"/readyz", method=b"GET"))
        browser.leaves()
        ready = browser.response.status == 200
        if not ready:
            self.assertIn(f"larger than {MAX_BYTES} bytes".encode(), browser.response.body)
        self.successResultOf(service.stopService())
        self.assert_at_rest()
        return ready

    def test_sizes(self) -> None:
        """One byte less than the limit, exactly the limit, and one byte more."""
        self.assertEqual(MAX_BYTES, 16 * 1024 * 1024)
        for framing in FRAMINGS:
            for size, taken in ((MAX_BYTES - 1, True), (MAX_BYTES, True), (MAX_BYTES + 1, False)):
                self.assertEqual(self.accepted(size, framing), taken, (framing, size))
