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
    """The phase of a request."""

    WAITING = "a request was sent to a model"
    READING = "the model responded with an error whose body is read"
    HOLDING = "the model responded with a 2xx that is held back"
    PAUSING = "the model requested a pause"
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
    """The settings that apply to one request, and what its client requested.

    ``larger`` names the models with a known larger context than a model's.
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
    """The part of a response that one read of an upstream's socket returned.

    ``tail`` is completed only by the clean end.
    """

    reply: Reply | None = None
    body: bytes = b""
    events: tuple[Event, ...] = ()
    tail: tuple[Event, ...] = ()
    ended: bool = False
    malformed: bool = False


class Due(NamedTuple):
    """A deadline, and the event when it expires."""

    at: float
    reason: str
    allowance: bool = False


@dataclass
class Attempt:
    """One attempt.

    ``last``: no candidate follows. ``dialled``: when the connection attempt started. ``settled``:
    its error is relayed, and only the rest of its body is outstanding. ``given_up``: the number of
    earlier attempts that ended when their allowance expired.
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
        """Whether the connection's end is the end of the response."""
        if self.reply is None or self.reply.framing.name != "CLOSE":
            return False
        return self.reply.kind != JSON or self.body in (b"", self.reply.document)

    def dues(self, phase: Phase, terms: Terms) -> list[Due]:
        """Yield the deadlines of this attempt before its commit."""
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
        elif patience:
            return patience
        else:
            reason = "stalled" if answered else "first_body_byte_timeout"
            limit = Due(self.body_at + times.idle, reason)
        return [*patience, limit]

    def _patience(self, terms: Terms) -> list[Due]:
        """Return the time to the first content, shorter while another candidate is left."""
        if self.last:
            return []
        if not terms.streams:
            allowance = terms.times.plain_failover_after
            return [] if self.given_up else [Due(self.started + allowance, "plain_timeout", True)]
        reason = "header_timeout" if self.reply is None else "first_body_byte_timeout"
        allowance = (terms.times.failover_after + terms.body_size / 8000) * 2**self.given_up
        return [Due(self.started + allowance, reason, True)]
