"""The size limit of request bodies, near its edge, in every framing and chunking."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.relay.chunks import cut, places
from tests.unit.relay.upstreams import chunk, whole
from tests.unit.web.browsers import CHAT, MAX_BODY, ask, request
from tests.unit.web.rejections import ChannelTestCase

_SIZES = st.one_of(st.integers(MAX_BODY - 2, MAX_BODY + 2), st.integers(100, 2 * MAX_BODY))


def _body(size: int) -> bytes:
    body = ask("a", pad="")
    return body.replace(b'"pad": ""', b'"pad": "' + b"x" * (size - len(body)) + b'"')


class SizeProperties(ChannelTestCase):
    """A body up to the limit is served; a larger one is refused and not kept."""

    def check(self, wire: bytes, size: int, pieces: list[bytes]) -> None:
        """Send a body in these pieces."""
        browser = self.browser()
        for piece in pieces:
            browser.sends(piece)
        if size <= MAX_BODY:
            self.wire.says(whole(200, b"{}"))
            self.assertEqual(browser.response.status, 200)
            self.assertFalse(browser.closed)
        else:
            self.assertEqual(browser.response.status, 413)
            self.assertTrue(browser.closed)

    @settings(max_examples=60)
    @given(_SIZES, places(2 * MAX_BODY))
    def test_declared(self, size: int, where: list[int]) -> None:
        """With a Content-Length."""
        wire = request(body=_body(size))
        self.check(wire, size, cut(wire, where))

    @settings(max_examples=60)
    @given(_SIZES, places(2 * MAX_BODY), places(2 * MAX_BODY))
    def test_chunked(self, size: int, chunks: list[int], where: list[int]) -> None:
        """In chunks of any size."""
        body = b"".join(map(chunk, cut(_body(size), chunks))) + chunk(b"")
        wire = request(CHAT, b"Transfer-Encoding: chunked") + body
        self.check(wire, size, cut(wire, where))
