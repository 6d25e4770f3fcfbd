"""One thing to look at: which request, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.rigs.live.ask import Ask
from tests.rigs.live.cast import Cast

# Scenarios of good answers: any model may run on either engine, and think or not.
ANY_MODEL = ("ok", "ok-vllm", "reasoning", "reasoning-vllm")


class Cost(StrEnum):
    """What the account pays for a call."""

    NOTHING = "nothing"
    REFUSED = "refused before a token"
    TINY = "at most 8 tokens"
    PROMPT = "a long prompt, should it not be refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One call to the platform.

    `likes`: scenarios of the stand-in whose answer would be as good as the usual one. `facts`:
    what else the parsed answer tells, in numbers and our own words. `on_request`: only with --only.
    """

    id: str
    what: str
    cost: Cost
    build: Callable[[Cast], Ask]
    likes: tuple[str, ...] = ()
    facts: Callable[[Any, Cast], list[str]] | None = None
    on_request: bool = False
