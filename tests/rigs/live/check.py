"""One check: its request, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.rigs.live.model_choice import ModelChoice
from tests.rigs.live.request import LiveRequest

# Scenarios with valid responses: a model may run on either engine, with reasoning or without.
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

    `accepted`: stub scenarios whose response is accepted as well as the usual one. `facts`: derives
    further facts from the parsed response, as numbers and fixed text. `on_request`: runs only with
    --only.
    """

    id: str
    what: str
    cost: Cost
    build: Callable[[ModelChoice], LiveRequest]
    accepted: tuple[str, ...] = ()
    facts: Callable[[Any, ModelChoice], list[str]] | None = None
    on_request: bool = False
