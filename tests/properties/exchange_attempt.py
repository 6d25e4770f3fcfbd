"""One model's turn in the engine's model: what is known of it, and how long it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from tests.properties import exchange_rules as rules
from tests.properties.exchange_replies import Event, Reply
from tests.unit.relay.upstreams import JSON


class Phase(Enum):
    """How far a request has come."""

    WAITING = "a model was asked"
    READING = "it answered with an error whose body is read"
    HOLDING = "it answered with a 2xx that is held back"
    PAUSING = "it asked for a moment"
    RELAYING = "its response is committed"
    OVER = "nothing more may happen"


class Times(NamedTuple):
    """The deadlines, in seconds."""

    connect: float
    header: float
    unary: float
    first_body_byte: float
    idle: float
    error_body: float
    failover_after: float
    plain_failover_after: float
    total: float


@dataclass(frozen=True)
class Terms:
    """What one request may expect: the settings, and what its client asked for.

    ``larger`` names the models that are known to read more than a model does.
    """

    candidates: tuple[str, ...]
    mode: str
    streams: bool
    commit: str
    policy: str
    guard: str
    shapes: bool
    body_size: int
    max_attempts: int
    most_held: int
    times: Times
    larger: Mapping[str, frozenset[str]]


class Read(NamedTuple):
    """What one read of an upstream's socket brought of a response.

    ``tail`` is what only the clean end completes.
    """

    reply: Reply | None = None
    body: bytes = b""
    events: tuple[Event, ...] = ()
    tail: tuple[Event, ...] = ()
    ended: bool = False
    malformed: bool = False


class Due(NamedTuple):
    """A deadline, and what has happened when it passes.

    ``allowance``: it ends an attempt only for another candidate's sake.
    """

    at: float
    reason: str
    allowance: bool = False


@dataclass
class Attempt:
    """One model's turn.

    ``last``: nobody is left to turn to. ``dialled``: since when a connection is being opened.
    ``settled``: its error is the client's, and only the rest of its body is waited for.
    ``given_up``: how many attempts before this one gave way when their allowance ran out.
    """

    model: str
    last: bool
    started: float
    given_up: int = 0
    dialled: float | None = None
    reused: bool = False
    replayed: bool = False
    heard: bool = False
    reply: Reply | None = None
    head_at: float = 0.0
    body_at: float = 0.0
    body: bytes = b""
    events: list[Event] = field(default_factory=list)
    ended: bool = False
    broken: bool = False
    settled: bool = False
    failed: bool = False

    @property
    def ends_with_connection(self) -> bool:
        """Whether the end of the connection is the end of the response: of JSON, if it is whole."""
        if self.reply is None or self.reply.framing.name != "CLOSE":
            return False
        return self.reply.kind != JSON or self.body in (b"", self.reply.document)

    def dues(self, phase: Phase, terms: Terms) -> list[Due]:
        """The deadlines of this attempt before its commit."""
        match phase:
            case Phase.WAITING:
                return self._dues_of_waiting(terms)
            case Phase.READING:
                return [Due(self.head_at + terms.times.error_body, "error_body")]
            case _:
                return self._dues_of_holding(terms)

    def _dues_of_waiting(self, terms: Terms) -> list[Due]:
        times = terms.times
        limit = times.header if terms.streams else times.unary
        dues = [*self._patience(terms), Due(self.started + limit, "header_timeout")]
        if self.dialled is not None:
            dues.append(Due(self.dialled + times.connect, "connect_timeout"))
        return dues

    def _dues_of_holding(self, terms: Terms) -> list[Due]:
        times = terms.times
        assert self.reply is not None
        answered = rules.answered(self.reply, len(self.body), self.events, terms.most_held)
        patience = self._patience(terms)
        if answered and patience and terms.streams:
            wait = patience[0].at - self.started
            patience = [Due(self.body_at + wait, "stalled", True)]
        if not self.body:
            limit = Due(self.head_at + times.first_body_byte, "first_body_byte_timeout")
        else:
            reason = "stalled" if answered else "first_body_byte_timeout"
            limit = Due(self.body_at + times.idle, reason)
        return [*patience, limit]

    def _patience(self, terms: Terms) -> list[Due]:
        """While another candidate is left there is less time: an allowance.

        One that ran out doubles the next; that of a plain answer runs out once.
        """
        if self.last:
            return []
        if not terms.streams:
            allowance = terms.times.plain_failover_after
            return [] if self.given_up else [Due(self.started + allowance, "plain_timeout", True)]
        reason = "header_timeout" if self.reply is None else "first_body_byte_timeout"
        allowance = (terms.times.failover_after + terms.body_size / 8000) * 2**self.given_up
        return [Due(self.started + allowance, reason, True)]
