"""One upstream connection: what the holder of a call can do, and what a loss means."""

from __future__ import annotations

import socket
from unittest.mock import Mock, patch

from twisted.internet.tcp import Connection as SocketTransport
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.response_parser import ResponseHead
from autopilot.routing.failure_reason import FailureReason
from autopilot.upstream.connection import READ_BYTES, Connection
from autopilot.upstream.types import UpstreamError
from tests.unit.relay.upstreams import chunk, head, whole
from tests.unit.upstream.lines import LOST, Line, Listener


class HandleTests(SynchronousTestCase):
    """What the holder of a call can do, and when."""

    def setUp(self) -> None:
        """Send a request."""
        self.line = Line()

    def test_abort_at_head(self) -> None:
        """A call dropped at its head hears no more, not even that the response is malformed."""
        for data in ((head(), chunk(b"abc")), (head() + b"\x00",)):
            self.setUp()
            self.line.listener.at_head = self.line.call.abort
            self.line.wire.says(*data)
            self.assertEqual(self.line.listener.heard, [("head", 200)])
            self.assertIsNone(self.line.call.transport)
            self.assertEqual(self.line.wire.alive, self.line.kept)

    def test_abort_at_body(self) -> None:
        """A call dropped at its body hears no end."""
        for data in (head() + chunk(b"abc"), head() + chunk(b"a") + b"\x00"):
            self.setUp()
            self.line.listener.at_body = self.line.call.abort
            self.line.wire.says(data)
            self.assertEqual([kind for kind, _ in self.line.listener.heard], ["head", "body"])

    def test_abort(self) -> None:
        """Aborting closes the connection at once, and the call's handler hears nothing of it."""
        self.line.call.abort()
        self.line.call.abort()
        self.line.call.pause()
        self.line.call.resume()
        self.assertTrue(self.line.wire.aborted)
        self.line.clock.advance(0)
        self.assertEqual((self.line.listener.heard, self.line.notes[-1]), ([], "lost"))

    def test_whole(self) -> None:
        """A response that comes in one read is handed over in one call, the connection free."""
        calls: list[tuple[int, bytes, bool]] = []

        def taken(head: ResponseHead, body: bytes) -> None:
            calls.append((head.status, body, self.line.kept and self.line.call.transport is None))

        self.line.listener.whole = taken  # type: ignore[method-assign]
        self.line.wire.says(whole(200, b"abc"))
        self.assertEqual(calls, [(200, b"abc", True)])

    def test_other_handler(self) -> None:
        """A handler put in during the head gets the rest."""
        other = Listener()
        self.line.listener.at_head = lambda: setattr(self.line.call, "handler", other)
        self.line.wire.says(head(), chunk(b"abc"), chunk(b""))
        self.assertEqual(self.line.listener.heard, [("head", 200)])
        self.assertEqual(other.heard, [("body", b"abc"), ("end", None)])

    def test_next_call_at_head(self) -> None:
        """The connection of a complete response carries the next call before this one's end."""
        second = Listener()
        self.line.listener.at_head = lambda: setattr(self, "next", self.line.carry(second))
        self.line.wire.says(whole(500, b"abc"))
        self.assertEqual(len(self.line.listener.heard), 3)
        self.line.wire.says(whole(200, b"x"))
        self.assertEqual(second.heard, [("head", 200), ("body", b"x"), ("end", None)])

    def test_pause(self) -> None:
        """A paused call leaves the response in the socket."""
        self.line.call.pause()
        self.line.wire.says(whole(200, b"abc"))
        self.assertEqual(self.line.listener.heard, [])
        self.line.call.resume()
        self.line.clock.advance(0)
        self.assertEqual(len(self.line.listener.heard), 3)

    def test_pause_when_over(self) -> None:
        """Pausing in the last moment does not pause the connection for the next call."""
        self.line.listener.at_body = self.line.call.pause
        self.line.wire.says(whole(200, b"abc"))
        self.assertEqual(self.line.wire.producerState, "producing")

    def test_end_while_paused(self) -> None:
        """A response that ends in a read already decrypted leaves no paused connection behind."""
        self.line.wire.says(head())
        self.line.call.pause()
        self.line.connection.dataReceived(chunk(b""))
        self.assertTrue(self.line.kept)
        self.assertEqual(self.line.wire.producerState, "producing")

    def test_stale(self) -> None:
        """Only a reused connection lost before any byte of the response is called stale."""
        for reused, data, stale in (
            (True, b"", True),
            (True, b"H", False),
            (True, b"HTTP/1.1 100 C\r\n\r\n", False),
            (False, b"", False),
        ):
            line = Line()
            line.wire.says(whole(200, b""))
            later = Listener()
            call = line.carry(later, reused=reused)
            line.wire.says(*([data] if data else []))
            line.wire.closes()
            self.assertEqual(
                later.heard, [("broken", UpstreamError(FailureReason.CONNECTION_LOST, stale=stale))]
            )
            self.assertIsNone(call.transport)
            self.assertEqual(call.reused, reused)

    def test_idle_data(self) -> None:
        """Bytes on an idle connection end it; so does the server."""
        self.line.wire.says(whole(200, b""), b"HTTP/1.1 408 X\r\n\r\n")
        self.assertTrue(self.line.wire.aborted and self.line.connection.closing)
        self.setUp()
        self.line.wire.says(whole(200, b""))
        self.line.wire.closes()
        self.assertEqual(self.line.notes, ["ready", "idle", "lost"])

    def test_owner_that_raises(self) -> None:
        """A bug in the pool keeps neither a response nor a loss from the call."""
        fault = ZeroDivisionError("a bug")
        with patch.object(self.line, "idle", side_effect=fault):
            self.line.wire.says(whole(200, b"abc"))
        self.assertEqual(self.line.listener.heard, [("head", 200), ("body", b"abc"), ("end", None)])
        self.assertTrue(self.line.wire.aborted)
        self.setUp()
        with patch.object(self.line, "lost", side_effect=fault):
            self.line.wire.closes()
        self.assertEqual(self.line.listener.heard, [LOST])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)


class ReadTests(SynchronousTestCase):
    """How much of a response is handled in one turn of the reactor."""

    def test_short_reads(self) -> None:
        """However much has arrived, a turn reads little of it, and nothing is lost."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            theirs = socket.create_connection(listening.getsockname())
            ours, _ = listening.accept()
        self.addCleanup(theirs.close)
        self.addCleanup(ours.close)
        line = Line()
        connection = Connection(False, line)
        transport = SocketTransport(ours, connection, reactor=Mock())
        connection.makeConnection(transport)
        connection.carry(line.call, reused=False)
        body = b"x" * 100_000
        theirs.sendall(head() + chunk(body))
        received = b""
        for _ in range(1000):
            heard = len(line.listener.heard)
            transport.doRead()
            parts = [data for _, data in line.listener.heard[heard:] if isinstance(data, bytes)]
            self.assertLessEqual(sum(map(len, parts)), READ_BYTES)
            received += b"".join(parts)
            if len(received) == len(body):
                break
        self.assertEqual(received, body)
        connection.abort()
