"""Tests of the bytes between load and upstream, also as re-encoded or split by a proxy."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from autopilot.feeds.parsers import parse_catalog, parse_utilization
from benchmarks.feeds import CATALOG_PATH, MODELS, UTILIZATION_PATH, feeds
from benchmarks.incoming import Incoming
from benchmarks.wire import (
    DONE,
    STAMP,
    UNARY_BYTES,
    Wanted,
    chat_request,
    is_whole,
    split_events,
    templates,
    wanted,
)

STAMPS = [b"%020d" % number for number in range(3)]


def stream_body() -> bytes:
    """Return three events and the ending, each in its own chunk."""
    answer = templates("bench/one")
    events = [answer.event_before + stamp + answer.event_after for stamp in STAMPS]
    return b"".join(events) + answer.ending


def without_framing(body: bytes) -> bytes:
    """Return the content of complete chunks (RFC 9112 §7.1)."""
    content = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        content += rest[: int(size, 16)]
        body = rest[int(size, 16) + 2 :]
    return content


class AnswerTests(SynchronousTestCase):
    """The responses of the upstream."""

    def test_unary(self) -> None:
        """A plain response has the declared length, and is JSON with the stamp as its id."""
        answer = templates("bench/one")
        whole = answer.unary_before + STAMPS[1] + answer.unary_after
        head, _, body = whole.partition(b"\r\n\r\n")
        self.assertIn(b"Content-Length: %d" % len(body), head)
        self.assertEqual(len(body), UNARY_BYTES)
        self.assertEqual(json.loads(body)["id"], f"chatcmpl-{STAMPS[1].decode()}")

    def test_stream(self) -> None:
        """Chunk sizes are correct, and each event is JSON with the stamp as its content."""
        lines = without_framing(stream_body()).split(b"\n\n")
        self.assertEqual(lines[-2:], [b"data: [DONE]", b""])
        events = [json.loads(line.removeprefix(b"data: ")) for line in lines[:-2]]
        contents = [event["choices"][0]["delta"].get("content") for event in events]
        self.assertEqual(contents, [*(stamp.decode() for stamp in STAMPS), None])


class StampTests(SynchronousTestCase):
    """The parsing of events that passed through a proxy."""

    def test_two_reads(self) -> None:
        """Every stamp is found exactly once, wherever a read ends."""
        body = stream_body()
        for cut in range(len(body) + 1):
            first, rest = split_events(body[:cut])
            second, rest = split_events(rest + body[cut:])
            self.assertEqual(STAMP.findall(first) + STAMP.findall(second), STAMPS, cut)
            self.assertIn(DONE, first + second)

    def test_whole_reads(self) -> None:
        """A whole read leaves no rest; the ending is not a whole read."""
        body = stream_body()
        for cut in range(1, len(body) + 1):
            if is_whole(body[:cut]):
                self.assertEqual(split_events(body[:cut])[1], b"", cut)
        self.assertFalse(is_whole(templates("bench/one").ending))

    def test_other_chunks(self) -> None:
        """A chunk may end anywhere, even within a stamp."""
        content = without_framing(stream_body())
        for cut in range(1, len(content)):
            parts = (content[:cut], content[cut:])
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
            self.assertEqual(STAMP.findall(split_events(body)[0]), STAMPS, cut)

    def test_json_with_spaces(self) -> None:
        """A proxy may re-encode the JSON."""
        self.assertEqual(STAMP.findall(b'{"content": "' + STAMPS[2] + b'"}'), [STAMPS[2]])


class RequestTests(SynchronousTestCase):
    """The parsing of requests by the upstream."""

    def ask(self, seed: int | None, size: int) -> bytes:
        """Return a request's bytes."""
        return chat_request(
            host="h", path="/c", model="bench/one", body_bytes=size, seed=seed, events=7
        )

    def test_size(self) -> None:
        """The body has the requested size."""
        for size in (300, 600, 100_000):
            head, _, body = self.ask(5, size).partition(b"\r\n\r\n")
            self.assertEqual(len(body), size)
            self.assertIn(b"Content-Length: %d" % size, head)

    def test_reads(self) -> None:
        """A request is complete with its last byte, however it is split."""
        request = self.ask(5, 300)
        incoming = Incoming()
        for cut in range(1, len(request)):
            self.assertFalse(incoming.feed(request[:cut]))
            self.assertTrue(incoming.feed(request[cut:]))
            self.assertEqual(wanted(incoming.body), Wanted(b"bench/one", 5, 7))

    def test_chunked(self) -> None:
        """A proxy may send a body of any size in chunks."""
        for size in (300, 100_000):
            body = self.ask(5, size).partition(b"\r\n\r\n")[2]
            incoming = Incoming()
            incoming.feed(b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
            for start in range(0, size, 1000):
                part = body[start : start + 1000]
                self.assertFalse(incoming.feed(b"%x\r\n%b\r\n" % (len(part), part)))
            self.assertTrue(incoming.feed(b"0\r\n\r\n"))
            self.assertEqual(wanted(incoming.body), Wanted(b"bench/one", 5, 7))

    def test_large(self) -> None:
        """Both ends of a large body are parsed, because a proxy may reorder its members."""
        members = b'"model": "bench/two", "stream": true, "seed": 0, "max_tokens": 1'
        padding = b'"messages": [{"role": "user", "content": "' + b"x" * 100_000 + b'"}]'
        for body in (members + b", " + padding, padding + b", " + members):
            incoming = Incoming()
            head = b"POST /c HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (len(body) + 2)
            incoming.feed(head + b"{" + body[:5000])
            self.assertTrue(incoming.feed(body[5000:] + b"}"))
            self.assertEqual(wanted(incoming.body), Wanted(b"bench/two", 0, 1))

    def test_unary(self) -> None:
        """A request without `stream` is for a plain response."""
        self.assertEqual(wanted(self.ask(None, 600)), Wanted(b"bench/one", None, 0))
        said = b'{"model":"a","stream":false,"stream_options":true}'
        self.assertEqual(wanted(said), Wanted(b"a", None, 0))


class FeedTests(SynchronousTestCase):
    """The feeds for the router."""

    def test_accepted(self) -> None:
        """The router accepts every record, and knows the models of the benchmarks."""
        bodies = feeds()
        catalog = parse_catalog(bodies[CATALOG_PATH])
        utilization = parse_utilization(bodies[UTILIZATION_PATH])
        self.assertEqual((catalog.rejected, utilization.rejected), (0, 0))
        self.assertEqual((len(catalog.models), len(utilization.loads)), (63, 540))
        self.assertLessEqual(set(MODELS), {model.name for model in catalog.models})
