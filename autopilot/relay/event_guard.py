"""The guard that reads the events of a committed stream, which finds its end and its faults.

A chunk of complete events in which none of the dialect's marks occurs costs a few searches and no
parsing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

from autopilot.http.dialect import Dialect
from autopilot.relay.bare_json import BYTES_PER_LOOK, MOST_LOOKS, BareJson, Looks
from autopilot.relay.dialect import MARKS, SIGNS, read_event, read_long
from autopilot.relay.error_objects import error_text
from autopilot.relay.event_search import (
    EVENT_END,
    Search,
    end_before,
    event_end,
    has_only_events,
    last_end,
)
from autopilot.relay.meaning import TERMINATORS, Meaning, Reading
from autopilot.relay.sse import CR, LF, Event, Events

GAVE_UP = "the model gave the answer up"
MAX_EVENT = 262144
# Held bytes that are read whole; of more, which only `complete` holds, so many of the end are.
_MOST_READ, _END = 262144, 65536
_LOOKS_PER_BYTE = 1 / 512
# The looks of one chunk, which suffice for the smallest events of an answer.
_FEW_LOOKS, _MOST_LOOKS_PER_BYTE = 64, 1 / 48
# Of an event over `MAX_EVENT` only this much is read.
_HEAD = 1024
_FIELD, _NEXT_FIELD, _FEW = b"data: ", b"\n\ndata: ", 7
_USUAL = re.compile(rb"data: ?+([^\r\n]*+)(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_DONE_EVENT = b"data: [DONE]\n\n"
_DONE_MARK = b"[DONE]"
_DONE = re.compile(rb"(?<![^\r\n])data: ?\[DONE\][\r\n]++\Z")
_DATA = re.compile(rb"data(?<![^\r\n\xbf].{4})(?=[:\r\n])")
# A sign may begin so many bytes before the mark in it, or before the end of a chunk.
_SIGN_ROOM = 32
# What has been relayed of an answer, by the meaning of one more event; an error stays.
_PROGRESS: Mapping[Meaning, Meaning] = {
    Meaning.CONTENT: Meaning.CONTENT,
    Meaning.FINISH: Meaning.CONTENT,
    Meaning.COMPLETED: Meaning.CONTENT,
    Meaning.ERROR: Meaning.ERROR,
    Meaning.FAILED: Meaning.ERROR,
    Meaning.OWN_ERROR: Meaning.OWN_ERROR,
}
_UNSETTLED = frozenset({Meaning.EMPTY, Meaning.CONTENT})
# Read through their enum, these would cost each stream as much as a call.
_EMPTY, _GIVEN_UP = Meaning.EMPTY, Meaning.GAVE_UP


class EventGuard:
    """Finds the end of an answer, and what ends it early although SSE parsers would not notice.

    ``choices`` is how many answers the request asks for; ``said``: part of an answer precedes.
    The bytes of an incomplete event are relayed, and kept until it can be judged. Held back is only
    a line that may be bare JSON, until it is complete; over 64 KiB it passes unparsed. Events over
    256 KiB are judged by their beginning.
    """

    spliced = False
    _looks_per_byte = _LOOKS_PER_BYTE
    _most_looks_per_byte = _MOST_LOOKS_PER_BYTE
    _strict = False

    def __init__(
        self, dialect: Dialect = Dialect.COMPLETIONS, choices: int = 1, said: bool = False
    ) -> None:
        self._dialect = dialect
        self._marks = MARKS[dialect]
        self._marks_and_done = (*self._marks, _DONE_MARK)
        self._mark_at: dict[bytes, int] = {}
        self._sign = SIGNS[dialect]
        self._looks = Looks()
        self._choices = choices
        self._finished: set[int] = set()
        self.meaning = Meaning.CONTENT if said else _EMPTY
        self.ended = self.done = self.single = False
        self.fault: str | None = None
        # The current event as far as it has arrived, of which the last `_held` bytes are held back.
        self._event = bytearray()
        self._held = 0
        self._bare = BareJson(self._looks)
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
        cut = end_before(held, rest, rest - _MOST_READ)
        return held[:cut] + self.feed(held[cut:])

    def feed(self, data: bytes) -> bytes:
        """See `StreamGuard`."""
        # The hot path of every guarded chunk. Lines of other kinds than these two, events that end
        # elsewhere than the chunk, and rare events are inspected. It compares slices, and looks for
        # bytes as numbers: a method of bytes takes longer to read its arguments than to answer.
        if self._quick and data[-3:] == b"}\n\n" and CR not in data:
            start = data[:7]
            single = start == b"data: {" and LF not in data[:-2]
            if (
                single
                or (start == b"event: " and data.count(b"\n") == 3 and b"\ndata: {" in data)
                or has_only_events(data, data.count(b"\n"))
            ):
                find = data.find  # `in` would try to read each mark as a number first
                for mark in self._marks:
                    if find(mark) >= 0:
                        break
                else:
                    self.single = single
                    return data
        return self._inspect(data)

    def end(self) -> bytes:
        """See `StreamGuard`."""
        if self.ended:
            return b""
        event = self._event
        start = len(event) - self._held
        if self._held and self._bare.reports(bytes(event[start:])):
            self._report()
            return self._stop(0, start, start)
        rest, self._held = bytes(event[start:]), 0
        if event.endswith(b"\r") and (found := EVENT_END.search(event, max(0, len(event) - 3))):
            self._ends(bytes(event[: found.end()]), usual=None)
        return rest if self.fault is None else b""

    def _inspect(self, data: bytes) -> bytes:
        """Judge the events that ``data`` completes; return what may be relayed now."""
        self.single = False
        if self.ended:
            return b""
        looks = self._looks
        looks.left = min(looks.left + len(data) * self._looks_per_byte, MOST_LOOKS)
        usual = data.startswith(_FIELD) and data.endswith(b"\n\n") and CR not in data
        if usual and not self._event:
            values = data[len(_FIELD) : -2].split(_NEXT_FIELD, _FEW)
            # A few events of one line each, as most chunks are.
            if data.count(b"\n") == 2 * len(values):
                return self._pass(data, values)
        # Later chunks have the rest of the looks: other connections wait for the end of this one.
        most = _FEW_LOOKS + len(data) * self._most_looks_per_byte
        spared = looks.left - most
        if spared <= 0:
            return self._scan(data)
        looks.left = most
        passed = self._scan(data)
        looks.left += spared
        return passed

    def _scan(self, data: bytes) -> bytes:
        """Do the same for a chunk of any form."""
        text = self._event
        known = len(text)
        relayed = known - self._held
        text += data
        # Offsets of the current event, of the first byte not read, and of where its end may begin.
        at, line, near, free = 0, relayed, max(0, known - 3), relayed
        look = Search(self._next_sign, known - _SIGN_ROOM)
        inside = self._long is not None
        bare = Search(partial(self._bare.find, inside=inside), line)
        self._mark_at = dict.fromkeys(self._marks_and_done, -1)
        plain = CR not in text
        while True:
            signed = at if self._signed else min(look.at(text, at), bare.at(text, line))
            # What lies between is passed over, as its events need not be read.
            stop = last_end(text, max(at, near), min(signed + 1, len(text)))
            if stop > at and not self._signed:
                at = line = stop
            end = event_end(text, max(signed, near), plain)
            ended = end > 0
            stop = end if ended else len(text)
            block = bytes(text[at:stop]) if ended else b""
            # The usual event is one line, which has no room for bare JSON.
            match = _USUAL.fullmatch(block)
            usual = None if match is None else match[1]
            if usual is None:
                free = self._bare.read(
                    text, line, stop, complete=ended, inside=self._long is not None
                )
                if self._looks.refused:
                    self._settle()
                if self._bare.error is not None:
                    self._report()
                    return self._stop(at, relayed, free)
                if not ended:
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
        self._quick = not text and self.meaning is not _EMPTY
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
        self._quick = self.meaning is not _EMPTY
        return data

    def _next_sign(self, text: bytearray, start: int) -> int:
        """Return the offset of the next byte for which its event must be read; the end if none."""
        # Until part of an answer has been relayed, and by the strict guard, each event is read.
        if self.meaning is _EMPTY or (self._strict and self._looks.left >= 1):
            found = _DATA.search(text, start)
            return len(text) if found is None else found.start()
        places = self._mark_at
        for mark, place in places.items():
            if place < start:
                at = text.find(mark, start) if self._looks.left >= 1 or mark == _DONE_MARK else -1
                places[mark] = len(text) if at < 0 else at
        first = min(places.values())
        if first < len(text):
            found = self._sign.search(text, max(start, first - _SIGN_ROOM))
            first = len(text) if found is None else found.start()
        return first

    def _look(self, size: int) -> bool:
        """Return whether ``size`` bytes may be read, and count that."""
        looks = self._looks
        if looks.left >= 1:
            looks.left -= 1 + size / BYTES_PER_LOOK
            return True
        self._settle()
        return False

    def _settle(self) -> None:
        """Take the stream for an answer; each event would have to be read until part of one."""
        if self.meaning is _EMPTY:
            self.meaning = Meaning.CONTENT

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

    def _report(self) -> None:
        """Set the fault for bare JSON that reports an error."""
        bare = self._bare.error
        assert bare is not None
        reported = read_event(Event(bare, bare=True), self._dialect).meaning
        if reported is Meaning.OWN_ERROR and self.meaning in _UNSETTLED and not self.whole:
            self.meaning = reported
        text = (error_text(bare) or "").partition("\n")[0][:200]
        self.fault = f"upstream reported an error: {text}" if text else "upstream reported an error"

    # -- events

    def _ends(self, block: bytes, usual: bytes | None) -> bool:
        """Note what a complete event means, unless it can mean nothing new.

        ``usual`` is its data if it has only one line of that. Return whether the stream ends.
        """
        if block == _DONE_EVENT:
            self.ended = self.done = True
        elif self._long is not None or len(block) > MAX_EVENT:
            self._note(read_long(self._long or block[:_HEAD], self._dialect))
        elif self.meaning is not _EMPTY and not self._strict and self._sign.search(block) is None:
            pass
        elif usual is not None and self._looks.left >= 1:
            self._looks.left -= 1 + len(block) / BYTES_PER_LOOK  # as `_look`, without its call
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
                if reading.meaning is _GIVEN_UP:
                    self._fault_at = event.start
                    self._note(reading)
        return self.fault is not None

    def _note(self, reading: Reading) -> None:
        meaning = reading.meaning
        if meaning is _GIVEN_UP:
            self.fault = GAVE_UP
            self.ended = True
            self._finished.clear()
            return
        self._finished.update(reading.finished)
        if self.meaning in _UNSETTLED:
            self.meaning = _PROGRESS.get(meaning, self.meaning)
        if meaning in TERMINATORS:
            self.ended = self.done = True
