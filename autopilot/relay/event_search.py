"""Search for places in a chunk of an event stream, in one pass over its bytes."""

from __future__ import annotations

import re
from collections.abc import Callable

EVENT_END = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
"""The blank line that ends an event, and the line end before it."""
_BLANK_LINES = (b"\n\n", b"\r\n\r\n", b"\r\r")
# The last end of an event, found from behind. One that ends with CR may go on with LF.
_LAST_END = re.compile(rb"(?s:.*)(?:\n\n|(?:\n\r|\r\r)(?:\n|(?=[^\n])))")


class Search:
    """The next place of some kind in a text that is read forwards; searched for when it is passed.

    So each byte is searched once, however many places of another kind come before it.
    """

    __slots__ = ("_at", "_find", "_start")

    def __init__(self, find: Callable[[bytearray, int], int], start: int) -> None:
        self._find = find
        self._start = start
        self._at = -1

    def at(self, text: bytearray, start: int) -> int:
        """Return the first place at or behind ``start``, or the end of the text."""
        if self._at < start:
            self._at = self._find(text, max(self._start, start))
        return self._at


def event_end(text: bytearray, start: int, plain: bool) -> int:
    """Return the offset behind the first end of an event at or behind ``start``; 0 without one.

    ``plain``: no line ends with CR, the usual case.
    """
    if plain:
        at = text.find(b"\n\n", start)
        return at + 2 if at >= 0 else 0
    found = EVENT_END.search(text, start)
    if found is None or (found.end() == len(text) and text.endswith(b"\r")):
        return 0  # the second: the blank line may end in CRLF
    return found.end()


def last_end(text: bytearray, start: int, end: int) -> int:
    """Return the offset behind the last end of an event between two offsets; 0 without one."""
    if text.find(b"\r", start, end) < 0:
        return text.rfind(b"\n\n", start, end) + 2 if text.find(b"\n\n", start, end) >= 0 else 0
    found = _LAST_END.match(text, start, end)
    return 0 if found is None else found.end()


def end_before(text: bytes, end: int, start: int) -> int:
    """Return the offset behind the last blank line before ``end``; ``end`` without one.

    It is looked for from ``start`` on, which may lie before the text.
    """
    places = ((text.rfind(blank, max(0, start), end), blank) for blank in _BLANK_LINES)
    return max((at + len(blank) for at, blank in places if at >= 0), default=end)


def has_only_events(data: bytes, lines: int) -> bool:
    """Return whether each of the ``lines`` is a field of JSON or of an event's name, or blank."""
    fields = data.count(b"\ndata: {") + data.count(b"\nevent: ")
    return lines == fields + data.startswith((b"data: {", b"event: ")) + data.count(b"\n\n")
