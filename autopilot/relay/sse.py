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
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"')
_BRACKETS = (b"{", b"[", b"}", b"]")


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
        self._line_start = 0
        self._bare = bytearray()
        self._bare_start = self._depth = 0
        self._start: int | None = None
        self._data: list[bytes] = []
        self._data_size = 0
        self._name = b""

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
        if data:
            self._after_cr = data.endswith(b"\r")
        if not self._line:
            self._line_start = self._offset + at
        for end in _LINE_END.finditer(data, at):
            self._keep(data[at : end.start()])
            at = end.end()
            start, self._line_start = self._line_start, self._offset + at
            yield from self._end_line(start)
        self._keep(data[at:])
        self._offset += len(data)

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
        self._line += piece[: max(room, 0 if self._line else 1)]

    def _end_line(self, start: int) -> Iterator[Event]:
        line = bytes(self._line)
        self._line.clear()
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
        elif line.lstrip(_BLANKS).startswith(_BARE_OPENINGS):
            yield from self._take_bare(line, start)
        else:
            self._take_field(line, start)

    def _take_bare(self, line: bytes, start: int) -> Iterator[Event]:
        """Add a line to bare JSON, and yield it if that completes it."""
        if not self._bare:
            self._bare_start, self._depth = start, 0
            self._bare += line
        elif len(self._bare) < self._limit:
            self._bare += b"\n" + line
        opened, listed, closed, ended = map(_STRING.sub(b"", line).count, _BRACKETS)
        self._depth += opened + listed - closed - ended
        if self._depth <= 0:
            yield from self._end_bare()

    def _end_bare(self) -> Iterator[Event]:
        """Yield what there is of bare JSON."""
        bare = bytes(self._bare)
        self._bare.clear()
        if bare:
            yield Event(bare, bare=True, start=self._bare_start)

    def _take_field(self, line: bytes, start: int) -> None:
        if self._start is None:
            self._start = start
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._data_size += len(value) + 1
        elif field == b"event":
            self._name = value

    def _dispatch(self) -> Iterator[Event]:
        if self._data:
            yield Event(b"\n".join(self._data), self._name, start=self._start or 0)
        self._data, self._data_size, self._name, self._start = [], 0, b"", None
