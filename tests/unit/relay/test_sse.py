"""Server-sent events out of bytes."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.relay.sse import Event, Events
from tests.unit.relay.chunks import cut, halves, places

LIMIT = 4096
_LINES = st.sampled_from(
    [
        b"data: one",
        b"data:two",
        b"data",
        b"event: error",
        b"event:",
        b": comment",
        b"id: 7",
        b"retry: 1",
        b"nonsense",
        b'{"error":"bare"}',
        b"{",
        b'  "error": 1',
        b"  }",
        b"[",
        b"]",
        b"",
        b"",
        b"data: \xc3\xa9 \xff",
    ]
)


def _parse(chunks: list[bytes], limit: int = LIMIT) -> list[Event]:
    events = Events(limit)
    found = [event for chunk in chunks for event in events.feed(chunk)]
    return [*found, *events.close()]


class EventsTests(SynchronousTestCase):
    """The fields, the line ends and the cuts."""

    def test_fields(self) -> None:
        """Data lines are joined, one blank after the colon is dropped, other fields are ignored."""
        stream = b"event: a\nid: 1\nretry: 2\ndata:  x\ndata:y\ndata\n: comment\n\nevent: b\n\n"
        self.assertEqual(_parse([stream]), [Event(b" x\ny\n", b"a")])

    def test_line_ends(self) -> None:
        """LF, CR LF and CR end a line, wherever the chunks are cut."""
        for end in (b"\n", b"\r\n", b"\r"):
            stream = end.join([b"data: one", b"", b"event: e", b"data: two", b"", b""])
            second = len(b"data: one") + 2 * len(end)
            expected = [Event(b"one"), Event(b"two", b"e", start=second)]
            for chunks in halves(stream):
                self.assertEqual(_parse(chunks), expected, chunks)

    def test_at_once(self) -> None:
        """An event comes with the byte that completes it, also when lines end with CR."""
        for stream in (b"data: x\n\n", b"data: x\r\r", b"data: x\r\n\r"):
            self.assertEqual([e.data for e in Events(LIMIT).feed(stream)], [b"x"], stream)

    def test_byte_order_mark(self) -> None:
        """One byte order mark may stand at the very beginning."""
        stream = b"\xef\xbb\xbfdata: x\n\n\xef\xbb\xbfdata: y\n\n"
        for chunks in halves(stream):
            self.assertEqual(_parse(chunks), [Event(b"x")], chunks)

    def test_bare_json(self) -> None:
        """A line of JSON where a field should stand is reported, with its place."""
        stream = b'data: x\n\n{"error":1}\ndata: y\n\n'
        for chunks in halves(stream):
            self.assertEqual(
                _parse(chunks),
                [Event(b"x"), Event(b'{"error":1}', bare=True, start=9), Event(b"y", start=21)],
                chunks,
            )

    def test_bare_json_at_the_end(self) -> None:
        """The end of the stream completes a bare line, but not half an event."""
        for chunks in halves(b'data: x\n\n{"error":1}'):
            self.assertEqual(
                _parse(chunks), [Event(b"x"), Event(b'{"error":1}', bare=True, start=9)], chunks
            )
        for stream in (b"data: x", b"data: x\n", b"event: e\n\n", b"", b"\n\n"):
            self.assertEqual(_parse([stream]), [], stream)

    def test_bare_json_in_lines(self) -> None:
        """Bare JSON may be indented, a list, behind a byte order mark, and have several lines."""
        mark = b"\xef\xbb\xbf"
        for lines in (
            [b"{", b'  "error": {', b'    "code": 400', b"  }", b"}"],
            [b"[", b' {"error":', b"", b'  "x"}', b"]"],
            [b'  {"error":"x"}'],
            [b'\t[{"detail":"x"}]  '],
            [mark + b"{", b'"detail": "x" }'],
        ):
            for end in (b"\n", b"\r\n", b"\r"):
                bare = b"\n".join(lines).removeprefix(mark)
                stream = end.join([*lines, b"data: y", b"", b""])
                after = len(end.join([*lines, b""]))
                expected = [Event(bare, bare=True), Event(b"y", start=after)]
                for chunks in halves(stream):
                    self.assertEqual(_parse(chunks), expected, chunks)
                for rest in (b"", end):
                    found = _parse([end.join(lines) + rest])
                    self.assertEqual(found, [Event(bare, bare=True)], rest)

    def test_bare_json_that_is_none(self) -> None:
        """What cannot belong to JSON any more ends it, and so does the blank line of an event."""
        for stream, expected in (
            (b"{\n\ndata: y\n\n", [Event(b"{\n", bare=True), Event(b"y", start=3)]),
            (
                b"{ no\nevent: e\ndata: y\n\n",
                [Event(b"{ no", bare=True), Event(b"y", b"e", start=5)],
            ),
            (b"data: y\n{\n\n}\n", [Event(b"{", bare=True, start=8), Event(b"y")]),
            (b"[1,\n", [Event(b"[1,", bare=True)]),
            (b"} ]\n", []),
            (
                b'{"a":"}"]}\n{"error":"x"}\n',
                [Event(b'{"a":"}"]}', bare=True), Event(b'{"error":"x"}', bare=True, start=11)],
            ),
            (
                b'{"a":"\\"{"}\n[',
                [Event(b'{"a":"\\"{"}', bare=True), Event(b"[", bare=True, start=12)],
            ),
        ):
            for chunks in halves(stream):
                self.assertEqual(_parse(chunks), expected, chunks)

    def test_bare_json_is_bounded(self) -> None:
        """No more than the limit is kept."""
        stream = b"[\n" + b"[],\n{},\n[]\n" * 4000
        (found,) = _parse([stream], limit=1000)
        self.assertEqual((found.bare, len(found.data) < 1010), (True, True))

    def test_bare_json_of_many_lines(self) -> None:
        """Lines in its midst are kept whatever their number, their ends and the cuts."""
        lines = [b"[", *[b"  {", b"\t1,", b"-2"] * 300, *[b"}"] * 300, b"]", b'{"a": 1}']
        for end in (b"\n", b"\r\n", b"\r"):
            stream = end.join([b"data: x", *lines, b""])
            first = Event(b"\n".join(lines[:-1]), bare=True, start=7 + len(end))
            last = Event(lines[-1], bare=True, start=len(stream) - 8 - len(end))
            for step in (1, 7, 1460, len(stream)):
                found = _parse(cut(stream, range(step, len(stream), step)), limit=1 << 20)
                self.assertEqual(found, [first, last], step)
            (short, _) = _parse([stream], limit=1000)
            self.assertLess(len(short.data), 1010)

    def test_many_lines(self) -> None:
        """Lines of one kind take little memory, and mean the same however many there are."""
        for lines, event in (
            (b":\n" * 30_000, Event(b"x")),
            (b"event: e\n" * 6000, Event(b"x", b"e")),
            (b"data\n" * 10_000, Event(b"\n" * 10_000 + b"x")),
            (b":\n\n" * 20_000, Event(b"x", start=60_000)),
        ):
            tracemalloc.start()
            try:
                found = _parse([lines + b"data: x\n\n"], 1 << 17)
                self.assertLess(tracemalloc.get_traced_memory()[1], 2 << 20, event)
            finally:
                tracemalloc.stop()
            self.assertEqual(found, [event])

    def test_empty_chunk(self) -> None:
        """Nothing changes nothing, not even between CR and LF."""
        self.assertEqual(_parse([b"data: x\r", b"", b"\n", b"", b"\r\n"]), [Event(b"x")])

    def test_cut_name(self) -> None:
        """Beyond the limit, the beginning of a longer name is no name, however the bytes arrive."""
        for name in (b"data}data", b"database: x", b"events"):
            stream = b"data:%b\r\n%b\n\n" % (b"a" * 36, name)
            for size in (1, 3, 48, len(stream)):
                found = _parse(cut(stream, range(size, len(stream), size)), limit=40)
                self.assertEqual(found, [Event(b"a" * 35)], (name, size))

    def test_too_long(self) -> None:
        """Of a long event only the beginning is kept; the next one is whole again."""
        for line in (b"data: " + b"x" * 500, b"data: xxx\n" * 50 + b"data: end"):
            stream = line + b"\n\ndata: next\n\n"
            for size in (1, 7, 64, len(stream)):
                found = _parse(cut(stream, range(size, len(stream), size)), limit=64)
                self.assertEqual(len(found), 2, size)
                self.assertTrue(len(found[0].data) <= 64)
                self.assertEqual(found[1].data, b"next")
                self.assertEqual(found[1].start, len(line) + 2)

    @given(
        st.lists(_LINES, max_size=20),
        st.lists(st.sampled_from([b"\n", b"\r\n", b"\r"]), min_size=20, max_size=20),
        places(200),
        st.sampled_from([16, LIMIT]),
    )
    def test_any_split(
        self, lines: list[bytes], ends: list[bytes], where: list[int], limit: int
    ) -> None:
        """However the bytes are cut, the events are the same."""
        stream = b"".join(line + end for line, end in zip(lines, ends, strict=False))
        self.assertEqual(_parse(cut(stream, where), limit), _parse([stream], limit))
