"""Plays the table of unusual answers: each row in each API, by a client of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from autopilot.observability.records import RequestRecord
from tests.conduct.asking import body
from tests.conduct.endings import PATHS, ROWS, Row
from tests.conduct.seen import NO_MARK, WHOLE, Seen
from tests.conduct.served import QUESTION, Served, direct

TOKENS = 24
# Longer than the longest answer here takes, which is one of two minutes.
_PATIENCE = 200.0
_PROMPTS: dict[str, Any] = {"input": QUESTION, "prompt": QUESTION, "max_tokens": 64}


@dataclass(frozen=True, slots=True)
class Played:
    """What a client saw, what the model that answered it had said, and the router's record."""

    seen: Seen
    said: Seen
    record: RequestRecord

    @property
    def clean(self) -> bool:
        """Whether the response ended as its framing demands."""
        return self.seen.end in (WHOLE, NO_MARK)

    @property
    def reasons(self) -> list[str]:
        """The reasons of the failed attempts."""
        return [each.reason.value for each in self.record.failovers]

    def __str__(self) -> str:
        """Return a short description, as the table prints it."""
        words = [", ".join([*self._answer(), *self.reasons])]
        outcome = self.record.outcome.value
        return " ".join([*words, *([f"[{outcome}]"] if outcome != "completed" else [])])

    def _answer(self) -> Iterator[str]:
        if self.reasons:
            yield "second" if self.seen.body == self.said.body else "not as the second said it"
        elif self.clean:
            yield "as said" if self.seen.body == self.said.body else "ended"
        else:
            yield "cut" if self.said.body.startswith(self.seen.body) else "told"


@cache  # deterministic: virtual time, no randomness
def play_endings(commit: str, *, stream: bool) -> Mapping[tuple[Row, str], Played]:
    """Play every row in every API."""
    # Many clients in a row meet the same failures here.
    served = Served(tokens=TOKENS, commit=commit, cooldown_failures=1000)
    return {(row, api): _play(served, row, api, stream=stream) for row in ROWS for api in PATHS}


def _play(served: Served, row: Row, api: str, *, stream: bool) -> Played:
    request = body(f"stub/{row.scenario},stub/ok", stream=stream, **_PROMPTS)
    seen = served.post(request, path=PATHS[api], key=f"{row.scenario}-{api}")
    said = direct(served.stub.calls()[-1], TOKENS, _PATIENCE)
    return Played(seen, said, served.records[-1])
