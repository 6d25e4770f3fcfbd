"""Search for bare JSON in an event stream: JSON in place of fields, which SSE parsers ignore.

Servers that fail in the middle of a stream report their error so. `Looks` bounds what is read of a
stream, bare JSON and events together.
"""

from __future__ import annotations

import re

from msgspec import Struct

from autopilot.relay.error_objects import is_error
from autopilot.relay.sse import BARE_GOES_ON, BYTE_ORDER_MARK

# Events and lines that may be read one by one: so many at first, and later as many as honest
# answers need for their size. An upstream that sends more is relayed unread, up to its terminator.
MOST_LOOKS = 1024.0
BYTES_PER_LOOK = 4096
# What 64 KiB of bare JSON count that turn out not to end there: they take as long to search.
_LONG_BARE_LOOKS = 512.0
_MAX_BARE = 65536
_MAX_INDENT = 1024
_LINE_END = re.compile(rb"(?>\r\n|\n|\r)")
# The beginning of JSON in place of a field, perhaps indented, or of what may still become it.
_BARE = rb"(?:\xef\xbb\xbf|\xef\xbb?\Z)?[ \t]*+(?:[{\[]|\Z)"
_BARE_FIRST = re.compile(_BARE)
_BARE_LINE = re.compile(rb"[\r\n]" + _BARE)
# Where a line ends that may be the last of bare JSON, or behind which it cannot go on.
_BARE_STOP = re.compile(
    rb"[\r\n][^\r\n%b]|[}\]][ \t]*+(?=[\r\n])" % re.escape(b"".join(BARE_GOES_ON))
)
_STRING = re.compile(rb'"[^"\\]*+(?>(?:\\.[^"\\]*+)*)"')


class Looks(Struct, eq=False, gc=False):
    """The number of events and lines of a stream that may still be read one by one.

    ``refused``: more of them came than that.
    """

    left: float = MOST_LOOKS
    refused: bool = False

    def take(self, size: int) -> bool:
        """Return whether ``size`` bytes may be read, and count that."""
        if self.left < 1:
            self.refused = True
            return False
        self.left -= 1 + size / BYTES_PER_LOOK
        return True


class BareJson(Struct, eq=False, gc=False):
    """The bare JSON in the text of one event, or between two.

    JSON is held back until it is complete; over 64 KiB it passes unparsed. ``error``: what turned
    out to report an error. The held JSON is ``searched``, and its brackets are ``counted``, up to
    these offsets in it. ``inside``, in the methods: the text begins within an event.
    """

    looks: Looks
    error: bytes | None = None
    searched: int = 0
    counted: int = 0
    depth: int = 0

    def __repr__(self) -> str:
        return f"BareJson(searched={self.searched})"

    def find(self, text: bytearray, start: int, *, inside: bool) -> int:
        """Return the offset of the next line of bare JSON; the end if there is none."""
        if self.looks.left < 1:
            return len(text)
        if start == 0 and not inside and _BARE_FIRST.match(text):
            return 0
        found = _BARE_LINE.search(text, _before_bare(text, start, len(text)))
        return len(text) if found is None else found.start() + 1

    def read(self, text: bytearray, line: int, stop: int, *, complete: bool, inside: bool) -> int:
        """Return the offset up to which ``text`` may be relayed: JSON outside events may not yet.

        ``complete``: the event ends at ``stop``, so nothing in it is still to be completed.
        """
        while True:
            if self.looks.left < 1:
                return stop
            found = _BARE_FIRST.match(text, 0, stop) if not (line or inside) else None
            start = 0
            if found is None:
                found = _BARE_LINE.search(text, _before_bare(text, line, stop), stop)
                if found is None:
                    return stop
                start = found.start() + 1
            if found.end() == start or text[found.end() - 1] not in b"{[":
                indented = found.end() - start
                return stop if complete or indented > _MAX_INDENT else start
            end = self._end(text, start, stop, complete)
            if end is None or self.error is not None:
                return start
            line, self.searched, self.counted, self.depth = end, 0, 0, 0

    def _end(self, text: bytearray, start: int, stop: int, complete: bool) -> int | None:
        """Return the offset at which bare JSON ends that is no error; None if it is incomplete."""
        looks = self.looks
        limit = min(stop, start + _MAX_BARE + 1)
        for found in _BARE_STOP.finditer(text, start + self.searched, limit):
            end = found.end()
            if text[found.start()] not in b"}]" or not looks.take(0):
                return _next_line(text, found.start(), stop)
            part = _STRING.sub(b"", bytes(text[start + self.counted : end]))
            opened, listed, closed, ended = map(part.count, (b"{", b"[", b"}", b"]"))
            self.depth += opened + listed - closed - ended
            self.counted = self.searched = end - start
            if self.depth <= 0:
                if looks.take(end - start) and self.reports(bytes(text[start:end])):
                    return None
                return _next_line(text, end, stop)
        if complete:
            return stop
        if stop - start > _MAX_BARE:
            looks.left -= _LONG_BARE_LOOKS
            return _next_line(text, limit - 1, stop)
        # Blanks may stand between a bracket and the end of its line, which is yet to come.
        rest = bytes(text[start + self.searched : stop]).rstrip(b" \t")
        self.searched = max(self.searched, self.searched + len(rest) - 2)
        return None

    def reports(self, bare: bytes) -> bool:
        """Return whether bare JSON reports an error, and set ``error`` if so."""
        bare = bare.strip().removeprefix(BYTE_ORDER_MARK)
        if len(bare) > _MAX_BARE or not is_error(bare):
            return False
        self.error = bare
        return True


def _before_bare(text: bytearray, start: int, stop: int) -> int:
    """Return where to search for bare JSON from: without a bracket only the last line may be it."""
    start = max(0, start - 1)
    if text.find(b"{", start, stop) >= 0 or text.find(b"[", start, stop) >= 0:
        return start
    return max(start, text.rfind(b"\n", start, stop), text.rfind(b"\r", start, stop))


def _next_line(text: bytearray, at: int, stop: int) -> int:
    found = _LINE_END.search(text, at, stop)
    return stop if found is None else found.end()
