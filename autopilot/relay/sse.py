"""Incremental parser of server-sent events (WHATWG HTML §9.2.6), independent of chunk boundaries.

It is used before the commit point and under the strict guard. Otherwise a committed stream is not
parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from msgspec import Struct

_LINE_END = re.compile(rb"\r\n|\n|\r")
_FIELD, _END = b"data: ", b"\n\n"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Event(Struct, frozen=True, gc=False):
    """One event, or (``bare``) a line of JSON in place of a field, which SSE parsers ignore.

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
    truncated.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._offset = 0
        self._after_cr = False
        self._line = bytearray()
        self._line_start = 0
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
            and not (self._line or self._after_cr)
            and b"\r" not in data
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
        return self._start is None and not self._line and not self._after_cr

    def skip(self, size: int) -> None:
        """Advance over complete events without parsing them; valid only at a boundary."""
        self._offset += size

    def close(self) -> Iterator[Event]:
        """Yield a final line of bare JSON that lacks its line end; drop an incomplete event.

        The specification discards an event without its blank line.
        """
        if self._line.startswith(b"{"):
            yield Event(bytes(self._line), bare=True, start=self._line_start)
        self._line.clear()

    def _keep(self, piece: bytes) -> None:
        """Add to the current line within the limit, but always its first byte.

        A line without any byte would count as blank and end the event.
        """
        room = self._limit - self._data_size - len(self._line)
        self._line += piece[: max(room, 0 if self._line else 1)]

    def _end_line(self, start: int) -> Iterator[Event]:
        line = bytes(self._line)
        self._line.clear()
        if start == 0:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            yield from self._dispatch()
        elif line.startswith(b"{"):
            yield Event(line, bare=True, start=start)
        else:
            self._take_field(line, start)

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
