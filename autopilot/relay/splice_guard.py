"""The strict guard, which also ends a chat completion at a second generation."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from autopilot.http.dialect import Dialect
from autopilot.relay.dialect import ANSWER_MEMBERS
from autopilot.relay.event_guard import MAX_EVENT, EventGuard
from autopilot.relay.sse import Event, Events

# Behind CR alone an event may still go on with LF; such streams are read ahead in longer pieces.
_EVENT_ENDS = (b"\n\n", b"\r\n\r\n")


class _Choice(msgspec.Struct):
    index: int = 0
    finish_reason: str | None = None
    delta: dict[str, object] | None = None

    def __repr__(self) -> str:
        return f"_Choice({self.index})"


class _Chunk(msgspec.Struct):
    id: str | None = None
    choices: list[_Choice] = []


class SpliceGuard(EventGuard):
    """Also ends a stream at a second generation, seen by a new ``id`` or a repeated ``role``."""

    _looks_per_byte = 1 / 48  # each event is read, and this is the size of the smallest
    _most_looks_per_byte = 2 / 48  # by both guards
    _strict = True

    def __init__(self, choices: int = 1, said: bool = False) -> None:
        super().__init__(Dialect.COMPLETIONS, choices, said)
        self._chunk = msgspec.json.Decoder(_Chunk)
        self._id: str | None = None
        self._opening = b""
        self._with_content: set[int] = set()
        self._with_role: set[int] = set()
        # Held bytes that have been read, and those of them that may be relayed.
        self._read = self._passed = 0
        # The held bytes behind them, which end within an event.
        self._unread = bytearray()

    def read_ahead(self, data: bytes) -> None:
        """Read bytes that are held before commit, which are too many to be read at once then.

        Only whole events are read, so that no part of a second answer is relayed.
        """
        unread = self._unread
        unread += data
        cut = max(unread.rfind(end) + len(end) if end in unread else 0 for end in _EVENT_ENDS)
        if cut or len(unread) > MAX_EVENT:
            whole = bytes(unread[: cut or len(unread)])
            del unread[: len(whole)]
            self._passed += len(self.feed(whole))
            self._read += len(whole)

    def pass_held(self, held: bytes) -> bytes:
        """See `StreamGuard`: what has not been read ahead is read now."""
        self._unread.clear()
        return held[: self._passed] + self.feed(held[self._read :])

    def feed(self, data: bytes) -> bytes:
        """See `StreamGuard`."""
        return super().feed(data) if self._continues(data) else self._inspect(data)

    def _continues(self, data: bytes) -> bool:
        """Return whether all events certainly continue the known answer, without parsing them.

        True for nearly all chunks: each event begins with the known id, none has a role, and all
        belong to the first choice, which already has content.
        """
        return (
            0 in self._with_content
            and data.startswith(self._opening)
            and b'"role"' not in data
            and data.count(b"\n\n") == data.count(self._opening)
            and data.count(b'"index":') == data.count(b'"index":0,')
        )

    def _ends(self, block: bytes, usual: bytes | None) -> bool:
        """Note what an event means, unless it belongs to another generation."""
        for event in () if self._long or not self._look(len(block)) else _events(block, usual):
            if not event.bare and self._splices(event):
                self.fault = "upstream started a second answer in the same stream"
                self._fault_at = event.start
                self.spliced = self.ended = True
                self._finished.clear()
                return True
        return super()._ends(block, usual)

    def _splices(self, event: Event) -> bool:
        try:
            chunk = self._chunk.decode(event.data)
        except (ValueError, RecursionError):
            return False
        if chunk.id:  # some servers leave it empty in chunks that the model did not produce
            if self._id is not None and chunk.id != self._id:
                return True
            self._remember_id(chunk.id, event.data)
        return any(self._restarts(choice) for choice in chunk.choices)

    def _remember_id(self, identity: str, data: bytes) -> None:
        """Remember the id of the stream, and the bytes with which an event of this id begins."""
        if self._id is None:
            self._id = identity
            opening = b'{"id":"%b",' % identity.encode("utf-8", "surrogatepass")
            # Without the id in front, no event takes the short way: `_continues` rejects any CR.
            self._opening = b"data: " + opening if data.startswith(opening) else b"\r"

    def _restarts(self, choice: _Choice) -> bool:
        """Return whether a choice with content begins again with a role.

        Some servers send the role in every delta; for their choices a repeated role proves nothing.
        """
        delta = choice.delta or {}
        role = bool(delta.get("role"))
        if any(map(delta.get, ANSWER_MEMBERS)):
            (self._with_role if role else self._with_content).add(choice.index)
            return False
        again = choice.index in self._with_content and choice.index not in self._with_role
        return role and again and choice.finish_reason is None


def _events(block: bytes, usual: bytes | None) -> Iterable[Event]:
    """Return the event of a block, and its lines of bare JSON if it has any."""
    if usual is not None:
        return (Event(usual),)
    return Events(MAX_EVENT).feed(block)
