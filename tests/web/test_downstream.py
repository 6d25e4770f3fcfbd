"""The client's side of an exchange: its header fields, and its harmlessness without a client."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from autopilot.relay.dialect import Dialect
from autopilot.relay.downstream import CommittedHead, Downstream
from autopilot.routing.refusal import Refusal
from autopilot.web.downstream import RequestDownstream, WireHeaders
from autopilot.web.request_id import request_id
from tests.web.responses import responses


class WireHeadersTests(SynchronousTestCase):
    """Fields that keep their order, number and spelling."""

    def test_fields(self) -> None:
        """What goes in comes out; names are looked up whatever their case."""
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
    """A producer nobody asks for anything."""

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""

    def stopProducing(self) -> None:
        """See `IPushProducer`."""


class GoneTests(SynchronousTestCase):
    """What is called once the client has gone does nothing, and raises nothing."""

    def setUp(self) -> None:
        """Begin an exchange over a channel of Twisted's."""
        self.transport = StringTransport()
        channel: Any = HTTPChannel()
        self.channel = channel
        channel.site = Site(Resource())
        self.channel.makeConnection(self.transport)
        self.request: Any = Request(self.channel)
        self.request.gotLength(0)
        self.request.method, self.request.clientproto = b"POST", b"HTTP/1.1"
        self.channel.requests.append(self.request)
        self.downstream = RequestDownstream(self.request, Dialect.COMPLETIONS)
        self.request.notifyFinish().addErrback(self.went)

    def went(self, _failure: Failure) -> None:
        """The client left."""
        self.downstream.gone = True

    def leave(self) -> None:
        """Lose the connection."""
        self.channel.connectionLost(Failure(ConnectionDone()))

    def test_is_a_downstream(self) -> None:
        """It has the shape the data plane asks for."""
        downstream: Downstream = self.downstream
        self.assertTrue(callable(downstream.commit))

    def test_before_commit(self) -> None:
        """Before anything was written."""
        self.leave()
        producer: Any = Producer()
        self.downstream.refuse(Refusal(400, "x", "y"))
        self.downstream.commit(CommittedHead(200, b"OK", []))
        self.downstream.produce(producer)
        self.downstream.write(b"x")
        self.downstream.cut()
        self.downstream.abort()
        self.downstream.finish()
        self.assertEqual(self.transport.value(), b"")

    def test_in_the_answer(self) -> None:
        """In the middle of it; the producer is let go on every way out."""
        producer: Any = Producer()
        for end in ("finish", "cut", "abort"):
            self.setUp()
            self.downstream.commit(CommittedHead(200, b"OK", []))
            self.downstream.produce(producer)
            self.leave()
            self.downstream.write(b"x")
            getattr(self.downstream, end)()
            self.assertNotIn(b"x", self.transport.value().partition(b"\r\n\r\n")[2])

    def test_producer_is_let_go(self) -> None:
        """Every end unregisters the producer."""
        for end in ("finish", "cut", "abort"):
            self.setUp()
            producer: Any = Producer()
            self.downstream.commit(CommittedHead(200, b"", []))
            self.downstream.produce(producer)
            self.assertIs(self.channel._requestProducer, producer)
            getattr(self.downstream, end)()
            self.assertIsNone(self.channel._requestProducer)
            self.assertEqual(self.transport.disconnecting, end != "finish")

    def test_reason(self) -> None:
        """The upstream's reason phrase is kept; without one there is the usual."""
        for reason, line in ((b"Fine", b"HTTP/1.1 200 Fine"), (b"", b"HTTP/1.1 200 OK")):
            self.setUp()
            self.downstream.commit(CommittedHead(200, reason, []))
            self.assertEqual(self.transport.value().split(b"\r\n")[0], line)
            (response,) = responses(self.transport.value())
            self.assertEqual(response.fields, [(b"Transfer-Encoding", b"chunked")])


class RequestIdTests(SynchronousTestCase):
    """Which ids are taken over."""

    def test_ids(self) -> None:
        """Printable ASCII of 1 to 128 characters, nothing else."""
        for kept in ("a", "x" * 128, "a b~!"):
            self.assertEqual(request_id(kept), kept)
        for other in (None, "", "x" * 129, "ä", "a\nb", "\x7f"):
            self.assertNotEqual(request_id(other), other)
            self.assertEqual(len(request_id(other)), 36)
