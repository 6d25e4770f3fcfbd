"""Upstream responses: which are delivered, which are refused, and when a connection is kept."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.unit.relay.upstreams import chunk, head, whole
from tests.unit.upstream.lines import BROKEN, LOST, Event, Line


class ResponseTests(SynchronousTestCase):
    """The result of parsing one response."""

    def setUp(self) -> None:
        """Send a request."""
        self.line = Line()

    def hears(self, *data: bytes) -> list[Event]:
        """Let the upstream say ``data``; all that was heard by then."""
        self.line.wire.says(*data)
        return self.line.listener.heard

    def refused(self, *data: bytes) -> None:
        """These bytes are no response, and end the connection."""
        self.assertEqual(self.hears(*data), [BROKEN])
        self.assertTrue(self.line.wire.aborted)
        self.assertFalse(self.line.kept)

    def test_interfaces(self) -> None:
        """The connection is what it claims to be, and sends small writes at once."""
        verifyObject(IHandshakeListener, self.line.connection)
        verifyObject(IPushProducer, self.line.connection)
        self.assertEqual((self.line.notes, self.line.wire.no_delay), (["ready"], True))
        self.assertEqual(self.line.wire.value(), b"request")

    def test_length(self) -> None:
        """Head, body and end in one read are heard in order, and the connection is kept."""
        self.assertEqual(
            self.hears(whole(200, b"abc")), [("head", 200), ("body", b"abc"), ("end", None)]
        )
        self.assertTrue(self.line.kept and self.line.wire.alive)
        seen = self.line.listener.head_seen
        assert seen is not None
        self.assertEqual((seen.reason, seen.length), (b"Some Reason", 3))
        self.assertEqual((seen.content_type, seen.field(b"x")), ("application/json", None))

    def test_limits(self) -> None:
        """The fields that state limits are collected; those of absurd length are not."""
        fields = (b"X-Chutes-Quota-Total: 2000", b"x-ratelimit-limit-tokens: x", b"X-Other: 1")
        for sent, limits in (
            (fields, {b"x-chutes-quota-total": b"2000", b"x-ratelimit-limit-tokens": b"x"}),
            ((b"X-Chutes-RL-User: 1", b"X-CHUTES-RL-USER:  60"), {b"x-chutes-rl-user": b"60"}),
            ((b"X-Chutes-RL-User: " + b"1" * 21,), None),
            ((), None),
        ):
            self.line = Line()
            self.hears(whole(200, b"{}", b"application/json", *sent))
            seen = self.line.listener.head_seen
            assert seen is not None
            self.assertEqual(seen.limits, limits)

    def test_chunked(self) -> None:
        """Chunk framing is taken off; trailers are dropped; one read gives one portion."""
        data = head() + chunk(b"a") + chunk(b"b")
        self.assertEqual(self.hears(data), [("head", 200), ("body", b"ab")])
        self.assertEqual(self.hears(b"0\r\nX-Trailer: 1\r\n\r\n")[2:], [("end", None)])
        self.assertTrue(self.line.kept)
        seen = self.line.listener.head_seen
        assert seen is not None
        self.assertEqual((seen.length, seen.field(b"x-trailer")), (None, None))

    def test_byte_by_byte(self) -> None:
        """A response may arrive in any portions."""
        heard = self.hears(*[bytes([byte]) for byte in head() + chunk(b"ab") + chunk(b"")])
        self.assertEqual(heard, [("head", 200), ("body", b"a"), ("body", b"b"), ("end", None)])
        self.assertTrue(self.line.kept)

    def test_until_close(self) -> None:
        """A body without length ends with the connection, if that ends in good order."""
        self.hears(b"HTTP/1.1 200 OK\r\n\r\nabc")
        self.line.wire.closes()
        self.assertEqual(self.line.listener.heard[1:], [("body", b"abc"), ("end", None)])
        self.assertFalse(self.line.kept)

    def test_json_until_close(self) -> None:
        """JSON without length that is closed before its end is broken, unless it is coded."""
        for fields, body, last in (
            (b"Content-Type: application/json\r\n", b'{"a":[1]}\n', ("end", None)),
            (b"Content-Type: application/json\r\n", b'{"a":[1]', LOST),
            (b"Content-Type: application/problem+json\r\n", b'{"a":"}', LOST),
            (b"Content-Type: text/plain\r\n", b'{"a":[1]', ("end", None)),
            (
                b"Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
                b'{"a":[1]',
                ("end", None),
            ),
        ):
            self.setUp()
            self.hears(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n" + body[:2], body[2:])
            self.line.wire.closes()
            heard = self.line.listener.heard
            self.assertEqual(heard[1:], [("body", body[:2]), ("body", body[2:]), last])

    def test_until_reset(self) -> None:
        """A body without length that a reset ends is broken."""
        self.hears(b"HTTP/1.1 200 OK\r\n\r\nabc")
        self.line.wire.resets()
        self.assertEqual(self.line.listener.heard[1:], [("body", b"abc"), LOST])

    def test_closed_inside(self) -> None:
        """A close inside the head, a length or a chunk is a break."""
        for data in (b"", b"HTTP/1.1 200", whole(200, b"abc")[:-1], head() + chunk(b"a")):
            line = Line()
            line.wire.says(*([data] if data else []))
            line.wire.closes()
            self.assertEqual(line.listener.heard[-1], LOST)
            self.assertEqual(line.notes[-1], "lost")

    def test_bodiless(self) -> None:
        """204 and 304 have no body, whatever their head says.

        Servers that send one all the same send it late, when the connection could already carry
        another call, whose response it would be; so it carries none.
        """
        for status in (204, 304):
            for framing in (b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"):
                line = Line()
                line.wire.says(b"HTTP/1.1 %d X\r\n%b\r\n" % (status, framing))
                self.assertEqual(line.listener.heard, [("head", status), ("end", None)])
                self.assertFalse(line.kept)
                self.assertTrue(line.wire.aborted)

    def test_interim(self) -> None:
        """Interim responses are skipped, alone and in a row, with what they said."""
        early = b"HTTP/1.1 103 Early\r\nX-Early: 1\r\n\r\n"
        heard = self.hears(b"HTTP/1.1 100 Continue\r\n\r\n", early + early + whole(201, b""))
        self.assertEqual(heard, [("head", 201), ("end", None)])
        seen = self.line.listener.head_seen
        assert seen is not None
        self.assertEqual((seen.reason, seen.field(b"x-early")), (b"Some Reason", None))

    def test_upgrade(self) -> None:
        """An upgrade that the router did not request is malformed."""
        self.refused(b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")

    def test_conflicting_framing(self) -> None:
        """A body whose length can be read in two ways is not relayed."""
        for fields in (
            (b"Content-Length: 3", b"Transfer-Encoding: chunked"),
            (b"Transfer-Encoding: chunked", b"Content-Length: 3"),
            (b"Content-Length: 3", b"Content-Length: 3"),
            (b"Content-Length: 3, 3",),
            (b"Content-Length: -3",),
            (b"Content-Length: x",),
            (b"Content-Length: 99999999999999999999999",),
            (b"Transfer-Encoding: gzip, chunked",),
            (b"Transfer-Encoding: gzip",),
            (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        ):
            self.setUp()
            self.refused(b"\r\n".join([b"HTTP/1.1 200 OK", *fields]) + b"\r\n\r\n0\r\n\r\n")

    def test_no_response(self) -> None:
        """Other protocols, impossible statuses and fields that could split a head are refused."""
        for data in (
            b"SSH-2.0-x\r\n",
            b"HTTP/1.1 099 X\r\n\r\n",
            b"HTTP/1.1 600 X\r\n\r\n",
            b"HTTP/2.0 200 OK\r\n\r\n",
            b"HTTP/1.1 200 O\0K\r\n\r\n",
            b"HTTP/1.1 200 \x1b[2J\r\n\r\n",
            b"HTTP/1.1 200 OK\nX: a\n\n",
            b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        ):
            self.setUp()
            self.refused(data)

    def test_bad_chunk(self) -> None:
        """A broken chunk ends a response that had begun."""
        heard = self.hears(head() + chunk(b"a"), b"zz\r\n")
        self.assertEqual(heard, [("head", 200), ("body", b"a"), BROKEN])
        self.assertTrue(self.line.wire.aborted)

    def test_head_size(self) -> None:
        """A head over 64 KiB is refused, arriving in one read, in several, or never ending."""
        large = b"HTTP/1.1 200 OK\r\nX: " + b"a" * 65536 + b"\r\n\r\n"
        self.refused(large)
        self.setUp()
        self.refused(large[:60000], large[60000:])
        self.setUp()
        self.refused(b"HTTP/1.1 200 " + b"a" * 70000)
        self.setUp()
        self.refused(*[b"HTTP/1.1 103 X\r\nX: " + b"a" * 30000 + b"\r\n\r\n"] * 3)
        self.setUp()
        heard = self.hears(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 65000 + b"\r\n\r\n" + b"b" * 9999)
        self.assertEqual(heard[0], ("head", 200))

    def test_framing_size(self) -> None:
        """Between body bytes there may be 64 KiB of chunk extensions and trailers, and no more."""
        for start in (b"1;", b"0\r\nX: "):
            self.setUp()
            heard = self.hears(head() + chunk(b"a"), start + b"x" * 65000)
            self.assertEqual(heard, [("head", 200), ("body", b"a")])
            self.assertEqual(self.hears(b"x" * 999)[2:], [BROKEN])
            self.assertTrue(self.line.wire.aborted)
        self.setUp()
        extended = b"1;" + b"x" * 40000 + b"\r\na\r\n"
        heard = self.hears(head(), extended, extended, chunk(b""))
        self.assertEqual(heard[1:], [("body", b"a"), ("body", b"a"), ("end", None)])
        self.assertTrue(self.line.kept)

    def test_field_count(self) -> None:
        """256 fields pass, one more does not."""
        fields = b"X: a\r\n" * 255
        self.assertEqual(
            self.hears(b"HTTP/1.1 200 OK\r\n" + fields + b"X: a\r\n\r\n")[0][0], "head"
        )
        self.setUp()
        self.refused(b"HTTP/1.1 200 OK\r\n" + fields + b"X: a\r\nX: a\r\n\r\n")

    def test_surplus(self) -> None:
        """Bytes behind the end do not harm the response, but the connection."""
        for extra in (b"x", whole(200, b"other"), b"HTTP"):
            self.setUp()
            heard = self.hears(whole(200, b"abc") + extra)
            self.assertEqual(heard, [("head", 200), ("body", b"abc"), ("end", None)])
            self.assertTrue(self.line.wire.aborted)
            self.assertFalse(self.line.kept)

    def test_no_keep_alive(self) -> None:
        """A connection its server closes is not kept."""
        for data in (
            whole(200, b"abc", b"text/plain", b"Connection: close"),
            b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        ):
            self.setUp()
            self.assertEqual(self.hears(data)[-1], ("end", None))
            self.assertTrue(self.line.wire.aborted)

    def test_unsent_request(self) -> None:
        """A connection that still owes bytes of its request is not kept; once sent it is."""
        self.line.connection.pauseProducing()
        self.assertEqual(self.hears(whole(200, b""))[-1], ("end", None))
        self.assertTrue(self.line.wire.aborted)
        self.setUp()
        self.line.connection.pauseProducing()
        self.line.connection.resumeProducing()
        self.hears(whole(200, b""))
        self.assertTrue(self.line.kept)
        self.line.connection.stopProducing()

    @given(st.lists(st.integers(1, 120), max_size=8))
    def test_any_split(self, cuts: list[int]) -> None:
        """However the bytes are cut, the response is the same."""
        line, data = Line(), head() + chunk(b"hello") + chunk(b"world") + chunk(b"")
        places = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
        line.wire.says(*[data[a:b] for a, b in pairwise(places)])
        heard = line.listener.heard
        bodies = [data for kind, data in heard if kind == "body" and isinstance(data, bytes)]
        self.assertEqual((heard[0], heard[-1]), (("head", 200), ("end", None)))
        self.assertEqual((b"".join(bodies), line.kept), (b"helloworld", True))
