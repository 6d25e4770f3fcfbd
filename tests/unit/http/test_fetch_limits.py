"""Tests of a fetch's limits: size, time, and cancellation."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import (
    DNSLookupError,
)
from twisted.web.http import Request
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from autopilot.http.fetch import MAX_BYTES, Fetcher
from autopilot.http.fetch_error import TIMEOUT, TOO_LARGE
from tests.unit.http.sites import URL, FetchTestCase


@implementer(IAgent)
class _SilentAgent:
    """An agent that never responds; cancelling it fails as Twisted's does."""

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """See `IAgent.request`."""
        return Deferred(lambda waiting: waiting.errback(DNSLookupError("feeds.test")))


class SizeTests(FetchTestCase):
    """The size limit."""

    def test_default(self) -> None:
        """The limit is 16 MiB unless another is given."""
        self.assertEqual(MAX_BYTES, 16_777_216)

    def test_exactly(self) -> None:
        """A body of exactly the limit is accepted, declared or not."""
        self.assertEqual(len(self.successResultOf(self.fetch(lambda _request: b"x" * 100))), 100)

        def chunked(request: Request) -> int:
            request.write(b"x" * 60)
            request.write(b"x" * 40)
            request.finish()
            return NOT_DONE_YET

        fetched = self.fetch(chunked)
        self.drained()
        self.assertEqual(len(self.successResultOf(fetched)), 100)

    def test_declared(self) -> None:
        """A declared length over the limit aborts the connection before the body."""

        def answer(request: Request) -> int:
            request.setHeader(b"content-length", b"101")
            request.write(b"")
            return NOT_DONE_YET

        fetched = self.fetch(answer)
        self.assertEqual(self.refused(fetched), (TOO_LARGE, "larger than 100 bytes"))
        self.drained()
        self.assertEqual(self.site.gone, 1)

    def test_counted(self) -> None:
        """An endless body is aborted at the first byte over the limit."""
        requests: list[Request] = []

        def answer(request: Request) -> int:
            requests.append(request)
            request.write(b"x" * 100)
            return NOT_DONE_YET

        fetched = self.fetch(answer)
        self.drained()
        self.assertNoResult(fetched)
        requests[0].write(b"xx")
        self.drained()
        self.assertEqual(self.refused(fetched), (TOO_LARGE, "larger than 100 bytes"))
        self.drained()
        self.assertEqual(self.site.gone, 1)


class TimeoutTests(FetchTestCase):
    """The time-out and cancellation."""

    def test_before_headers(self) -> None:
        """A server that never responds is aborted."""
        fetched = self.fetch(lambda _request: NOT_DONE_YET)
        self.clock.advance(9.9)
        self.assertNoResult(fetched)
        self.clock.advance(0.1)
        self.assertEqual(self.refused(fetched), (TIMEOUT, "no complete response within 10 s"))
        self.drained()
        self.assertEqual(self.site.gone, 1)

    def test_in_the_body(self) -> None:
        """The time-out covers the whole body, however steadily it arrives."""
        requests: list[Request] = []

        def answer(request: Request) -> int:
            requests.append(request)
            request.write(b"[")
            return NOT_DONE_YET

        fetched = self.fetch(answer)
        for _ in range(9):
            self.clock.advance(1.0)
            requests[0].write(b" ")
            self.drained()
        self.assertNoResult(fetched)
        self.clock.advance(1.0)
        self.assertEqual(self.refused(fetched)[0], TIMEOUT)
        self.drained()
        self.assertEqual(self.site.gone, 1)

    def test_before_connecting(self) -> None:
        """A time-out during name lookup is reported as such, whatever the lookup's own error."""
        fetched = Fetcher(_SilentAgent(), self.clock, 10.0).get(URL)
        self.clock.advance(10.0)
        self.assertEqual(self.refused(fetched)[0], TIMEOUT)

    def test_cancelled(self) -> None:
        """Cancelling aborts the connection and leaves no timer, before and after the headers."""

        def dripping(request: Request) -> int:
            request.write(b"[")
            return NOT_DONE_YET

        def silent(_request: Request) -> int:
            return NOT_DONE_YET

        for answer in (silent, dripping):
            fetched = self.fetch(answer)
            self.drained()
            fetched.cancel()
            self.failureResultOf(fetched)
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.drained()
            self.assertEqual(self.site.gone, 1)
