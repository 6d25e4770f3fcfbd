"""The filter that takes out the chunk of usage for which the router has asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.relay import usage_filter
from autopilot.relay.downstream import CommittedHead
from autopilot.relay.usage_filter import UsageFilter
from autopilot.routing.router_error import RouterError
from tests.unit.relay.chunks import cut, halves
from tests.unit.relay.downstreams import RecordingDownstream, announcement
from tests.unit.relay.profiled import CHUNK, calls, chunk_of
from tests.unit.relay.upstreams import DONE, ROLE, STOP, TOKEN

_HEAD = CommittedHead(200, b"OK", [], streams=True)
_COUNTS = b'{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}'
USAGE = b'data: {"id":"1","object":"chat.completion.chunk","choices":[],"usage":%b}\n\n' % _COUNTS
_WITH_TOTALS = TOKEN.replace(b"]}", b'],"usage":%b}' % _COUNTS)
_WITH_NULL = TOKEN.replace(b"]}", b'],"usage":null}')


def passed(pieces: Sequence[bytes]) -> RecordingDownstream:
    """Pass a stream through a filter, the first piece with the head; return the client's side."""
    down = RecordingDownstream(Clock())
    filtered = UsageFilter(down)
    filtered.commit(_HEAD, pieces[0])
    for piece in pieces[1:]:
        filtered.write(piece)
    filtered.finish(b"")
    assert filtered.removed == sum(map(len, pieces)) - len(down.body)
    return down


