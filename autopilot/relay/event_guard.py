"""The guard that reads the events of a committed stream, which finds its end and its faults.

A chunk of complete events in which none of the dialect's marks occurs costs a few searches and no
parsing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from autopilot.http.dialect import Dialect
from autopilot.relay.dialect import (
    MARKS,
    SIGNS,
    TERMINATORS,
    Meaning,
    Reading,
    error_text,
    is_error,
    read_event,
)
from autopilot.relay.sse import BARE_GOES_ON, BYTE_ORDER_MARK, CR, Event, Events

GAVE_UP = "the model gave the answer up"
_MAX_BARE = 65536
MAX_EVENT = 262144
# Held bytes that are read whole; of more, which only `complete` holds, so many of the end are.
_MOST_READ, _END = 262144, 65536
_BLANK_LINES = (b"\n\n", b"\r\n\r\n", b"\r\r")
# Events and lines that may be read one by one: so many at first, and later as many as honest
# answers need for their size. An upstream that sends more is relayed unread, up to its terminator.
_MOST_LOOKS = 1024.0
_LOOKS_PER_BYTE = 1 / 512
_BYTES_PER_LOOK = 4096
# What 64 KiB of bare JSON count that turn out not to end there: they take as long to search.
_LONG_BARE_LOOKS = 512.0
_MAX_INDENT = 1024
# Of an event over `MAX_EVENT` only this much is read.
_HEAD = 1024
_FIELD, _NEXT_FIELD, _FEW = b"data: ", b"\n\ndata: ", 7
_USUAL = re.compile(rb"data: ?+([^\r\n]*+)(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_DONE_EVENT = b"data: [DONE]\n\n"
_DONE_MARK = b"[DONE]"
_DONE = re.compile(rb"(?<![^\r\n])data: ?\[DONE\][\r\n]++\Z")
_LINE_END = re.compile(rb"(?>\r\n|\n|\r)")
_EVENT_END = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
# The last end of an event, found from behind. One that ends with CR may go on with LF.
_LAST_END = re.compile(rb"(?s:.*)(?:\n\n|(?:\n\r|\r\r)(?:\n|(?=[^\n])))")
_DATA = re.compile(rb"data(?<![^\r\n\xbf].{4})(?=[:\r\n])")
# The beginning of JSON in place of a field, perhaps indented, or of what may still become it.
_BARE = rb"(?:\xef\xbb\xbf|\xef\xbb?\Z)?[ \t]*+(?:[{\[]|\Z)"
_BARE_FIRST = re.compile(_BARE)
_BARE_LINE = re.compile(rb"[\r\n]" + _BARE)
# Where a line ends that may be the last of bare JSON, or behind which it cannot go on.
_BARE_STOP = re.compile(
    rb"[}\]][ \t]*+(?=[\r\n])|(?>\r\n|\n|\r)(?=[^\r\n%b])" % re.escape(b"".join(BARE_GOES_ON))
)
# A sign may begin so many bytes before the mark in it, or before the end of a chunk.
_SIGN_ROOM = 32
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"')
_TYPE = re.compile(rb'"type"[ \t]*+:[ \t]*+"([a-z_.]+)"')
# What has been relayed of an answer, by the meaning of one more event; an error stays.
_PROGRESS: Mapping[Meaning, Meaning] = {
    Meaning.CONTENT: Meaning.CONTENT,
    Meaning.FINISH: Meaning.CONTENT,
    Meaning.COMPLETED: Meaning.CONTENT,
    Meaning.ERROR: Meaning.ERROR,
    Meaning.FAILED: Meaning.ERROR,
    Meaning.OWN_ERROR: Meaning.OWN_ERROR,
}
_CONTENT = Reading(Meaning.CONTENT)
_UNSETTLED = frozenset({Meaning.EMPTY, Meaning.CONTENT})


class EventGuard:
    """Finds the end of an answer, and what ends it early although SSE parsers would not notice.

    ``choices`` is how many answers the request asks for; ``said``: part of an answer precedes.
    The bytes of an incomplete event are relayed, and kept until it can be judged. Held back is only
    a line that may be bare JSON, until it is complete; over 64 KiB it passes unparsed. Events over
    256 KiB are judged by their beginning.
    """

    spliced = False
    _looks_per_byte = _LOOKS_PER_BYTE
    _strict = False

    def __init__(
        self, dialect: Dialect = Dialect.COMPLETIONS, choices: int = 1, said: bool = False
    ) -> None:
        self._dialect = dialect
        self._marks = MARKS[dialect]
        self._marks_and_done = (*self._marks, _DONE_MARK)
        self._mark_at: dict[bytes, int] = {}
        self._sign = SIGNS[dialect]
        self._looks = _MOST_LOOKS
        self._choices = choices
        self._finished: set[int] = set()
        self.meaning = Meaning.CONTENT if said else Meaning.EMPTY
        self.ended = self.done = False
        self.fault: str | None = None
        # The current event as far as it has arrived, of which the last `_held` bytes are held back.
        self._event = bytearray()
        self._held = 0
        # The held JSON is searched, and its brackets are counted, up to these offsets in it.
        self._searched = self._counted = self._depth = 0
        # Whether the current event has something to be read.
        self._signed = False
        # The beginning of an event that is too long to be kept.
        self._long: bytes | None = None
        # The offset of the event read last in its block, which may begin with stray lines.
        self._fault_at = 0
        # Whether a chunk without marks can be relayed without inspection.
        self._quick = said

    @property
    def whole(self) -> bool:
        """See `StreamGuard`."""
        return self.meaning is Meaning.CONTENT and len(self._finished) >= self._choices

    @property
    def at_boundary(self) -> bool:
        """See `StreamGuard`."""
        relayed = bytes(self._event[: len(self._event) - self._held])
        over = not relayed.strip(b"\r\n") or relayed.endswith((b"\r\r", b"\r\n\r"))
        return over and self._long is None

    def pass_held(self, held: bytes) -> bytes:
        """See `StreamGuard`.

        The commit policy has judged them as they arrived. Of megabytes the guard therefore reads
        the end alone, for the terminator: all of them would block the reactor for too long.
        """
        if len(held) <= _MOST_READ:
            return self.feed(held)
        rest = len(held) - _END
        # From the end of an event, if one is near; the middle of a long one means nothing.
        near = max(0, rest - _MOST_READ)
        places = ((held.rfind(blank, near, rest), blank) for blank in _BLANK_LINES)
        cut = max((at + len(blank) for at, blank in places if at >= 0), default=rest)
        return held[:cut] + self.feed(held[cut:])

    def feed(self, data: bytes) -> bytes:
        """See `StreamGuard`."""
        # The hot path of every guarded chunk. Lines of other kinds than these two, events that end
        # elsewhere than the chunk, and rare events are inspected.
        if self._quick and data.endswith(b"}\n\n") and CR not in data:
            lines = data.count(b"\n")
            if (
                (lines == 2 and data.startswith(b"data: {"))
                or (lines == 3 and data.startswith(b"event: ") and b"\ndata: {" in data)
                or _has_only_events(data, lines)
            ):
                find = data.find  # `in` would try to read each mark as a number first
                for mark in self._marks:
                    if find(mark) >= 0:
                        break
                else:
                    return data
        return self._inspect(data)

    def end(self) -> bytes:
        """See `StreamGuard`."""
        if self.ended:
            return b""
        event = self._event
        start = len(event) - self._held
        if self._held and self._is_fault(bytes(event[start:])):
            return self._stop(0, start, start)
        rest, self._held = bytes(event[start:]), 0
        if event.endswith(b"\r") and (found := _EVENT_END.search(event, max(0, len(event) - 3))):
            self._ends(bytes(event[: found.end()]), usual=None)
        return rest if self.fault is None else b""

    def _inspect(self, data: bytes) -> bytes:
        """Judge the events that ``data`` completes; return what may be relayed now."""
        if self.ended:
            return b""
        self._looks = min(self._looks + len(data) * self._looks_per_byte, _MOST_LOOKS)
        usual = data.startswith(_FIELD) and data.endswith(b"\n\n") and CR not in data
        if usual and not self._event:
            values = data[len(_FIELD) : -2].split(_NEXT_FIELD, _FEW)
            # A few events of one line each, as most chunks are.
            if data.count(b"\n") == 2 * len(values):
                return self._pass(data, values)
        return self._scan(data)

    def _scan(self, data: bytes) -> bytes:
        """Do the same for a chunk of any form."""
        text = self._event
        known = len(text)
        relayed = known - self._held
        text += data
        # Offsets of the current event, of the first byte not read, and of where its end may begin.
        at, line, near, free = 0, relayed, max(0, known - 3), relayed
        look = _Search(self._next_sign, known - _SIGN_ROOM)
        bare = _Search(self._next_bare, line)
        self._mark_at = dict.fromkeys(self._marks_and_done, -1)
        while True:
            signed = at if self._signed else min(look.at(text, at), bare.at(text, line))
            # What lies between is passed over, as its events need not be read.
            stop = _last_end(text, max(at, near), min(signed + 1, len(text)))
            if stop > at and not self._signed:
                at = line = stop
            found = _EVENT_END.search(text, max(signed, near))
            if found is not None and found.end() == len(text) and text.endswith(b"\r"):
                found = None  # the blank line may end in CRLF
            stop = len(text) if found is None else found.end()
            block = b"" if found is None else bytes(text[at:stop])
            # The usual event is one line, which has no room for bare JSON.
            match = _USUAL.fullmatch(block)
            usual = None if match is None else match[1]
            if usual is None:
                free = self._read_lines(text, line, stop, complete=found is not None)
                if self.fault is not None:
                    return self._stop(at, relayed, free)
                if found is None:
                    self._signed = self._signed or look.at(text, at) < len(text)
                    break
            if self._ends(block, usual):
                return self._stop(at, relayed, stop if self.done else at + self._fault_at)
            at = line = near = stop
            self._long, self._signed = None, False
        if self._signed and self._gives_up(text, at):
            return self._stop(at, relayed, at + self._fault_at)
        passed = data if relayed == known and free == len(text) else bytes(text[relayed:free])
        self._held = len(text) - free
        self._keep(text, at)
        self._quick = not text and self.meaning is not Meaning.EMPTY
        return passed

    def _pass(self, data: bytes, values: list[bytes]) -> bytes:
        """Judge a few events that are all of a chunk; return what may be relayed of it."""
        at = 0
        for value in values:
            stop = at + len(_FIELD) + len(value) + 2
            if self._ends(data[at:stop], value):
                self._event += data
                return self._stop(at, 0, stop if self.done else at)
            at = stop
        self._quick = self.meaning is not Meaning.EMPTY
        return data

    def _next_sign(self, text: bytearray, start: int) -> int:
        """Return the offset of the next byte for which its event must be read; the end if none."""
        # Until part of an answer has been relayed, and by the strict guard, each event is read.
        if self.meaning is Meaning.EMPTY or (self._strict and self._looks >= 1):
            found = _DATA.search(text, start)
            return len(text) if found is None else found.start()
        places = self._mark_at
        for mark, place in places.items():
            if place < start:
                at = text.find(mark, start) if self._looks >= 1 or mark == _DONE_MARK else -1
                places[mark] = len(text) if at < 0 else at
        first = min(places.values())
        if first < len(text):
            found = self._sign.search(text, max(start, first - _SIGN_ROOM))
            first = len(text) if found is None else found.start()
        return first

    def _next_bare(self, text: bytearray, start: int) -> int:
        """Return the offset of the next line of bare JSON; the end if there is none."""
        if self._looks < 1:
            return len(text)
        if start == 0 and not self._long and _BARE_FIRST.match(text):
            return 0
        found = _BARE_LINE.search(text, _before_bare(text, start, len(text)))
        return len(text) if found is None else found.start() + 1

    def _look(self, size: int) -> bool:
        """Return whether ``size`` bytes may be read, and count that."""
        if self._looks < 1:
            if self.meaning is Meaning.EMPTY:  # or each event would have to be read
                self.meaning = Meaning.CONTENT
            return False
        self._looks -= 1 + size / _BYTES_PER_LOOK
        return True

    def _keep(self, text: bytearray, at: int) -> None:
        """Forget the events before ``at``, and most of one that is too long."""
        del text[:at]
        # What is held back is kept, with the line end before it.
        passed = len(text) - self._held
        if passed > MAX_EVENT:
            self._long = self._long or bytes(text[:_HEAD])
            del text[: passed - 3]

    def _stop(self, at: int, relayed: int, stop: int) -> bytes:
        """End at the offset ``stop``, unless more than that has been relayed."""
        self.ended, self._quick, self._held = True, False, 0
        text = self._event
        stop = max(relayed, stop)
        passed = bytes(text[relayed:stop])
        del text[stop:]
        del text[: stop if self.done else at]
        return passed

    # -- bare JSON

    def _read_lines(self, text: bytearray, line: int, stop: int, *, complete: bool) -> int:
        """Return the offset up to which ``text`` may be relayed: JSON outside events may not yet.

        ``complete``: the event ends at ``stop``, so nothing in it is still to be completed.
        """
        while True:
            if self._looks < 1:
                return stop
            found = _BARE_FIRST.match(text, 0, stop) if not (line or self._long) else None
            start = 0
            if found is None:
                found = _BARE_LINE.search(text, _before_bare(text, line, stop), stop)
                if found is None:
                    return stop
                start = found.start() + 1
            if found.end() == start or text[found.end() - 1] not in b"{[":
                indented = found.end() - start
                return stop if complete or indented > _MAX_INDENT else start
            end = self._bare_end(text, start, stop, complete)
            if end is None or self.fault is not None:
                return start
            line, self._searched, self._counted, self._depth = end, 0, 0, 0

    def _bare_end(self, text: bytearray, start: int, stop: int, complete: bool) -> int | None:
        """Return the offset at which bare JSON ends that is no error; None if it is incomplete."""
        limit = min(stop, start + _MAX_BARE + 1)
        for found in _BARE_STOP.finditer(text, start + self._searched, limit):
            end = found.end()
            if text[found.start()] not in b"}]" or not self._look(0):
                return self._next_line(text, found.start(), stop)
            part = _STRING.sub(b"", bytes(text[start + self._counted : end]))
            opened, listed, closed, ended = map(part.count, (b"{", b"[", b"}", b"]"))
            self._depth += opened + listed - closed - ended
            self._counted = self._searched = end - start
            if self._depth <= 0:
                if self._look(end - start) and self._is_fault(bytes(text[start:end])):
                    return None
                return self._next_line(text, end, stop)
        if complete:
            return stop
        if stop - start > _MAX_BARE:
            self._looks -= _LONG_BARE_LOOKS
            return self._next_line(text, limit - 1, stop)
        # Blanks may stand between a bracket and the end of its line, which is yet to come.
        rest = bytes(text[start + self._searched : stop]).rstrip(b" \t")
        self._searched = max(self._searched, self._searched + len(rest) - 2)
        return None

    @staticmethod
    def _next_line(text: bytearray, at: int, stop: int) -> int:
        found = _LINE_END.search(text, at, stop)
        return stop if found is None else found.end()

    def _is_fault(self, bare: bytes) -> bool:
        """Return whether bare JSON reports an error, and set the fault if so."""
        bare = bare.strip().removeprefix(BYTE_ORDER_MARK)
        if len(bare) > _MAX_BARE or not is_error(bare):
            return False
        reported = read_event(Event(bare, bare=True), self._dialect).meaning
        if reported is Meaning.OWN_ERROR and self.meaning in _UNSETTLED and not self.whole:
            self.meaning = reported
        text = (error_text(bare) or "").partition("\n")[0][:200]
        self.fault = f"upstream reported an error: {text}" if text else "upstream reported an error"
        return True

    # -- events

    def _ends(self, block: bytes, usual: bytes | None) -> bool:
        """Note what a complete event means, unless it can mean nothing new.

        ``usual`` is its data if it has only one line of that. Return whether the stream ends.
        """
        if block == _DONE_EVENT:
            self.ended = self.done = True
        elif self._long is not None or len(block) > MAX_EVENT:
            self._note(self._read_long(self._long or block[:_HEAD]))
        elif (
            self.meaning is not Meaning.EMPTY
            and not self._strict
            and self._sign.search(block) is None
        ):
            pass
        elif usual is not None and self._looks >= 1:
            self._looks -= 1 + len(block) / _BYTES_PER_LOOK  # as `_look`, without its call
            self._fault_at = 0
            self._note(read_event(Event(usual), self._dialect))
        elif self._look(len(block)):
            for event in Events(MAX_EVENT).feed(block):
                if not event.bare:
                    self._fault_at = event.start
                    self._note(read_event(event, self._dialect))
        elif _DONE.search(block):
            self.ended = self.done = True
        return self.ended

    def _gives_up(self, text: bytearray, at: int) -> bool:
        """Return whether the engine gave up, by an event of which only the blank line is missing.

        Some servers send that separately, and the rest would be relayed by then.
        """
        if text.endswith(b"}\n", at) and self._look(len(text) - at):
            for event in Events(MAX_EVENT).feed(bytes(text[at:]) + b"\n"):
                reading = read_event(event, self._dialect)
                if reading.meaning is Meaning.GAVE_UP:
                    self._fault_at = event.start
                    self._note(reading)
        return self.fault is not None

    def _read_long(self, head: bytes) -> Reading:
        """Return the meaning of an event by its beginning; one so long holds part of an answer."""
        found = None if self._dialect is Dialect.COMPLETIONS else _TYPE.search(head)
        if found is None:
            return _CONTENT
        return read_event(Event(b'{"type":"%b"}' % found[1]), self._dialect)

    def _note(self, reading: Reading) -> None:
        meaning = reading.meaning
        if meaning is Meaning.GAVE_UP:
            self.fault = GAVE_UP
            self.ended = True
            self._finished.clear()
            return
        self._finished.update(reading.finished)
        if self.meaning in _UNSETTLED:
            self.meaning = _PROGRESS.get(meaning, self.meaning)
        if meaning in TERMINATORS:
            self.ended = self.done = True


class _Search:
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


def _before_bare(text: bytearray, start: int, stop: int) -> int:
    """Return where to search for bare JSON from: without a bracket only the last line may be it."""
    start = max(0, start - 1)
    if text.find(b"{", start, stop) >= 0 or text.find(b"[", start, stop) >= 0:
        return start
    return max(start, text.rfind(b"\n", start, stop), text.rfind(b"\r", start, stop))


def _last_end(text: bytearray, start: int, end: int) -> int:
    """Return the offset behind the last end of an event between two offsets; 0 without one."""
    if text.find(b"\r", start, end) < 0:
        return text.rfind(b"\n\n", start, end) + 2 if text.find(b"\n\n", start, end) >= 0 else 0
    found = _LAST_END.match(text, start, end)
    return 0 if found is None else found.end()


def _has_only_events(data: bytes, lines: int) -> bool:
    """Return whether each of the ``lines`` is a field of JSON or of an event's name, or blank."""
    fields = data.count(b"\ndata: {") + data.count(b"\nevent: ")
    return lines == fields + data.startswith((b"data: {", b"event: ")) + data.count(b"\n\n")
