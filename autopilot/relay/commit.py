"""Commit policies, which decide when a 2xx response can be relayed (contract §6).

Until then the exchange holds its bytes, and another candidate can still replace it. Afterwards the
exchange relays them verbatim. A decision depends on the bytes only, never on the boundaries of
chunks.
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
    """A decision about the bytes held so far."""

    HOLD = "wait for more"
    COMMIT = "relay them"
    ERROR = "the response reports an error"
    EMPTY = "the response ended without an answer"


class CommitPolicy(Protocol):
    """Inspects a 2xx response as its body arrives, and decides when to relay it."""

    @property
    def answered(self) -> bool:
        """Whether part of the answer has arrived, even if it is still held."""

    def feed(self, data: bytes) -> CommitDecision:
        """Inspect more body bytes, and decide."""

    def end(self) -> CommitDecision:
        """Decide after a clean end of the response; never ``HOLD``."""


class FirstByte:
    """Commits at the first body byte, or at a clean end without one."""

    answered = False

    def feed(self, data: bytes) -> CommitDecision:
        """See `CommitPolicy`."""
        return CommitDecision.COMMIT

    def end(self) -> CommitDecision:
        """See `CommitPolicy`."""
        return CommitDecision.COMMIT


class FirstContent:
    """Commits at the first event that carries part of the answer.

    Comments do not count as events. A response without part of an answer in `MAX_HELD_EVENTS`
    events or `MAX_HELD_BYTES` bytes is committed as well, to bound memory and delay.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._events = Events(MAX_HELD_BYTES)
        self._event_count = 0
        self._room = MAX_HELD_BYTES
        self.answered = False

    def feed(self, data: bytes) -> CommitDecision:
        """See `CommitPolicy`."""
        room, self._room = self._room, self._room - len(data)
        decision = self._decide(self._events.feed(data[:room]))
        return (
            CommitDecision.COMMIT
            if decision is CommitDecision.HOLD and self._room < 0
            else decision
        )

    def end(self) -> CommitDecision:
        """See `CommitPolicy`."""
        decision = self._decide(self._events.close())
        return CommitDecision.EMPTY if decision is CommitDecision.HOLD else decision

    def _decide(self, events: Iterable[Event]) -> CommitDecision:
        for event in events:
            self._event_count += 1
            match meaning(event, self._dialect):
                case Meaning.ERROR:
                    return CommitDecision.ERROR
                case Meaning.DONE:
                    return CommitDecision.EMPTY
                case Meaning.CONTENT | Meaning.FINISH:
                    self.answered = True
                    return CommitDecision.COMMIT
            if self._event_count >= MAX_HELD_EVENTS:
                return CommitDecision.COMMIT
        return CommitDecision.HOLD


class WholeStream:
    """Commits at the clean end of a stream with a finish reason, or beyond ``max_bytes``."""

    def __init__(self, dialect: Dialect, max_bytes: int) -> None:
        self._dialect = dialect
        self._events = Events(max_bytes)
        self._room = max_bytes
        self._finished = False
        self.answered = False

    def feed(self, data: bytes) -> CommitDecision:
        """See `CommitPolicy`."""
        room, self._room = self._room, self._room - len(data)
        if self._has_error(self._events.feed(data[:room])):
            return CommitDecision.ERROR
        return CommitDecision.COMMIT if self._room < 0 else CommitDecision.HOLD

    def end(self) -> CommitDecision:
        """See `CommitPolicy`."""
        if self._has_error(self._events.close()):
            return CommitDecision.ERROR
        return CommitDecision.COMMIT if self._finished else CommitDecision.EMPTY

    def _has_error(self, events: Iterable[Event]) -> bool:
        """Inspect ``events``, and return whether one of them reports an error."""
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
    """Commits at the clean end of a response that is not a stream, or beyond ``max_bytes``."""

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

    The last candidate commits at its first byte even under ``content``, since none could replace
    it; only ``complete`` still waits, as the client asked for an answer in full or none.
    """
    if commit is Commit.COMPLETE:
        return WholeStream(dialect, max_bytes) if is_stream else WholeBody(max_bytes)
    if commit is Commit.CONTENT and is_stream and not last:
        return FirstContent(dialect)
    return FirstByte()
