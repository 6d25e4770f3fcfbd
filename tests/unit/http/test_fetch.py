"""Tests of fetching a feed: the request, the response, and each kind of failure.

They run against a real `Agent` and a real `Site`, connected in memory.
"""

from __future__ import annotations

import gzip

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import (
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
    TimeoutError,
)
from twisted.python.failure import Failure
from twisted.web.client import ResponseNeverReceived
from twisted.web.http import Request
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from autopilot.http.fetch import Fetcher
from autopilot.http.fetch_error import NETWORK, SHAPE, STATUS, TIMEOUT
from tests.unit.http.sites import URL, FetchTestCase, raw


@implementer(IAgent)
class _FailingAgent:
    """An agent whose every request fails with one error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """See `IAgent.request`."""
        return fail(self._error)


@implementer(IAgent)
class _RecordingAgent:
    """An agent that records the URIs of requests, and never answers."""

    def __init__(self) -> None:
        self.uris: list[bytes] = []

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """See `IAgent.request`."""
        self.uris.append(uri)
        return Deferred()


class RequestTests(FetchTestCase):
    """The request."""

    def test_body(self) -> None:
        """The body of a 200 is passed on unchanged, and no timer remains."""
        fetched = self.fetch(lambda _request: b'{"data":[]}')
        self.assertEqual(self.successResultOf(fetched), b'{"data":[]}')
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_request(self) -> None:
        """The request is a plain GET for unencoded JSON."""
        self.successResultOf(self.fetch(lambda _request: b"[]"))
        ((method, uri, headers),) = self.site.asked
        self.assertEqual((method, uri), (b"GET", b"/v1/models"))
        self.assertEqual(headers.getRawHeaders(b"accept"), [b"application/json"])
        self.assertEqual(headers.getRawHeaders(b"accept-encoding"), [b"identity"])
        self.assertEqual(
            sorted(name.lower() for name, _ in headers.getAllRawHeaders()),
            [b"accept", b"accept-encoding", b"connection", b"host"],
        )

    def test_urls(self) -> None:
        """A URL is requested as configured, even with an IPv6 address."""
        urls = [
            "http://[::1]:8080/v1/models",
            "https://[2001:db8::1]/v1/models",
            "https://192.0.2.1/v1/models",
            "https://xn--mnchen-3ya.example:8443/a%2Fb/c?nonce=0%2f",
            "http://feeds.test",
        ]
        agent = _RecordingAgent()
        for url in urls:
            fetching = Fetcher(agent, self.clock, 10.0).get(url)
            self.assertNoResult(fetching)
            fetching.addErrback(lambda _failure: None)
            fetching.cancel()
        self.assertEqual([each.decode() for each in agent.uris], urls)

    def test_no_cookies(self) -> None:
        """A cookie set by one response is not sent with the next request."""

        def answer(request: Request) -> bytes:
            request.addCookie(b"session", b"1")
            return b"[]"

        self.successResultOf(self.fetch(answer))
        self.successResultOf(self.fetcher.get(URL))
        self.assertEqual(len(self.site.asked), 2)
        self.assertFalse(self.site.asked[1][2].hasHeader(b"cookie"))

    def test_no_global_reactor(self) -> None:
        """The timer runs on the given clock."""
        self.fetch(lambda _request: NOT_DONE_YET)
        (timer,) = self.clock.getDelayedCalls()
        self.assertEqual(timer.getTime(), 10.0)


class AnswerTests(FetchTestCase):
    """The response."""

    def test_status(self) -> None:
        """A status other than 200 is an error that names it; the body is discarded."""
        for status in (201, 204, 301, 302, 304, 307, 401, 404, 429, 500, 503):

            def answer(request: Request, status: int = status) -> bytes:
                request.setResponseCode(status)
                request.setHeader(b"location", b"http://elsewhere.test/")
                return b"" if status in (204, 304) else b"secret detail"

            fetched = self.fetch(answer)
            self.assertEqual(self.refused(fetched), (STATUS, f"status {status}"))
            self.assertEqual(len(self.site.asked), 1)

    def test_error_body_unread(self) -> None:
        """An error response with an endless body is aborted at its headers."""

        def answer(request: Request) -> int:
            request.setResponseCode(503)
            request.write(b"starting...")
            return NOT_DONE_YET

        self.assertEqual(self.refused(self.fetch(answer)), (STATUS, "status 503"))
        self.drained()
        self.assertEqual(self.site.gone, 1)

    def test_compressed(self) -> None:
        """A compressed response is rejected without inflating it."""

        def answer(request: Request) -> bytes:
            request.setHeader(b"content-encoding", b"gzip")
            return gzip.compress(b"[]")

        self.assertEqual(self.refused(self.fetch(answer)), (SHAPE, "compressed response"))

    def test_identity_named(self) -> None:
        """An explicit identity encoding is accepted."""

        def answer(request: Request) -> bytes:
            request.setHeader(b"content-encoding", b"Identity")
            return b"[]"

        self.assertEqual(self.successResultOf(self.fetch(answer)), b"[]")

    def test_cut_short(self) -> None:
        """A body shorter than its declared length is an error."""

        def answer(request: Request) -> int:
            request.setHeader(b"content-length", b"50")
            request.write(b"[")
            request.loseConnection()
            return NOT_DONE_YET

        fetched = self.fetch(answer)
        self.drained()
        self.assertEqual(self.refused(fetched), (NETWORK, "response truncated"))

    def test_without_length(self) -> None:
        """A body that ends with its connection is accepted; parsing shows if it is truncated."""

        def answer(request: Request) -> int:
            return raw(request, b"HTTP/1.0 200 OK\r\n\r\n[]")

        fetched = self.fetch(answer)
        self.drained()
        self.assertEqual(self.successResultOf(fetched), b"[]")


class NetworkErrorTests(FetchTestCase):
    """Network errors, whose texts never contain an address."""

    def test_table(self) -> None:
        """Each kind of failure has a fixed outcome and text, however deeply it is nested."""
        host = "10.1.2.3"
        for error, outcome, text in (
            (DNSLookupError(host), NETWORK, "name lookup failed"),
            (ConnectionRefusedError(host), NETWORK, "connection refused"),
            (TimeoutError(host), TIMEOUT, "connecting timed out"),
            (NoRouteError(host), NETWORK, "connecting failed"),
            (SSL.Error(host), NETWORK, "TLS failed"),
            (VerificationError([]), NETWORK, "TLS failed"),
            (ConnectionLost(host), NETWORK, "no valid HTTP response"),
            (ValueError(host), NETWORK, "no valid HTTP response"),
        ):
            wrapped = ResponseNeverReceived([Failure(ResponseNeverReceived([Failure(error)]))])
            for shown in (error, wrapped):
                fetched = Fetcher(_FailingAgent(shown), self.clock, 10.0).get(URL)
                self.assertEqual(self.refused(fetched), (outcome, text), shown)

    def test_bad_url(self) -> None:
        """A URL that treq cannot parse is a network error, not an exception."""
        fetcher = Fetcher(_FailingAgent(ValueError()), self.clock, 10.0)
        self.assertEqual(
            self.refused(fetcher.get("http://[::1")), (NETWORK, "no valid HTTP response")
        )

    def test_nonsense(self) -> None:
        """A response that is not HTTP is an error that does not quote it."""

        def answer(request: Request) -> int:
            return raw(request, b"SSH-2.0 secret\r\n\r\n")

        fetched = self.fetch(answer)
        self.drained()
        self.assertEqual(self.refused(fetched), (NETWORK, "no valid HTTP response"))
