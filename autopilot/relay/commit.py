"""Commit policies: when enough of a 2xx response has arrived to relay it (contract §6).

Until then its bytes are held and another candidate can still answer. The exchange holds them and
relays them verbatim; a policy only decides. Its decision depends on the bytes alone, never on how
they were cut into chunks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Protocol

from autopilot.http.dialect import Dialect
from autopilot.relay.body_kind import BodyKind
from autopilot.relay.dialect import read_event
from autopilot.relay.meaning import Meaning
from autopilot.relay.plain_answer import judge_document
from autopilot.relay.sse import Event, Events
from autopilot.routing.commit import Commit

MAX_HELD_EVENTS = 64
MAX_HELD_BYTES = 262144
MAX_HELD_PLAIN = 1 << 20


class CommitDecision(Enum):
    """What to do with the bytes held so far."""

    HOLD = "wait for more"
    COMMIT = "relay them"
    ERROR = "the response reports an error"
    GAVE_UP = "the engine gave the answer up"
    INVALID = "an event cannot be read"
    UNTERMINATED = "the response ended before its terminator"
    EMPTY = "the response ended whole, without an answer"


_DECISIONS: Mapping[Meaning, CommitDecision] = {
    Meaning.EMPTY: CommitDecision.HOLD,
    Meaning.INVALID: CommitDecision.HOLD,
    Meaning.CONTENT: CommitDecision.COMMIT,
    Meaning.FINISH: CommitDecision.COMMIT,
    Meaning.COMPLETED: CommitDecision.COMMIT,
    Meaning.DONE: CommitDecision.EMPTY,
    Meaning.ERROR: CommitDecision.ERROR,
    Meaning.FAILED: CommitDecision.ERROR,
    Meaning.OWN_ERROR: CommitDecision.COMMIT,
    Meaning.GAVE_UP: CommitDecision.GAVE_UP,
}
"""What the first event that is not empty decides; a whole plain answer is decided likewise."""
# Read through their enums, these would cost each stream as much as a call.
_HOLD, _COMMIT = CommitDecision.HOLD, CommitDecision.COMMIT
_AT_CONTENT, _AT_COMPLETE, _STREAM = Commit.CONTENT, Commit.COMPLETE, BodyKind.STREAM


class CommitPolicy(Protocol):
    """Judges a 2xx response as its body arrives."""

    @property
    def answered(self) -> bool:
        """Whether part of the answer has arrived, even if it is still held."""

    @property
    def whole(self) -> bool:
        """Whether all of the answer has been seen, so that even a break would end it well."""

    @property
    def meant(self) -> Meaning | None:
        """What the response means as a whole, if the policy has read all of it for that."""

    def feed(self, data: bytes) -> CommitDecision:
        """Inspect more body bytes, and decide."""

    def end(self) -> CommitDecision:
        """Decide after a clean end of the response; never ``HOLD``."""


class FirstByte:
    """Commits at the first body byte; at a clean end without one ``at_end`` decides."""

    answered = whole = False
    meant = None

    def __init__(self, at_end: CommitDecision = CommitDecision.COMMIT) -> None:
        self._at_end = at_end

    def feed(self, data: bytes) -> CommitDecision:
        """See `CommitPolicy`."""
        return CommitDecision.COMMIT

    def end(self) -> CommitDecision:
        """See `CommitPolicy`."""
        return self._at_end


class FirstContent:
    """Commits at the first event that carries part of the answer.

    Comments do not count as events. A response without part of an answer in `MAX_HELD_EVENTS`
    events or `MAX_HELD_BYTES` bytes is committed as well, to bound memory and delay.
    """

    whole = False
    meant = None

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._events = Events(MAX_HELD_BYTES)
        self._seen = 0
        self._room = MAX_HELD_BYTES
        self.answered = False

    def feed(self, data: bytes) -> CommitDecision:
        """See `CommitPolicy`."""
        room, self._room = self._room, self._room - len(data)
        decision = self._judge(self._events.feed(data[:room]))
        return _COMMIT if decision is _HOLD and self._room < 0 else decision

    def end(self) -> CommitDecision:
        """See `CommitPolicy`."""
        decision = self._judge(self._events.close())
        return CommitDecision.UNTERMINATED if decision is _HOLD else decision

    def _judge(self, events: Iterable[Event]) -> CommitDecision:
        for event in events:
            self._seen += 1
            meant = read_event(event, self._dialect).meaning
            decision = _DECISIONS[meant]
            if decision is not _HOLD:
                self.answered = decision is _COMMIT and meant is not Meaning.OWN_ERROR
                return decision
            if self._seen >= MAX_HELD_EVENTS:
                return _COMMIT
        return _HOLD


class WholeStream:
    """Commits at a stream's terminator, or beyond ``max_bytes``.

    A clean end without one will do once all ``choices`` of the answer have a finish reason. An
    event that cannot be read may have held anything, so that the answer is not whole.
    """

    meant = None

    def __init__(self, dialect: Dialect, max_bytes: int, choices: int) -> None:
        self._dialect = dialect
        self._events = Events(max_bytes)
        self._room = max_bytes
        self._choices = choices
        self._finished: set[int] = set()
        self.answered = False

    @property
    def whole(self) -> bool:
        """See `CommitPolicy`; half an event behind the answer would have to be relayed as well."""
        return len(self._finished) >= self._choices and self._events.at_boundary

    def feed(self, data: bytes) -> CommitDecision:
        """See `CommitPolicy`."""
        room, self._room = self._room, self._room - len(data)
        decision = self._judge(self._events.feed(data[:room]))
        return (
            CommitDecision.COMMIT
            if decision is CommitDecision.HOLD and self._room < 0
            else decision
        )

    def end(self) -> CommitDecision:
        """See `CommitPolicy`."""
        decision = self._judge(self._events.close())
        if decision is not CommitDecision.HOLD:
            return decision
        return CommitDecision.COMMIT if self.whole else CommitDecision.UNTERMINATED

    def _judge(self, events: Iterable[Event]) -> CommitDecision:
        for event in events:
            reading = read_event(event, self._dialect)
            match reading.meaning:
                case Meaning.CONTENT:
                    self.answered = True
                case Meaning.FINISH:
                    self.answered = True
                    self._finished |= reading.finished
                case Meaning.COMPLETED:
                    self.answered = True
                    return CommitDecision.COMMIT
                case Meaning.DONE if self.answered:
                    return CommitDecision.COMMIT
                case Meaning.INVALID:
                    return CommitDecision.INVALID
                case Meaning.EMPTY:
                    pass
                case meant:
                    return _DECISIONS[meant]
        return CommitDecision.HOLD


class WholeBody:
    """Commits at the clean end of a response that is not a stream, or beyond ``max_bytes``.

    ``judged``: the whole is JSON, and may turn out to be no answer.
    """

    whole = False

    def __init__(self, max_bytes: int, judged: bool) -> None:
        self._room = max_bytes
        self._parts: list[bytes] | None = [] if judged else None
        self.answered = False
        self.meant: Meaning | None = None

    def feed(self, data: bytes) -> CommitDecision:
        """See `CommitPolicy`."""
        self._room -= len(data)
        if self._parts is not None:
            self._parts.append(data)
        self.answered = True
        return CommitDecision.COMMIT if self._room < 0 else CommitDecision.HOLD

    def end(self) -> CommitDecision:
        """See `CommitPolicy`."""
        if self._parts is None:
            return CommitDecision.COMMIT if self.answered else CommitDecision.EMPTY
        self.meant = judge_document(b"".join(self._parts))
        return decide_plain(self.meant)


def commit_policy(
    commit: Commit, dialect: Dialect, max_bytes: int, choices: int, kind: BodyKind, last: bool
) -> CommitPolicy:
    """Return the policy for one response; ``choices`` is how many answers the request asks for.

    The last candidate commits at its first byte even under ``content``, since none could replace
    it; only ``complete`` still waits, as the client asked for an answer in full or none.
    """
    if commit is _AT_COMPLETE:
        if kind is _STREAM:
            return WholeStream(dialect, max_bytes, choices)
        return WholeBody(max_bytes, judged=kind is BodyKind.JSON)
    if commit is _AT_CONTENT and not last:
        if kind is _STREAM:
            return FirstContent(dialect)
        if kind is BodyKind.JSON:
            return WholeBody(MAX_HELD_PLAIN, judged=True)
        return FirstByte(CommitDecision.EMPTY)
    return FirstByte()


def decide_plain(meant: Meaning) -> CommitDecision:
    """Return the decision on a whole plain answer by its meaning."""
    decision = _DECISIONS[meant]
    return CommitDecision.EMPTY if decision is CommitDecision.HOLD else decision
