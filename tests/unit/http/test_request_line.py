"""Tests of the checks of a request line that llhttp does not make."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.request_line import is_http, last_method, method_fault
from autopilot.routing.router_error import RouterError

INVALID = RouterError(400, "bad_request", "The request is not valid.")
FIRST = b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"


class ProtocolTests(SynchronousTestCase):
    """The protocol of a request line."""

    def test_first(self) -> None:
        """The first line alone counts, with any number of blanks, behind empty lines."""
        quoted = b"X: POST /a HTTP/1.1\r\nY: POST /a RTSP/1.0\r\n\r\n"
        for blank in (b" ", b"   "):
            line = blank.join((b"POST", b"/a", b"%b/1.1\r\n"))
            for before in (b"", b"\r\n\r\n"):
                self.assertTrue(
                    is_http(before + line % b"HTTP" + quoted, b"POST", b"/a", first=True)
                )
                for other in (b"RTSP", b"ICE"):
                    read = before + line % other + quoted
                    self.assertFalse(is_http(read, b"POST", b"/a", first=True))

    def test_pipelined(self) -> None:
        """Behind another request, nothing may look like a line of another protocol."""
        self.assertTrue(is_http(FIRST + b"GET /b HTTP/1.1\r\n\r\n", b"GET", b"/b", first=False))
        for line in (b"GET /b RTSP/1.1", b"GET  /b  ICE/1.0", b"GET /b HTTP/1.1\r\nX: /b RTSP/1"):
            read = FIRST + line + b"\r\n\r\n"
            self.assertFalse(is_http(read, b"GET", b"/b", first=False), line)
        other = FIRST + b"GET /b HTTP/1.1\r\nX: /c RTSP/1.1\r\n\r\n"
        self.assertTrue(is_http(other, b"GET", b"/b", first=False))


class MethodTests(SynchronousTestCase):
    """A method that llhttp does not know."""

    def test_methods(self) -> None:
        """A token is an unknown method, a registered one is not supported, the rest is garbage."""
        for method, status in (
            *((b"FOO", 501), (b"get", 501), (b"X" * 80, 501), (b"GET", 405), (b"UPDATE", 405)),
            *((b"G@T", 400), (b"\x16\x03", 400), (b"FOO\t", 400), (b"FOO\r", 400), (b"(", 400)),
        ):
            error = method_fault(b"\r\n" + method + b" / HTTP/1.1\r\n", INVALID)
            self.assertEqual(error.status if error else None, status, method)

    def test_incomplete(self) -> None:
        """What is cut off within its method is not judged yet, unless it is longer than any."""
        for read in (b"", b"\r\n", b"FOO", b"\r\nX", b"X" * 64):
            self.assertIsNone(method_fault(read, INVALID), read)
        self.assertIsNotNone(method_fault(b"X" * 65, INVALID))

    def test_place(self) -> None:
        """The method at which llhttp stops is found behind any requests."""
        for found in (b"FOO / HTTP/1.1\r\n\r\nPOST /", b"POSTX /", b"\x16\x03", b'"}x'):
            for before in (b"GET / HTTP/1.1\r\n\r\n", FIRST[:-3] + b'"a"', FIRST[:-3] + b"a\r\n"):
                self.assertEqual(last_method(before * 3 + found), found)
        chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        self.assertEqual(last_method(chunked + b"FOO / HTTP/1.1\r\n"), b"FOO / HTTP/1.1\r\n")
