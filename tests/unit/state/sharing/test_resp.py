"""Tests of a connection to the store: replies in pieces, errors, silence, nonsense."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from autopilot.state.sharing import resp
from autopilot.state.sharing.resp import IDLE, LONGEST, PATIENCE, RespConnection
from autopilot.state.sharing.store_fault import StoreFault, StoreRefused, StoreUnavailable

MESSAGE = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nhello\r\n"
NONSENSE = (
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"\x15\x03\x03\x00\x02\x02\x46",
    b"*4294967290\r\n",
    b"$-5\r\n",
    b"*-5\r\n",
    b":99999999999999999999999\r\n",
    b"%1\r\n*1\r\n:1\r\n:2\r\n",
)


class RespTests(SynchronousTestCase):
    """One connection over a memory transport."""

    def setUp(self) -> None:
        """Connect."""
        self.connect()

    def connect(self) -> None:
        """Make a connection."""
        self.clock = Clock()
        self.lost: list[StoreFault] = []
        self.messages: list[tuple[bytes, bytes]] = []
        self.transport = StringTransport()
        self.connection = RespConnection(
            self.clock,
            lambda _, fault: self.lost.append(fault),
            lambda channel, message: self.messages.append((channel, message)),
        )
        self.connection.makeConnection(self.transport)

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps, and lose the connection if it was aborted."""
        for _ in range(round(seconds * 8)):
            self.clock.advance(0.125)
            if self.transport.disconnecting:
                self.connection.connectionLost(Failure(ConnectionLost()))
                return

    def aborted(self) -> bool:
        """Return whether the connection was given up."""
        return self.transport.disconnecting

    def test_a_command_and_its_reply(self) -> None:
        """A command is an array of bulk strings, and replies belong to commands in their order."""
        first, second = self.connection.send((b"GET", b"a\r\n")), self.connection.send((b"PING",))
        self.assertEqual(
            self.transport.value(), b"*2\r\n$3\r\nGET\r\n$3\r\na\r\n\r\n*1\r\n$4\r\nPING\r\n"
        )
        self.assertEqual((self.connection.due, self.connection.due_bytes), (2, 36))
        self.connection.dataReceived(b"$2\r\nab\r\n+PONG\r\n")
        self.assertEqual(self.successResultOf(first), b"ab")
        self.assertEqual(self.successResultOf(second), b"PONG")
        self.assertEqual((self.connection.due, self.connection.due_bytes), (0, 0))

    @given(st.lists(st.integers(0, 60)))
    def test_replies_in_pieces(self, cuts: list[int]) -> None:
        """Replies may arrive cut anywhere."""
        self.connect()
        replies = [self.connection.send((b"X",)) for _ in range(4)]
        data = b"$2\r\nab\r\n*2\r\n:7\r\n$-1\r\n-OOM no\r\n" + MESSAGE + b"+OK\r\n"
        places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
        for start, end in pairwise(places):
            self.connection.dataReceived(data[start:end])
        self.assertEqual(self.successResultOf(replies[0]), b"ab")
        self.assertEqual(self.successResultOf(replies[1]), [7, None])
        self.assertEqual(self.failureResultOf(replies[2], StoreRefused).value.code, "OOM")
        self.assertEqual(self.messages, [(b"c", b"hello")])
        self.assertEqual(self.successResultOf(replies[3]), b"OK")

    def test_errors_do_not_quote(self) -> None:
        """Of an error only its code is kept: the rest may repeat what was sent."""
        for text, code, fault in (
            (b"OOM command not allowed", "OOM", StoreFault.FULL),
            (b"READONLY You can't", "READONLY", StoreFault.READ_ONLY),
            (b"ERR unknown command 'hunter2'", "ERR", StoreFault.REFUSED),
            (b"hunter2", "", StoreFault.REFUSED),
            (b"WRONGPASS invalid", "WRONGPASS", StoreFault.CREDENTIALS),
            (b"MASTERDOWN Link", "MASTERDOWN", StoreFault.LOADING),
            (b"BUSY Redis is busy running a script", "BUSY", StoreFault.BUSY),
        ):
            reply = self.connection.send((b"X",))
            self.connection.dataReceived(b"-%b\r\n" % text)
            refused = self.failureResultOf(reply, StoreRefused).value
            self.assertEqual((refused.code, refused.fault), (code, fault))
            self.assertNotIn("hunter2", str(refused))

    def test_a_lost_connection(self) -> None:
        """Everything due fails, and so does every later command."""
        reply = self.connection.send((b"GET", b"a"))
        self.connection.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.lost, [StoreFault.CLOSED])
        for each in (reply, self.connection.send((b"GET", b"a"))):
            failed = self.failureResultOf(each, StoreUnavailable).value
            self.assertIs(failed.fault, StoreFault.CLOSED)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_cancelled_command(self) -> None:
        """Its reply is dropped, and the next one is not taken for it."""
        cancelled, kept = self.connection.send((b"A",)), self.connection.send((b"B",))
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        self.connection.dataReceived(b":1\r\n:2\r\n")
        self.assertEqual(self.successResultOf(kept), 2)
        cancelled, kept = self.connection.send((b"A",)), self.connection.send((b"B",))
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        self.connection.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(kept, StoreUnavailable)

    def test_nonsense(self) -> None:
        """What is not RESP ends the connection, and so does a reply without a command."""
        for data in (*NONSENSE, b"+OK\r\n"):
            self.connect()
            reply = self.connection.send((b"GET", b"a")) if data in NONSENSE else None
            self.connection.dataReceived(data)
            self.assertTrue(self.aborted(), data)
            self.connection.dataReceived(b"+OK\r\n" + MESSAGE)  # what is still on its way
            self.connection.connectionLost(Failure(ConnectionLost()))
            self.assertEqual(self.lost, [StoreFault.PROTOCOL])
            self.assertEqual(self.messages, [])
            if reply is not None:
                self.failureResultOf(reply, StoreUnavailable)

    def test_a_reply_without_an_end(self) -> None:
        """A reply may not grow beyond the largest size."""
        self.patch(resp, "MAX_REPLY", 1000)
        self.connection.send((b"GET", b"a")).addErrback(lambda _: None)
        self.connection.dataReceived(b"$990\r\n" + b"a" * 990 + b"\r\n")
        self.assertFalse(self.aborted())
        self.connection.send((b"GET", b"a")).addErrback(lambda _: None)
        self.connection.dataReceived(b"$99999\r\n")
        for _ in range(10):
            self.connection.dataReceived(b"a" * 100)
        self.assertTrue(self.aborted())

    def test_the_first_fault_counts(self) -> None:
        """A connection that is given up twice was lost for the first reason."""
        self.connection.abort(StoreFault.READ_ONLY)
        self.connection.abort(StoreFault.SLOW)
        self.connection.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.lost, [StoreFault.READ_ONLY])

    def test_a_reply_like_a_message(self) -> None:
        """An array that begins as a message but has no bytes is a reply, if one is due."""
        reply = self.connection.send((b"X",))
        for _ in range(2):
            self.assertFalse(self.aborted())
            self.connection.dataReceived(b"*3\r\n$7\r\nmessage\r\n:1\r\n:2\r\n")
        self.assertEqual(self.successResultOf(reply), [b"message", 1, 2])
        self.assertTrue(self.aborted())
        self.assertEqual(self.messages, [])

    def test_silence(self) -> None:
        """A command without a reply is given up after the patience, and not before."""
        self.pass_time(0.5)
        reply = self.connection.send((b"GET", b"a"))
        self.pass_time(PATIENCE - 0.25)
        self.assertNoResult(reply)
        self.pass_time(0.75)
        failed = self.failureResultOf(reply, StoreUnavailable).value
        self.assertIs(failed.fault, StoreFault.SLOW)
        self.assertEqual(self.lost, [StoreFault.SLOW])

    def test_a_large_value_takes_its_time(self) -> None:
        """The patience grows with what is on the way to the server."""
        reply = self.connection.send((b"SET", b"a", b"x" * 3 * 2**20))
        self.pass_time(PATIENCE + 2.5)
        self.assertNoResult(reply)
        self.pass_time(1.0)
        self.failureResultOf(reply, StoreUnavailable)

    def test_a_reply_byte_by_byte(self) -> None:
        """A reply of which something keeps arriving is given up later."""
        reply = self.connection.send((b"GET", b"a"))
        self.connection.dataReceived(b"$100\r\n")
        for _ in range(round(LONGEST) - 1):
            self.pass_time(1)
            self.assertNoResult(reply)
            self.connection.dataReceived(b"a")
        self.pass_time(1.5)
        self.failureResultOf(reply, StoreUnavailable)

    def test_an_idle_server_is_asked(self) -> None:
        """Without commands the server is asked whether it is there; it may refuse the question."""
        self.pass_time(IDLE - 0.25)
        self.assertEqual(self.transport.value(), b"")
        self.pass_time(0.5)
        self.assertEqual(self.transport.value(), b"*1\r\n$4\r\nPING\r\n")
        self.connection.dataReceived(b"-NOPERM no\r\n")
        self.transport.clear()
        self.pass_time(IDLE + 0.25)
        self.assertEqual(self.transport.value(), b"*1\r\n$4\r\nPING\r\n")
        self.pass_time(PATIENCE + 0.5)
        self.assertEqual(self.lost, [StoreFault.SLOW])

    def test_messages_with_half_a_reply_behind(self) -> None:
        """Bytes that complete nothing do not keep the connection."""
        self.connection.dataReceived(b"$100000\r\n")
        for _ in range(10):
            self.pass_time(0.5)
            self.connection.dataReceived(b"a")
        self.assertEqual(self.connection.due, 1)  # the question
