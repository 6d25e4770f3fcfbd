"""Incremental parser of server-sent events (WHATWG HTML §9.2.6), independent of chunk boundaries.

It is used before the commit point. Of a committed stream the guard has it parse single events.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from msgspec import Struct

CR, LF = b"\r\n"
"""The bytes as numbers: `in` finds one without the detour that it takes for a text of one byte."""
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BLANKS = b" \t"
_FIELD, _END = b"data: ", b"\n\n"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BARE_OPENINGS = (b"{", b"[")
# The bytes with which a further line of JSON can begin; no field's name begins with one of them.
BARE_GOES_ON = frozenset(b"%c" % byte for byte in b' \t"{}[],-0123456789tfn')
_STRING = re.compile(rb'"[^"\\]*+(?>(?:\\.[^"\\]*+)*)"')
_QUOTE = ord(b'"')
MAX_BARE_LINES = 4096
"""Lines of bare JSON that are read of a stream. An error has some dozens, and the lines of each
cost as much as an event."""

# Lines of one kind that follow each other, or a whole event of one `data` line: what stands between
# two of them costs no Python. 2,048 lines at most: `re` keeps 160 bytes for each until all match.
# Atomic, so that nothing is read twice; possessive quantifiers of groups find too little before
# Python 3.11.5 (CPython issue 106052), which Debian's is.
_RUN = rb"""
    data:[ ]?+ ([^\r\n]*+) (?:\n\n|\r\n\r\n|\r\r)
  | ((?>(?: (?>%(ignored)b{0,2048}) [\r\n]++ ){1,2048}))
  | ((?>(?:data (?>(?: :[^\r\n]*+ )?) %(end)b ){1,2048}))
  | (?>(?:event(?: :[ ]?+ | (?=[\r\n]) ) ([^\r\n]*+) %(end)b ){1,2048})
  | ((?>%(ignored)b{1,2048}))
  | ([^\r\n]*+ %(end)b )
