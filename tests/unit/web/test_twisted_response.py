"""Tests of the downstream side of an exchange: header fields, and lost clients."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from autopilot.http.dialect import Dialect
from autopilot.http.limits import Limits
from autopilot.http.request_id import request_id
from autopilot.relay.downstream import CommittedHead, Downstream
from autopilot.routing.router_error import RouterError
from autopilot.web.channel_response import ChannelResponse
from autopilot.web.site import AutopilotSite
from autopilot.web.twisted_response import TwistedResponse, WireHeaders
from tests.unit.web.responses import responses


class WireHeadersTests(SynchronousTestCase):
    """Fields that keep order, duplicates and case."""

    def test_fields(self) -> None:
        """Fields are unchanged, and names are looked up in any case."""
        fields = [(b"b", b"1"), (b"A", b"2"), (b"B", b"3")]
        headers = WireHeaders(fields)
        self.assertEqual(list(headers.getAllRawHeaders()), [(n, (v,)) for n, v in fields])
        self.assertEqual(headers.getRawHeaders("b"), [b"1", b"3"])
        self.assertEqual(headers.getRawHeaders(b"C", [b"none"]), [b"none"])
        self.assertTrue(headers.hasHeader(b"a"))
        headers.setRawHeaders("b", [b"4", b"5"])
        headers.addRawHeader("c", b"6")
        headers.removeHeader(b"a")
        self.assertEqual(
            list(headers.getAllRawHeaders()), [(b"b", (b"4",)), (b"b", (b"5",)), (b"c", (b"6",))]
        )
        self.assertFalse(headers.hasHeader("A"))


class Producer:
    """A producer that does nothing."""

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""

    def stopProducing(self) -> None:
        """See `IPushProducer`."""


class DownstreamTestsMixin(SynchronousTestCase):
    """The behaviour on every channel: after a disconnect no method acts or raises."""

    transport: StringTransport
    channel: Any
    downstream: TwistedResponse | ChannelResponse

    def leave(self) -> None:
        """Lose the connection."""
        self.channel.connectionLost(Failure(ConnectionDone()))

    def test_is_a_downstream(self) -> None:
        """The object provides the relay's `Downstream` interface."""
        downstream: Downstream = self.downstream
        self.assertTrue(callable(downstream.commit))

    def test_before_commit(self) -> None:
        """A disconnect before the first byte."""
        self.leave()
        producer: Any = Producer()
        self.downstream.refuse(RouterError(400, "x", "y"))
        self.downstream.commit(CommittedHead(200, b"OK", []), b"")
        self.downstream.produce(producer)
        self.downstream.write(b"x")
        self.downstream.cut()
        self.downstream.abort()
        self.downstream.finish(b"")
        self.assertEqual(self.transport.value(), b"")

    def test_in_the_answer(self) -> None:
        """A disconnect during the response; every method releases the producer."""
        producer: Any = Producer()
        for end in ("finish", "cut", "abort"):
            self.setUp()
            self.downstream.commit(CommittedHead(200, b"OK", []), b"")
            self.downstream.produce(producer)
            self.leave()
            self.downstream.write(b"x")
            getattr(self.downstream, end)(*([b""] if end == "finish" else []))
            self.assertNotIn(b"x", self.transport.value().partition(b"\r\n\r\n")[2])

    def test_producer_is_let_go(self) -> None:
        """Every end unregisters the producer."""
        for end in ("finish", "cut", "abort"):
            self.setUp()
            producer: Any = Producer()
            self.downstream.commit(CommittedHead(200, b"", []), b"")
            self.downstream.produce(producer)
            self.assertIs(self.channel._requestProducer, producer)
            getattr(self.downstream, end)(*([b""] if end == "finish" else []))
            self.assertIsNone(self.channel._requestProducer)
            self.assertEqual(self.transport.disconnecting, end != "finish")

    def test_reason(self) -> None:
        """The upstream's reason phrase is kept; without one the standard one is used."""
        for status, reason, line in (
            (200, b"Fine", b"HTTP/1.1 200 Fine"),
            (200, b"", b"HTTP/1.1 200 OK"),
            (429, b"", b"HTTP/1.1 429 Too Many Requests"),
        ):
            self.setUp()
            self.downstream.commit(CommittedHead(status, reason, []), b"")
            self.assertEqual(self.transport.value().split(b"\r\n")[0], line)
            (response,) = responses(self.transport.value())
            self.assertEqual(response.fields, [(b"Transfer-Encoding", b"chunked")])

    def test_committed(self) -> None:
        """`committed` is true after a head or an error was written."""
        self.assertFalse(self.downstream.committed)
        self.downstream.commit(CommittedHead(200, b"", []), b"")
        self.assertTrue(self.downstream.committed)
        self.setUp()
        self.downstream.refuse(RouterError(400, "x", "y"))
        self.assertTrue(self.downstream.committed)


