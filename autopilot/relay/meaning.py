"""What an event of a stream, or a plain answer, may mean."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct


class Meaning(Enum):
    """What an event says about the answer."""

    EMPTY = "nothing of the answer"
    INVALID = "nothing, for its data is neither JSON nor a terminator"
    CONTENT = "part of the answer"
    FINISH = "a choice of the answer is complete"
    COMPLETED = "the last part of the answer; the stream is over"
    DONE = "the stream is over"
    ERROR = "there will be no answer"
    FAILED = "there will be no answer; the stream is over"
    OWN_ERROR = "the request is refused; that is the answer, and the stream is over"
    GAVE_UP = "the engine gave the answer up"

    __hash__ = object.__hash__  # of an enum it is a call of Python


TERMINATORS = frozenset({Meaning.COMPLETED, Meaning.DONE, Meaning.FAILED, Meaning.OWN_ERROR})


class Reading(Struct, frozen=True, gc=False):
    """The meaning of an event; ``finished`` are the indexes of the choices that it completes."""

    meaning: Meaning
    finished: frozenset[int] = frozenset()


# Tuples, for what is looked up in them may be of any type, hashable or not.
GIVE_UP_REASONS = ("abort", "error", "network_error", "cancelled")
GIVE_UP_STATUSES = ("failed", "cancelled")
NOTHING: tuple[object, ...] = (None, "", [], {})
