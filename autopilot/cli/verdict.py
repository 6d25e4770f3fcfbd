"""One check and what it came to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a check ended; only FAIL makes the whole fail."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was checked, on what, and the result in a few words without secrets."""

    check: str
    subject: str
    state: State
    detail: str
