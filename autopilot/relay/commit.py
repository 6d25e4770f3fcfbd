"""Commit policies: when enough of a 2xx response has arrived to relay it (contract §6).

Until then its bytes are held and another candidate can still answer. The exchange holds them and
relays them verbatim; a policy only decides. Its decision depends on the bytes alone, never on how
they were cut into chunks.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Protocol

from autopilot.http.dialect import Dialect
from autopilot.relay.dialect import Meaning, meaning
from autopilot.relay.sse import Event, Events
from autopilot.routing.commit import Commit

MAX_HELD_EVENTS = 64
MAX_HELD_BYTES = 262144


class CommitDecision(Enum):
    """What to do with the bytes held so far."""

    HOLD = "wait for more"
    COMMIT = "relay them"
    ERROR = "the response reports an error"
    EMPTY = "the response ended without an answer"


class CommitPolicy(Protocol):
    """Judges a 2xx response as its body arrives."""

    @property
    def answered(self) -> bool:
        """Whether part of the answer has been seen, even if it is still held."""

    def feed(self, data: bytes) -> CommitDecision:
        """More body bytes have arrived."""

    def end(self) -> CommitDecision:
        """The response ended cleanly; never ``HOLD``."""


class FirstByte:
    """Commit at the first body byte, or at a clean end without one."""

    answered = False

    def feed(self, data: bytes) -> CommitDecision:
        """See `CommitPolicy`."""
        return CommitDecision.COMMIT

    def end(self) -> CommitDecision:
        """See `CommitPolicy`."""
        return CommitDecision.COMMIT


class FirstContent:
    """Commit at the first event that carries part of the answer.

    Comments are no events; a response that keeps its answer back for `MAX_HELD_EVENTS` events or
    more than `MAX_HELD_BYTES` is committed as it is.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._events = Events(MAX_HELD_BYTES)
        self._seen = 0
        self._room = MAX_HELD_BYTES
        self.answered = False

    def feed(self, data: bytes) -> CommitDecision:
        """See `CommitPolicy`."""
        room, self._room = self._room, self._room - len(data)
        verdict = self._judge(self._events.feed(data[:room]))
        return (
            CommitDecision.COMMIT if verdict is CommitDecision.HOLD and self._room < 0 else verdict
        )

    def end(self) -> CommitDecision:
        """See `CommitPolicy`."""
        verdict = self._judge(self._events.close())
        return CommitDecision.EMPTY if verdict is CommitDecision.HOLD else verdict

    def _judge(self, events: Iterable[Event]) -> CommitDecision:
        for event in events:
            self._seen += 1
            match meaning(event, self._dialect):
                case Meaning.ERROR:
                    return CommitDecision.ERROR
                case Meaning.DONE:
                    return CommitDecision.EMPTY
                case Meaning.CONTENT | Meaning.FINISH:
                    self.answered = True
                    return CommitDecision.COMMIT
            if self._seen >= MAX_HELD_EVENTS:
                return CommitDecision.COMMIT
        return CommitDecision.HOLD


class WholeStream:
    """Commit at the clean end of a stream that said it was complete, or beyond ``max_bytes``."""

    def __init__(self, dialect: Dialect, max_bytes: int) -> None:
        self._dialect = dialect
        self._events = Events(max_bytes)
        self._room = max_bytes
        self._finished = False
        self.answered = False

    def feed(self, data: bytes) -> CommitDecision:
        """See `CommitPolicy`."""
        room, self._room = self._room, self._room - len(data)
        if self._fails(self._events.feed(data[:room])):
            return CommitDecision.ERROR
        return CommitDecision.COMMIT if self._room < 0 else CommitDecision.HOLD

    def end(self) -> CommitDecision:
        """See `CommitPolicy`."""
        if self._fails(self._events.close()):
            return CommitDecision.ERROR
        return CommitDecision.COMMIT if self._finished else CommitDecision.EMPTY

    def _fails(self, events: Iterable[Event]) -> bool:
        """Take note of ``events``; whether one of them reports an error."""
        for event in events:
            match meaning(event, self._dialect):
                case Meaning.ERROR:
                    return True
                case Meaning.CONTENT:
                    self.answered = True
                case Meaning.FINISH | Meaning.DONE:
                    self.answered = self._finished = True
        return False


class WholeBody:
    """Commit at the clean end of a response that is not a stream, or beyond ``max_bytes``."""

    def __init__(self, max_bytes: int) -> None:
        self._room = max_bytes
        self.answered = False

    def feed(self, data: bytes) -> CommitDecision:
        """See `CommitPolicy`."""
        self.answered = True
        self._room -= len(data)
        return CommitDecision.COMMIT if self._room < 0 else CommitDecision.HOLD

    def end(self) -> CommitDecision:
        """See `CommitPolicy`."""
        return CommitDecision.COMMIT


def commit_policy(
    commit: Commit, dialect: Dialect, max_bytes: int, is_stream: bool, last: bool
) -> CommitPolicy:
    """Return the policy for one response.

    With no candidate left there is nothing to wait for, except wholeness.
    """
    if commit is Commit.COMPLETE:
        return WholeStream(dialect, max_bytes) if is_stream else WholeBody(max_bytes)
    if commit is Commit.CONTENT and is_stream and not last:
        return FirstContent(dialect)
    return FirstByte()
