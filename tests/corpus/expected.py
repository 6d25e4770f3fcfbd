"""The outcomes in corpus files as values; `corpora` describes their notation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum

from tests.corpus.corpora import CorpusError


class How(StrEnum):
    """The outcome of one request."""

    RELAYED = "relayed"
    ANSWERED = "answered"
    REFUSED = "refused"
    CONTINUE = "continue"
    ABANDONED = "abandoned"


class Then(Enum):
    """The final state of the client's connection."""

    KEPT = "kept"
    WAITING = "waiting"
    CLOSED = "closed"
    LEFT = "left"


@dataclass(frozen=True)
class Answer:
    """One response; ``code`` is the router's, if the case states it."""

    how: How
    status: int
    code: str | None = None


@dataclass(frozen=True)
class Outcome:
    """The outcome of a request case."""

    answers: tuple[Answer, ...]
    then: Then

    @property
    def relays(self) -> int:
        """The number of upstream requests."""
        return sum(each.how in (How.RELAYED, How.ABANDONED) for each in self.answers)

    @property
    def final(self) -> int:
        """The number of requests with an outcome of their own."""
        return sum(each.how is not How.CONTINUE for each in self.answers)

    @classmethod
    def of(cls, text: str) -> Outcome:
        """Read an outcome, or raise a `CorpusError`."""
        *answers, last = text.split(", ")
        if last.startswith(How.REFUSED):
            return cls((*map(_answer, answers), _answer(last)), Then.CLOSED)
        try:
            then = Then(last)
        except ValueError:
            raise CorpusError(f"not an end: {last!r}") from None
        read = tuple(map(_answer, answers))
        if any(each.how is How.REFUSED for each in read):
            raise CorpusError(f"something after a refusal: {text!r}")
        return cls(read, then)


def _answer(text: str) -> Answer:
    match text.split(" "):
        case ["relayed"]:
            return Answer(How.RELAYED, 200)
        case ["continue"]:
            return Answer(How.CONTINUE, 100)
        case ["abandoned"]:
            return Answer(How.ABANDONED, 0)
        case ["answered" | "refused" as how, status]:
            return Answer(How(how), _status(status))
        case ["answered" | "refused" as how, status, code]:
            return Answer(How(how), _status(status), code)
    raise CorpusError(f"not an answer: {text!r}")


class Fate(StrEnum):
    """The fate of an upstream response."""

    ANSWERED = "answered"
    CUT = "cut"
    FAILED = "failed"


@dataclass(frozen=True)
class Verdict:
    """The outcome of a response case."""

    fate: Fate
    status: int
    code: str | None = None
    error_event: bool = False
    alone: bool = False
    """Whether this applies only to the last candidate; otherwise the response is not an answer."""

    @classmethod
    def of(cls, text: str) -> Verdict:
        """Read an outcome, or raise a `CorpusError`."""
        match text.split(" ", 2):
            case ["answered" | "cut" as fate, status]:
                return cls(Fate(fate), _status(status))
            case ["answered" | "cut" as fate, status, "alone"]:
                return cls(Fate(fate), _status(status), alone=True)
            case ["cut", status, "with error event"]:
                return cls(Fate.CUT, _status(status), error_event=True)
            case ["failed", status, code]:
                return cls(Fate.FAILED, _status(status), code)
        raise CorpusError(f"not an outcome: {text!r}")


def _status(text: str) -> int:
    if len(text) != 3 or not text.isdigit():
        raise CorpusError(f"not a status: {text!r}")
    return int(text)