class RequestDownstreamTests(DownstreamTestsMixin):
    """A request on Twisted's channel."""

    def setUp(self) -> None:
        """Start an exchange."""
        self.transport = StringTransport()
        self.channel = HTTPChannel()
        self.channel.site = Site(Resource())
        self.channel.makeConnection(self.transport)
        request: Any = Request(self.channel)
        request.gotLength(0)
        request.method, request.clientproto = b"POST", b"HTTP/1.1"
        self.channel.requests.append(request)
        self.downstream = TwistedResponse(request, Dialect.COMPLETIONS, Clock())
        request.notifyFinish().addErrback(self.went)

    def went(self, _failure: Failure) -> None:
        """Disconnect the client."""
        self.downstream.gone = True


class AnswerTests(DownstreamTestsMixin):
    """A response on the router's own channel."""

    def setUp(self) -> None:
        """Start an exchange."""
        self.begin()

    def begin(self, *, modern: bool = True, closing: bool = False) -> None:
        """Start an exchange with such a client."""
        self.transport = StringTransport()
        self.channel = AutopilotSite(Resource(), Clock(), Limits()).buildProtocol(None)
        self.channel.makeConnection(self.transport)
        self.channel.persistent = not closing
        self.downstream = ChannelResponse(
            self.channel, Dialect.COMPLETIONS, "r1", modern=modern, closing=closing
        )
        self.channel.requests.append(self.downstream)

    def committed(self, head: CommittedHead, body: bytes = b"") -> tuple[bytes, bytes]:
        """Return the written head and body."""
        self.downstream.commit(head, body)
        first, _, rest = self.transport.value().partition(b"\r\n\r\n")
        return first, rest

    def test_one_write(self) -> None:
        """Head and first bytes are written together, with framing for the client's version."""
        stream = (b"Content-Type", b"text/event-stream")
        length = (b"content-LENGTH", b"2")
        for fields, framed, modern, framing, body in (
            ([length], True, True, b"content-LENGTH: 2", b"hi"),
            ([stream], False, True, b"Transfer-Encoding: chunked", b"2\r\nhi\r\n"),
            ([stream], False, False, b"Content-Type: text/event-stream", b"hi"),
        ):
            self.begin(modern=modern)
            with patch.object(self.transport, "write", wraps=self.transport.write) as write:
                self.downstream._write = write  # type: ignore[union-attr]
                first, rest = self.committed(CommittedHead(200, b"", fields, framed), b"hi")
            self.assertEqual(write.call_count, 1)
            self.assertEqual(first.split(b"\r\n")[-1], framing)
            self.assertEqual(rest, body)

    def test_bodiless(self) -> None:
        """A response without a body has neither length nor coding (RFC 9112 §6.3)."""
        for status in (204, 304):
            self.begin()
            first, rest = self.committed(CommittedHead(status, b"", []))
            self.assertEqual((len(first.split(b"\r\n")), rest), (1, b""))

    def test_odd_status(self) -> None:
        """An unregistered status has a reason phrase, too."""
        first, _ = self.committed(CommittedHead(599, b"", []))
        self.assertTrue(first.startswith(b"HTTP/1.1 599 Unknown\r\n"))

    def test_closing(self) -> None:
        """The last response announces the close, except a stream (contract §7)."""
        for streams, announced in ((False, True), (True, False)):
            self.begin(closing=True)
            first, _ = self.committed(CommittedHead(200, b"", [], streams=streams))
            self.assertEqual(b"\r\nConnection: close" in first, announced)
            self.downstream.finish(b"")
            self.assertTrue(self.transport.disconnecting)

    def test_announced_late(self) -> None:
        """A site that starts to drain announces the close in the next response."""
        answer = self.downstream
        assert isinstance(answer, ChannelResponse)
        answer.announce_close()
        answer.refuse(RouterError(400, "x", "y"))
        self.assertIn(b"\r\nConnection: close\r\n", self.transport.value())


del DownstreamTestsMixin


class RequestIdTests(SynchronousTestCase):
    """The ids accepted from clients."""

    def test_ids(self) -> None:
        """Only printable ASCII of 1 to 128 characters is accepted (contract §7)."""
        for kept in ("a", "x" * 128, "a b~!"):
            self.assertEqual(request_id([b"other", kept.encode()]), kept)
        self.assertEqual(len(request_id(())), 36)
        for other in ("", "x" * 129, "ä", "a\nb", "\x7f"):
            created = request_id([b"other", other.encode("latin-1")])
            self.assertNotIn(created, ("other", other))
            self.assertEqual(len(created), 36)