class FilterTests(SynchronousTestCase):
    """What passes, however the stream is cut."""

    def assert_left(self, stream: bytes, left: bytes) -> None:
        """Assert that this is left of a stream, with each kind of line end and in any pieces."""
        for line_end in (b"\n", b"\r\n", b"\r"):
            written, expected = (each.replace(b"\n", line_end) for each in (stream, left))
            for pieces in halves(written):
                self.assertEqual(passed(pieces).body, expected, pieces)

    def test_taken_out(self) -> None:
        """The chunk of usage goes, and nothing else."""
        before, behind = ROLE + TOKEN + _WITH_NULL + STOP, DONE
        self.assert_left(before + USAGE + behind, before + behind)
        self.assert_left(before + USAGE, before)
        self.assert_left(USAGE + TOKEN, TOKEN)
        self.assert_left(b": ping\n\n\n" + USAGE + b"\n" + DONE, b": ping\n\n\n\n" + DONE)

    def test_spellings(self) -> None:
        """Blanks, the order of members and the engine's own members do not matter."""
        for data in (
            b'{"choices": [ ], "usage" : {"completion_tokens": 2}}',
            b'{"usage":{"completion_tokens":2},"id":"1","choices":[]}',
            b'{"id":"1","choices":[],"usage":{},"error":null}',
            b'{"id":"a \\"choices\\":[1]","choices":[],"usage":{"x":[1,{}]}}',
        ):
            for field in (b"data: ", b"data:", b"data:  "):
                self.assert_left(STOP + field + data + b"\n\n" + DONE, STOP + DONE)

    def test_no_chunk_of_usage(self) -> None:
        """Events that only resemble it pass."""
        for data in (
            b'{"choices":[],"usage":null}',
            b'{"choices":[]}',
            b'{"choices":null,"usage":{}}',
            b'{"usage":{}}',
            b'{"choices":[],"usage":[]}',
            b'{"choices":[],"usage":{},"error":{"message":"no"}}',
            b'{"x":{"choices":[1]},"choices":[],"usage":{}}',
            b'{"choices":[],"usage":{},"x":{"choices":[1]}}',
            b'{"choices":[{"delta":{"content":"\\"usage\\":{"}}]}',
            b'{"choices":[],"usage":{"a":NaN}}',
            b'{"choices":[],"usage":{}',
            b'["choices",[],"usage",{}]',
            b'{"choices":[],"usage":{},"x":"%b"}' % (b"y" * 4096),
        ):
            event = b"data: " + data + b"\n\n"
            for pieces in halves(event) if len(event) < 999 else ([event], cut(event, [9])):
                self.assertEqual(passed([TOKEN, *pieces, DONE]).body, TOKEN + event + DONE, data)
        for event in (
            b'event: x\ndata: {"choices":[],"usage":{}}\n\n',
            b'data: {"choices":[],\ndata: "usage":{}}\n\n',
            b': {"choices":[],"usage":{}}\n\n',
            b'{"choices":[],"usage":{}}\n\n',
        ):
            self.assert_left(event + TOKEN, event + TOKEN)

    def test_sent_unasked(self) -> None:
        """Where totals are in the chunks with choices, usage comes unasked, and all passes."""
        for before in (_WITH_TOTALS, ROLE + _WITH_NULL + _WITH_TOTALS, _WITH_TOTALS + STOP):
            self.assert_left(before + USAGE + DONE, before + USAGE + DONE)
        self.assert_left(USAGE + _WITH_TOTALS + USAGE, _WITH_TOTALS + USAGE)

    def test_at_once(self) -> None:
        """What cannot be the chunk of usage is written with the bytes that show it."""
        down = RecordingDownstream(Clock())
        filtered = UsageFilter(down)
        filtered.commit(_HEAD, b"")
        for data, writes in (
            (b'data: {"id":"1","object":"chat', None),
            (b'.chunk","choices":[', None),
            (b"{", b'data: {"id":"1","object":"chat.chunk","choices":[{'),
            (b'"delta":', b'"delta":'),
            (b'{"content":"a"}}]}\n\ndata: {"id', b'{"content":"a"}}]}\n\n'),
            (b'":1,"choices":null', b'data: {"id":1,"choices":null'),
            (b"}\n\n: ping", b"}\n\n: ping"),
            (b"\n\ndata: [DO", b"\n\ndata: [DO"),
            (b"NE]\n\n", b"NE]\n\n"),
            (b'data: {"x":"' + b"y" * 4000, None),
            (b"y" * 90, b'data: {"x":"' + b"y" * 4090),
            (b'"}\n\ndata: {"choices":[],"usage":{}}\n', b'"}\n\n'),
            (b"\n", None),
        ):
            down.writes.clear()
            filtered.write(data)
            self.assertEqual(down.writes, [] if writes is None else [writes], data)
        filtered.finish(b"")
        self.assertEqual(filtered.removed, len(b'data: {"choices":[],"usage":{}}\n\n'))

    def test_ends(self) -> None:
        """What is held back when the stream ends, breaks or is announced as broken is not lost."""
        error = RouterError(502, "x", "")
        half = USAGE[:40]
        for rest, kept in ((half, half), (USAGE.replace(b"\n", b"\r"), b""), (b"", b"")):
            ends: tuple[tuple[Callable[[UsageFilter], object], bytes], ...] = (
                (lambda filtered: filtered.finish(b""), b""),
                (UsageFilter.cut, b""),
                (lambda filtered: filtered.announce(error, b"", b""), announcement(error)),
            )
            for end, behind in ends:
                down = RecordingDownstream(Clock())
                filtered = UsageFilter(down)
                filtered.commit(_HEAD, TOKEN)
                filtered.write(rest or TOKEN)
                end(filtered)
                self.assertEqual(down.body, TOKEN + (kept if rest else TOKEN) + behind)

    def test_long_events(self) -> None:
        """Of a long event little is kept, and what follows it is read."""
        down = RecordingDownstream(Clock())
        filtered = UsageFilter(down)
        filtered.commit(_HEAD, b'data: {"x":"')
        for _ in range(100):
            filtered.write(b"y" * 4096)
            self.assertLess(len(filtered._event), 80_000)
        sent = len(down.body)
        filtered.write(b'","usage":{}}\n' + b"\n" + USAGE + TOKEN)
        self.assertEqual(down.body[sent:], b'","usage":{}}\n\n' + TOKEN)

    def test_shown_nowhere(self) -> None:
        """What has been read of an answer is not shown."""
        chunk = usage_filter._chunk.decode(b'{"choices":["secret"]}')
        self.assertNotIn("secret", repr(chunk))

    def test_costs(self) -> None:
        """Neither long nor many events cost much, wherever they are cut."""
        for event in (
            TOKEN,
            _WITH_NULL,
            _WITH_TOTALS,
            b'data: {"usage":{}}\n\n',
            b'data: {"choices":[],"usage":{}}\n\n',
            b"\n",
            b"\r",
            b"data:\n\n",
            b'"usage":{',
        ):
            for line_end in (b"\n", b"\r\n"):
                data = chunk_of(event.replace(b"\n", line_end)) + b"data: {"
                filtered = UsageFilter(RecordingDownstream(Clock()))
                filtered.commit(_HEAD, b"data: {")
                self.assertLess(calls(filtered.write, data), CHUNK / 8, event)
        filtered = UsageFilter(RecordingDownstream(Clock()))
        filtered.commit(_HEAD, TOKEN)
        self.assertLess(calls(filtered.write, TOKEN), 20)

    def test_passes_through(self) -> None:
        """Everything else goes to the client's side."""
        down = RecordingDownstream(Clock())
        filtered = UsageFilter(down)
        self.assertFalse(filtered.committed)
        filtered.timer(lambda: None)
        filtered.whole(_HEAD, b"x")
        self.assertEqual((filtered.committed, filtered.unsent()), (True, None))
        self.assertEqual(down.ended, "finish")
        down = RecordingDownstream(Clock())
        UsageFilter(down).refuse(RouterError(500, "x", ""))
        self.assertEqual(down.code, "x")
        down = RecordingDownstream(Clock())
        filtered = UsageFilter(down)
        filtered.commit(_HEAD, b"")
        filtered.abort()
        self.assertEqual(down.ended, "abort")