"""
_END_OF_LINE = rb"(?>\r\n|\n|\r)"


def _runs(bare: bytes) -> re.Pattern[bytes]:
    ignored = rb"(?:(?! data[:\r\n] | event[:\r\n] | [\r\n] %b) [^\r\n]*+ %b )" % (
        bare,
        _END_OF_LINE,
    )
    return re.compile(_RUN % {b"end": _END_OF_LINE, b"ignored": ignored}, re.VERBOSE)


# Lines in the midst of bare JSON that cannot complete it and have no strings, so many at a time.
_MANY = 256
_OPEN_LINES = re.compile(
    rb"(?>(?:[ \t{\[,\-0-9tfn][^\r\n\x22}\]]*+%b){1,%d})" % (_END_OF_LINE, _MANY)
)
_RUN_OF_LINES = _runs(rb"| [ \t]*+[{\[]")
_RUN_WITHOUT_BARE = _runs(b"")
_EVENT, _BLANK, _DATA, _NAME, _IGNORED = range(1, 6)  # the groups; the last is a line of bare JSON
_DATA_LINE = re.compile(rb"data(?>(?::[ ]?+)?)([^\r\n]*+)" + _END_OF_LINE)


class Event(Struct, frozen=True, gc=False):
    """One event, or (``bare``) JSON in place of fields, which SSE parsers ignore.

    ``start`` is the offset of its first byte in all bytes fed so far.
    """

    data: bytes
    name: bytes = b""
    bare: bool = False
    start: int = 0

    def __repr__(self) -> str:
        return f"Event({len(self.data)} bytes, start={self.start})"


class Events:
    """Parses chunks, and yields each event once its blank line has arrived.

    To bound memory, only the first ``limit`` bytes of an event are kept; a longer event is yielded
    truncated. Bare JSON may be indented and have several lines; it is yielded once it is complete,
    or as soon as a line cannot belong to it. Whether it is JSON at all is not checked.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._offset = 0
        self._after_cr = False
        self._line = bytearray()
        self._line_is_cut = False
        self._line_start = 0
        self._bare = bytearray()
        self._bare_start = self._depth = 0
        self._start: int | None = None
        self._data: list[bytes] = []
        self._data_size = 0
        self._name = b""
        self._runs = _RUN_OF_LINES
        self._bare_lines = 0

    def feed(self, data: bytes) -> Iterable[Event]:
        """Return the events that ``data`` completes."""
        if (
            len(data) <= self._limit
            and data.startswith(_FIELD)
            and data.endswith(_END)
            and self._start is None
            and not (self._line or self._after_cr or self._bare)
            and CR not in data
        ):
            pieces = data[len(_FIELD) : -len(_END)].split(_END + _FIELD)
            # The usual chunk has only events of one `data` line: no line parser is needed, which
            # saves several calls for each event.
            if data.count(b"\n") == len(pieces) * len(_END):
                events = []
                for piece in pieces:
                    events.append(Event(piece, start=self._offset))
                    self._offset += len(_FIELD) + len(piece) + len(_END)
                return events
        return self._parse(data)

    def _parse(self, data: bytes) -> Iterator[Event]:
        at = 1 if self._after_cr and data.startswith(b"\n") else 0  # the second half of a CRLF
        self._after_cr = data.endswith(b"\r") if data else self._after_cr
        if not self._line:
            self._line_start = self._offset + at
        singly = again = 0  # the offsets up to which lines are taken one by one
        while at < len(data):
            if self._bare and at >= again and not self._line:
                at = self._take_open_lines(data, at)
                again = at + _MANY
            if at >= singly and not (self._line or self._bare or self._line_start == 0):
                run = self._runs.match(data, at)
                if run is None:
                    break
                room = self._limit - self._data_size
                if run.lastindex == _EVENT and self._start is None and len(run[0]) <= room:
                    yield Event(run[_EVENT], start=self._line_start)
                    at = run.end()
                    self._line_start = self._offset + at
                    continue
                if run.lastindex in (_BLANK, _IGNORED) or len(run[0]) <= room:
                    at = run.end()
                    start, self._line_start = self._line_start, self._offset + at
                    yield from self._take_run(run, start)
                    continue
                if room <= 0 and run.lastindex == _DATA:  # nothing of it is kept
                    at = run.end()
                    self._line_start = self._offset + at
                    continue
                singly = run.end()
            end = _LINE_END.search(data, at)
            if end is None:
                break
            self._keep(data[at : end.start()])
            at = end.end()
            start, self._line_start = self._line_start, self._offset + at
            yield from self._end_line(start)
        self._keep(data[at:])
        self._offset += len(data)

    def _take_run(self, run: re.Match[bytes], start: int) -> Iterable[Event]:
        """Add a run of lines to the event; return the event if they complete it."""
        kind = run.lastindex
        if kind == _BLANK:
            return self._dispatch()
        if kind not in (_EVENT, _DATA, _NAME, _IGNORED):
            return self._take_bare(run[0].rstrip(b"\r\n"), start)
        if self._start is None:
            self._start = start
        if kind == _NAME:
            self._name = run[_NAME]
        elif kind == _DATA:
            self._add(b"\n".join(_DATA_LINE.findall(run[0])))
        elif kind == _EVENT:
            self._add(run[_EVENT])
            return self._dispatch()
        return ()

    @property
    def at_boundary(self) -> bool:
        """Whether the bytes so far end with a complete event."""
        return self._start is None and not (self._line or self._after_cr or self._bare)

    def close(self) -> Iterator[Event]:
        """Yield bare JSON whose last line lacks its end; drop an incomplete event.

        The specification discards an event without its blank line.
        """
        line = bytes(self._line)
        self._line.clear()
        if self._line_start == 0:
            line = line.removeprefix(BYTE_ORDER_MARK)
        if line[:1] in BARE_GOES_ON and (
            self._bare or line.lstrip(_BLANKS).startswith(_BARE_OPENINGS)
        ):
            yield from self._take_bare(line, self._line_start)
        yield from self._end_bare()

    def _keep(self, piece: bytes) -> None:
        """Add to the current line within the limit, but always its first byte.

        A line without any byte would count as blank and end the event.
        """
        room = self._limit - self._data_size - len(self._bare) - len(self._line)
        kept = max(room, 0 if self._line else 1)
        self._line += piece[:kept]
        if len(piece) > kept:
            self._line_is_cut = True

    def _end_line(self, start: int) -> Iterator[Event]:
        line, is_cut = bytes(self._line), self._line_is_cut
        self._line.clear()
        self._line_is_cut = False
        if start == 0:
            line = line.removeprefix(BYTE_ORDER_MARK)
        if self._bare:
            # A blank line may stand in JSON, but ends an event that has begun before it.
            if line[:1] in BARE_GOES_ON if line else self._start is None:
                yield from self._take_bare(line, start)
                return
            yield from self._end_bare()
        if not line:
            yield from self._dispatch()
        elif self._runs is _RUN_OF_LINES and line.lstrip(_BLANKS).startswith(_BARE_OPENINGS):
            yield from self._take_bare(line, start)
        else:
            self._take_field(line, start, is_cut=is_cut)

    def _take_open_lines(self, data: bytes, at: int) -> int:
        """Add lines that cannot complete bare JSON, while all may be kept; return their end."""
        room = self._limit - self._data_size - len(self._bare)
        while len(data) - at <= room and self._bare_lines + _MANY < MAX_BARE_LINES:
            run = _OPEN_LINES.match(data, at)
            if run is None:
                break
            lines = run[0].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            self._bare += b"\n" + lines[:-1]
            self._bare_lines += lines.count(b"\n")
            self._depth += lines.count(b"{") + lines.count(b"[")
            room -= len(lines)
            at = run.end()
            self._line_start = self._offset + at
        return at

    def _take_bare(self, line: bytes, start: int) -> Iterable[Event]:
        """Add a line to bare JSON, and return it if that completes it."""
        if not self._bare:
            self._bare_start, self._depth = start, 0
            self._bare += line
        elif len(self._bare) < self._limit:
            self._bare += b"\n" + line
        outside = _STRING.sub(b"", line) if _QUOTE in line else line
        self._depth += outside.count(b"{") + outside.count(b"[")
        self._depth -= outside.count(b"}") + outside.count(b"]")
        self._bare_lines += 1
        if self._bare_lines == MAX_BARE_LINES:
            self._runs = _RUN_WITHOUT_BARE
        if self._depth <= 0 or self._bare_lines >= MAX_BARE_LINES:
            return self._end_bare()
        return ()

    def _end_bare(self) -> Iterable[Event]:
        """Return what there is of bare JSON."""
        if not self._bare:
            return ()
        bare = bytes(self._bare)
        self._bare.clear()
        return (Event(bare, bare=True, start=self._bare_start),)

    def _take_field(self, line: bytes, start: int, *, is_cut: bool) -> None:
        if self._start is None:
            self._start = start
        field, colon, value = line.partition(b":")
        if is_cut and not colon:
            return  # the beginning of a name
        value = value.removeprefix(b" ")
        if field == b"data":
            self._add(value)
        elif field == b"event":
            self._name = value

    def _add(self, value: bytes) -> None:
        self._data.append(value)
        self._data_size += len(value) + 1

    def _dispatch(self) -> Iterable[Event]:
        if not self._data:
            self._name, self._start = b"", None
            return ()
        event = Event(b"\n".join(self._data), self._name, start=self._start or 0)
        self._data, self._data_size, self._name, self._start = [], 0, b"", None
        return (event,)
