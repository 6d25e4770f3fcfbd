"""The base of the tests of requests that the channel rejects."""

from __future__ import annotations

from tests.unit.web.browsers import SiteTestCase
from tests.unit.web.responses import Response

HOST = b"Host: x\r\n"
POST = b"POST /v1/chat/completions HTTP/1.1\r\n"


class ChannelTestCase(SiteTestCase):
    """Uses one connection at a time."""

    def rejected(self, wire: bytes, status: int, code: str) -> Response:
        """Assert that these bytes, however split, get exactly this response and a close."""
        got: Response | None = None
        for piece in (0, 1) if len(wire) < 4096 else (0, 4096):
            browser = self.browser()
            browser.sends(wire + b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", piece)
            got = browser.response
            self.assertEqual(got.error, (status, kind(status), code), wire[:200])
            self.assertEqual(got.value(b"connection"), b"close")
            self.assertIsNotNone(got.value(b"x-request-id"))
            self.assertEqual(got.values(b"server"), [])
            self.assertTrue(got.whole and browser.closed)
            self.assertEqual(self.refused.pop(), status)
        self.assertEqual(self.upstreams.wires, [])
        assert got is not None
        return got


def kind(status: int) -> str:
    """Return the type of an error with this status."""
    return "server_error" if status >= 500 else "invalid_request_error"
