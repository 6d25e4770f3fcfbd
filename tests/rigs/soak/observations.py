"""Observations of one request: by the client, the upstream, and the router's log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.rigs.soak.acts import Act
from tests.rigs.soak.requests import SoakRequest


@dataclass(slots=True)
class Attempt:
    """One request as received by the upstream. Times are monotonic.

    `intact`: its body equals the client's. `sent`: bytes sent so far, the last of them at `spoke`.
    `played`: the whole act was sent. `by_router`: the router closed the connection, before that or
    after it; `ended` is None while the connection is open and the act incomplete.
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
    def sent_body(self) -> bytes:
        """The part of the body that has been sent."""
        return self.act.body(self.sent)

    @property
    def whole(self) -> bool:
        """Whether a complete, valid response was sent."""
        return self.act.whole and self.played

    @property
    def seconds(self) -> float:
        """The duration."""
        return 0.0 if self.ended is None else self.ended - self.began

    @property
    def silence(self) -> float:
        """The seconds without a byte before the end."""
        return 0.0 if self.ended is None else self.ended - max(self.spoke, self.began)


@dataclass(frozen=True, slots=True)
class Observed:
    """What the client observed.

    `whole`: the framing showed the end of the response. `left`: the client disconnected. `orphan`:
    the connection had legitimately ended before this request's turn. `sent`: the whole request was
    sent. `late`: the response did not end in time.
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
        """Return the first value of a field."""
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
        """Read a record from a line of the log."""
        values = dict(line)
        failovers = values["failovers"]
        if not isinstance(failovers, list):
            raise ValueError("`failovers` is not a list")
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
    """All observations of one request."""

    request: SoakRequest
    attempts: list[Attempt] = field(default_factory=list)
    seen: Observed | None = None
    records: list[Record] = field(default_factory=list)

    @property
    def settled(self) -> bool:
        """Whether nothing but the record is outstanding, if the router is correct."""
        return self.seen is not None and all(each.ended is not None for each in self.attempts)

    @property
    def fault(self) -> str:
        """The kind of the last upstream act."""
        return self.attempts[-1].act.kind if self.attempts else "none"


def error_code(body: bytes) -> str | None:
    """Return the code of an error in OpenAI's format; None for anything else."""
    try:
        error = json.loads(body)["error"]
        return str(error["code"]) if set(error) == {"type", "message", "param", "code"} else None
    except (ValueError, KeyError, TypeError):
        return None
