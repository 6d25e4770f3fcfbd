"""Tests of bodies that many responses share, written at their clients' pace."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.web.resource import IResource
from twisted.web.server import Site

from autopilot.routing.catalog import Catalog, Model
from autopilot.web.shared_body import PIECE_BYTES, STALL_TIMEOUT, _pieces
from tests.unit.web.browsers import Browser, Peer, SiteTestCase, request

LONG = 40 * PIECE_BYTES
LIMIT = 65_536


class SlowPeer(Peer):
    """A client that reads only when the test says so, behind a buffer like Twisted's."""

    def __init__(self) -> None:
        super().__init__()
        self.held = b""
        self.longest = 0

    def write(self, data: bytes) -> None:
        """See `ITransport`."""
        self.held += data
        self.longest = max(self.longest, len(self.held))
        if len(self.held) > LIMIT and self.producer is not None:
            self.producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """See `ITransport`."""
        self.write(b"".join(data))

    def reads(self) -> None:
        """Read all that is buffered."""
        held, self.held = self.held, b""
        super().write(held)
        if self.producer is not None:
            self.producer.resumeProducing()


class PieceTests(SiteTestCase):
    """The division of bodies."""

    def test_pieces(self) -> None:
        """Long parts are divided and short ones joined; no byte is lost or added."""
        for lengths in (
            (),
            (0,),
            (1, 2, 3),
            (PIECE_BYTES,),
            (PIECE_BYTES - 1, 1, 1),
            (1, 3 * PIECE_BYTES, 5, PIECE_BYTES - 6, 7),
        ):
            parts = [bytes([65 + place]) * length for place, length in enumerate(lengths)]
            pieces = list(_pieces(parts))
            self.assertEqual(b"".join(pieces), b"".join(parts))
            self.assertTrue(all(len(piece) == PIECE_BYTES for piece in pieces[:-1]), lengths)
            self.assertTrue(all(pieces), lengths)


class SharedBodyTestsMixin(SiteTestCase):
    """Long bodies on either channel."""

    def setUp(self) -> None:
        """List one model with a long entry."""
        super().setUp()
        self.entry = b'{"id":"long","x":"%b"}' % (b"x" * LONG)
        self.catalog = Catalog.of([Model("long", raw=self.entry)])

    def slow(self, target: bytes = b"/v1/models", *, times: int = 1) -> tuple[Browser, SlowPeer]:
        """Request a body as a client that does not read it."""
        peer = SlowPeer()
        browser = Browser(self.site, peer)
        self.browsers.append(browser)
        browser.protocol.dataReceived(request(target, method=b"GET") * times)
        return browser, peer

    def test_whole(self) -> None:
        """A client that reads gets the whole body with its length, and may continue."""
        browser = self.browser()
        browser.sends(2 * request(b"/v1/models", method=b"GET"))
        for got in browser.got:
            self.assertEqual(got.json["data"][1]["id"], "long")
            self.assertEqual(got.value(b"content-length"), b"%d" % len(got.body))

    def test_head(self) -> None:
        """HEAD has the length, and no body."""
        got = self.get(b"/v1/models", method=b"HEAD")
        self.assertEqual(got.body, b"")
        length = int(got.value(b"content-length") or 0)
        self.assertEqual(length, len(self.get(b"/v1/models").body))

    def test_slow(self) -> None:
        """What the client has not read stays out of its connection's buffer."""
        browser, peer = self.slow()
        for _ in range(30):
            self.assertLessEqual(len(peer.held), LIMIT + PIECE_BYTES)
            peer.reads()
        self.assertLessEqual(peer.longest, LIMIT + PIECE_BYTES)
        self.assertIn(self.entry, browser.response.body)

    def test_pipelined(self) -> None:
        """250 requests by a client that reads nothing hold one body, and of it a part."""
        browser, peer = self.slow(times=250)
        browser.turn()
        self.assertLessEqual(peer.longest, LIMIT + PIECE_BYTES)
        self.assertEqual(len(browser.wire), 0)

    def test_leaves(self) -> None:
        """A client that leaves in the middle leaves nothing behind."""
        browser, peer = self.slow()
        peer.reads()
        browser.leaves()
        self.assertLess(len(browser.wire), LONG)

    def test_stalled(self) -> None:
        """A client that reads nothing for a minute is cut off, one that reads slowly is not."""
        _, peer = self.slow()
        for _ in range(3):
            peer.reads()
            self.clock.advance(STALL_TIMEOUT)
            self.assertFalse(peer.aborted)
        self.clock.advance(STALL_TIMEOUT)
        self.assertTrue(peer.aborted)


class OwnChannelTests(SharedBodyTestsMixin):
    """On the router's own channel."""


class TwistedChannelTests(SharedBodyTestsMixin):
    """On Twisted's channel, as an embedding application has it."""

    def make_site(self, resource: IResource) -> Site:
        """See `SiteTestCase`."""
        site = Site(resource, reactor=self.clock)
        site.timeOut = None
        return site


del SharedBodyTestsMixin
