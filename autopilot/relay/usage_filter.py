"""The filter that takes the chunk of usage out of a stream whose client did not ask for it.

With ``USAGE=request`` the router asks for usage in the client's place. vLLM and SGLang then send
one more chunk, with ``usage`` and without choices: that chunk is taken out. An upstream that also
has running totals in the chunks with choices, as the platform does, sends usage without being
asked, and then nothing is taken out. So the client gets the bytes that it would have had. Members
of null that some servers add to every other chunk stay: SGLang always has them.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from autopilot.relay.downstream_wrapper import DownstreamFilter
from autopilot.relay.event_search import EVENT_END, event_end, last_end
from autopilot.relay.sse import CR

if TYPE_CHECKING:
    from autopilot.relay.downstream import Downstream

# A chunk of usage has some hundred bytes. A longer event is none, and is never held back.
_MOST_HELD = 4096
# Of a longer event nothing is read.
_MOST_READ = 65536
# Events that look like a report and are none. A stream with more of them passes unread.
_MOST_LOOKS = 64
# An end of an event, and a report, may begin so many bytes before the end of what has arrived.
_END_ROOM, _REPORT_ROOM = 3, 32
_END = b"\n\n"
_REPORT = re.compile(rb'"usage"[ \t]{0,8}+:[ \t]{0,8}+\{')
_BLANK_LINES = re.compile(rb"[\r\n]*+")
# What a chunk of usage does not have, found in its beginning as well: it is one line of a JSON
# object, in which each member `choices` is an empty list.
_NO_USAGE_CHUNK = re.compile(
    rb'\Adata: ?+[^ {]|[\r\n][^\r\n]|"choices"[ \t]*+:[ \t]*+(?>\[[ \t]*+[^ \t\]]|[^ \t\[])'
)
_FIELD = b"data:"


class _Chunk(msgspec.Struct, gc=False):
    choices: list[Raw] | None = None
    usage: Raw = Raw()
    error: Raw = Raw()

    def __repr__(self) -> str:
        return "_Chunk()"


_chunk = msgspec.json.Decoder(_Chunk)


class _Kind(Enum):
    USAGE_CHUNK = auto()
    TOTALS = auto()
    OTHER = auto()


class UsageFilter(DownstreamFilter):
    """A client's side of a stream (see `Downstream`) that does not receive the chunk of usage.

    An event that begins like that chunk is held back until it is whole, or cannot be one. All other
    bytes pass at once, and so does a whole response, which no stream has. ``removed`` is the number
    of bytes taken out.
    """

    __slots__ = ("_event", "_looks", "_passed", "_reads", "_search_from", "removed")

    def __init__(self, response: Downstream) -> None:
        self._response = response
        self._reads = True
        self._looks = _MOST_LOOKS
        # The event that has not ended, of which so many bytes have passed, and where in it the next
        # search for a report begins.
        self._event = bytearray()
        self._passed = self._search_from = 0
        self.removed = 0

    def write(self, data: bytes) -> None:
        """See `Downstream`."""
        whole = not self._event and data.endswith(_END)
        if not self._reads or (whole and _REPORT.search(data) is None):
            passed = data
        else:
            passed = self._filter(data)
        if passed:
            self._response.write(passed)

    def _filter(self, data: bytes) -> bytes:
        """Return the bytes that may pass now."""
        if not self._reads:
            return data
        text, known, passed = self._event, len(self._event), self._passed
        text += data
        kept: list[bytes] = []
        ended = 0  # the offset behind the last event that is known to have ended
        while found := _REPORT.search(text, max(ended, self._search_from)):
            start = self._start_of_event(ended, max(ended, known - _END_ROOM), found.start())
            end = event_end(text, max(found.end(), known - _END_ROOM), CR not in text)
            if not end:
                self._search_from = found.start()
                break
            kind = _kind(bytes(text[start:end]))
            self._looks -= 1
            if kind is _Kind.USAGE_CHUNK and passed <= start:
                kept.append(bytes(text[passed:start]))
                passed = end
                self.removed += end - start
            if kind is _Kind.TOTALS or self._looks <= 0:
                return self._stop(kept, passed)
            ended = self._search_from = end
        else:
            self._search_from = max(ended, len(text) - _REPORT_ROOM)
        start = self._start_of_event(ended, max(ended, known - _END_ROOM), len(text))
        stop = len(text)
        if passed <= start and stop - start <= _MOST_HELD + _END_ROOM:
            stop = start if _may_be_usage_chunk(bytes(text[start:])) else stop
        kept.append(bytes(text[passed:stop]))
        self._keep(start, max(passed, stop))
        return b"".join(kept)

    def _start_of_event(self, ended: int, start: int, end: int) -> int:
        """Return where the event begins that goes on at the offset ``end``, without blank lines.

        One ended at ``ended`` at the latest, and the next may have ended behind ``start``.
        """
        first = last_end(self._event, start, end) or ended
        blank = _BLANK_LINES.match(self._event, first, end)
        return first if blank is None else blank.end()

    def _keep(self, start: int, passed: int) -> None:
        """Forget what is before the offset ``start``, and of an event that is too long nearly all.

        ``passed`` is the offset of the first byte that has not passed.
        """
        text = self._event
        del text[:start]
        self._passed = passed - start
        self._search_from = max(0, self._search_from - start)
        if len(text) > _MOST_READ:
            text[:-_END_ROOM] = b":"  # as a comment it is never taken for a chunk
            self._passed = self._search_from = len(text)

    def _stop(self, kept: list[bytes], passed: int) -> bytes:
        """Return all bytes that have not passed; from now on everything passes unread."""
        kept.append(bytes(self._event[passed:]))
        self._reads = False
        self._event.clear()
        self._passed = 0
        return b"".join(kept)

    def _rest(self) -> bytes:
        """Return what is held back at the end of the stream, unless it is the chunk of usage.

        Behind CR alone an event has ended only if no LF follows.
        """
        rest = bytes(self._event[self._passed :])
        self._event.clear()
        whole = EVENT_END.search(rest)
        if whole and whole.end() == len(rest) and _kind(rest) is _Kind.USAGE_CHUNK:
            self.removed += len(rest)
            return b""
        return rest


def _may_be_usage_chunk(event: bytes) -> bool:
    """Return whether an event that begins so, and has not ended, may be the chunk of usage."""
    text = event.rstrip(b"\r\n")
    begins = text.startswith(_FIELD) or (text and _FIELD.startswith(text))
    return bool(begins) and len(text) <= _MOST_HELD and _NO_USAGE_CHUNK.search(text) is None


def _kind(event: bytes) -> _Kind:
    """Return what a whole event is; an error or what cannot be read is none of the two."""
    text = event.rstrip(b"\r\n")
    if not text.startswith(_FIELD) or len(text) > _MOST_READ:
        return _Kind.OTHER
    try:
        chunk = _chunk.decode(text[len(_FIELD) :])
    except (ValueError, RecursionError):
        return _Kind.OTHER
    if bytes(chunk.error) not in (b"", b"null") or not bytes(chunk.usage).startswith(b"{"):
        return _Kind.OTHER
    if chunk.choices:
        return _Kind.TOTALS
    if chunk.choices is not None and _may_be_usage_chunk(event):
        return _Kind.USAGE_CHUNK
    return _Kind.OTHER
