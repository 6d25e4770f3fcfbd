"""Tests of the memory that a request takes while it arrives and while its answer streams."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet.testing import StringTransport
from twisted.web.server import Site

from autopilot.http.limits import Limits
from autopilot.http.request_parser import RequestParser
from autopilot.request.parse import ParseConfig
from tests.unit.relay.upstreams import JSON, SSE, TOKEN, chunk, head
from tests.unit.web.browsers import CHAT, SiteTestCase, ask, request

_KIB = 1024
_OVERHEAD = 64 * _KIB


def _peak(run: Callable[[], object]) -> int:
    """Return the largest number of bytes that ``run`` has allocated at a time."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class ArrivalTests(SiteTestCase):
    """Bodies in very small pieces."""

    def test_small_pieces(self) -> None:
        """A body takes a fifth more than its bytes at most, however small its pieces are."""
        size = 256 * _KIB
        chunks = chunk(b"xx") * 4096
        for framing, pieces in (
            (b"Transfer-Encoding: chunked", [*[chunks] * (size // 8192), chunk(b"")]),
            (b"Content-Length: %d" % size, [b"xx"] * (size // 2)),
        ):
            parser = RequestParser(Limits())

            def feed(head: bytes = request(CHAT, framing), pieces: Any = pieces) -> None:
                parser.feed(head)  # noqa: B023  called at once
                for piece in pieces:
                    parser.feed(piece)  # noqa: B023

            self.assertLess(_peak(feed), 1.2 * size + _OVERHEAD, framing)
            self.assertEqual(parser.arrived.popleft().body, b"x" * size)

    def test_order(self) -> None:
        """Pieces of any number and size are joined in their order."""
        for pieces in ((), (b"a",), (b"a", b"bc"), (b"ab", b"c", b"defg", b"h")):
            parser = RequestParser(Limits())
            parser.feed(request(CHAT, b"Transfer-Encoding: chunked"))
            parser.feed(b"".join(map(chunk, pieces)) + chunk(b""))
            self.assertEqual(parser.arrived.popleft().body, b"".join(pieces))

    def test_framing(self) -> None:
        """Extensions of chunks and trailers are not kept."""
        extended = b"1;" + b"e" * 8000 + b"\r\nx\r\n"
        trailers = b"0\r\n" + b"A: b\r\n" * 8000 + b"\r\n"
        for framing in (extended * 500, trailers):
            parser = RequestParser(Limits())
            parser.feed(request(CHAT, b"Transfer-Encoding: chunked"))
            pieces = [framing[at : at + 8192] for at in range(0, len(framing), 8192)]

            def feed(parser: RequestParser = parser, pieces: list[bytes] = pieces) -> None:
                for piece in pieces:
                    parser.feed(piece)

            self.assertLess(_peak(feed), _OVERHEAD)
            self.assertIsNone(parser.error)

    def test_pipelined_bytes(self) -> None:
        """Pipelined bytes, which wait for an earlier response, are joined as well."""
        browser = self.post(ask("a"))
        channel: Any = browser.protocol
        for _ in range(6000):
            channel.dataReceived(b"\r\n")
        self.assertLess(len(channel._dataBuffer), 100)
        self.assertEqual(b"".join(channel._dataBuffer), b"\r\n" * 6000)


class CommitTests(SiteTestCase):
    """A large body after commit."""

    limits = Limits(body_bytes=16 * _KIB * _KIB)

    def test_streams(self) -> None:
        """A stream holds less than 256 KiB after commit, whatever its request was (contract §7)."""
        self.assert_released()

    def test_streams_by_twisted(self) -> None:
        """So does one on Twisted's own channel."""
        self.site = Site(self.tree(), reactor=self.clock)
        self.assert_released()

    def test_held_answer(self) -> None:
        """What was held of the answer is not kept after commit either."""
        self.configure()
        comment = chunk(b":" + b"x" * 60 * _KIB + b"\n")
        for kind in (SSE, JSON):
            browser = self.post(ask("a"), b"X-Autopilot-Commit: complete")
            self.wire.says(head(200, kind))
            before = _now()
            self.wire.says(*[comment] * 20)
            self.assertGreater(_now() - before, _KIB * _KIB)
            self.assertEqual(browser.wire, b"")
            self.wire.says(*[comment] * 20)  # with which there are more than COMMIT_MAX_BYTES
            self.assertGreater(len(browser.wire), 2 * _KIB * _KIB)
            browser.peer.clear()
            self.assertLess(_now() - before, 256 * _KIB, kind)

    def configure(self) -> None:
        """Allow large bodies, and start to count memory."""
        parsing = ParseConfig.of(self.config.parsing.rules, self.config.parsing.commit, 1 << 24)
        config = replace(self.config, parsing=parsing, commit_max_bytes=1 << 21)
        self.proxy.configure(config)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)

    def assert_released(self) -> None:
        """Count the memory of requests of 8 MiB, before and after commit."""
        self.configure()
        for text, members in (
            ("x" * (8 << 20), {}),  # in place of which only the model changes
            ("\u00e9" * (1 << 20), {"stream_options": None}),  # without a member
            ("y" * (8 << 20), {"models": ["b"]}),
        ):
            before = _now()
            browser = self.post(ask("a", messages=text, **members))
            wire: StringTransport = self.wire
            wire.clear()  # the test's copy of what was sent up
            self.assertGreater(_now() - before, 5 << 20)
            self.wire.says(head(), chunk(TOKEN))
            self.assertEqual(browser.got[0].body, TOKEN)
            self.assertLess(_now() - before, 256 * _KIB)


def _now() -> int:
    """Return the number of bytes that are allocated."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
