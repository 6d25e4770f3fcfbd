"""The result of one check of ``autopilot check``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CheckState(StrEnum):
    """How a check ended; only FAIL makes the command fail."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What was checked, on which subject, and the result in a few words without secrets.

    ``remedy`` says what to do about a failure, unless the detail does.
    """

    check: str
    subject: str
    state: CheckState
    detail: str
    remedy: str = ""
