"""What each side noted of one request: the client, the upstream, and the router's own log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.rigs.soak.asks import Ask
from tests.rigs.soak.replies import Act


@dataclass(slots=True)
class Attempt:
    """One request as it reached the upstream. Times are of the monotonic clock.

    `intact`: its body was that of the ask. `sent`: bytes said so far, the last of them at `spoke`.
    `played`: all of the act was said. `by_router`: the router closed the connection, before or
    after that; `ended` is None while it is still there and the act is not over.
    """

    model: str
    act: Act
    began: float
    reused: bool = False
    intact: bool = True
    sent: int = 0
    spoke: float = 0.0
    played: bool = False
    by_router: bool = False
    ended: float | None = None

    @property
    def said(self) -> bytes:
        """What it has said of a body."""
        return self.act.body(self.sent)

    @property
    def whole(self) -> bool:
        """Whether a complete response was sent, with nothing wrong in it."""
        return self.act.whole and self.played

    @property
    def seconds(self) -> float:
        """How long it took."""
        return 0.0 if self.ended is None else self.ended - self.began

    @property
    def silence(self) -> float:
        """How long nothing was said before it ended."""
        return 0.0 if self.ended is None else self.ended - max(self.spoke, self.began)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the client saw.

    `whole`: the answer's framing said that it was over. `left`: the client went away by itself.
    `orphan`: the connection had ended for good reason before this request's turn. `sent`: all of
    the request was sent. `late`: the answer did not end within any reasonable time.
    """

    began: float
    ended: float
    first_byte: float | None = None
    status: int | None = None
    fields: Mapping[str, Sequence[str]] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = False
    left: bool = False
    orphan: bool = False
    sent: bool = True
    late: bool = False
    wrong: str = ""

    def value(self, name: str) -> str | None:
        """The first value of a field."""
        return next(iter(self.fields.get(name, ())), None)


@dataclass(frozen=True, slots=True)
class Record:
    """The router's record of one request."""

    nonce: str
    outcome: str
    status: int | None
    attempts: int
    candidates: int
    failovers: tuple[str, ...]
    size: int
    model: str | None = None

    @classmethod
    def of(cls, line: Mapping[str, object]) -> Record:
        """A record from a line of the log."""
        values = dict(line)
        failovers = values["failovers"]
        if not isinstance(failovers, list):
            raise ValueError("the failovers are no list")
        return cls(
            nonce=str(values["req_id"]),
            outcome=str(values["outcome"]),
            status=None if values["status"] is None else int(str(values["status"])),
            attempts=int(str(values["attempts"])),
            candidates=int(str(values["candidates"])),
            failovers=tuple(str(each["reason"]) for each in failovers),
            size=int(str(values["bytes"])),
            model=None if values["model"] is None else str(values["model"]),
        )


@dataclass(slots=True)
class Case:
    """Everything about one request."""

    ask: Ask
    attempts: list[Attempt] = field(default_factory=list)
    seen: Seen | None = None
    records: list[Record] = field(default_factory=list)

    @property
    def settled(self) -> bool:
        """Whether nothing more can come, if all is as it should be, but the record."""
        return self.seen is not None and all(each.ended is not None for each in self.attempts)

    @property
    def fault(self) -> str:
        """What the last upstream that was asked did."""
        return self.attempts[-1].act.kind if self.attempts else "none"


def error_code(body: bytes) -> str | None:
    """The code of an error in OpenAI's shape; None when it is none."""
    try:
        error = json.loads(body)["error"]
        return str(error["code"]) if set(error) == {"type", "message", "param", "code"} else None
    except (ValueError, KeyError, TypeError):
        return None
