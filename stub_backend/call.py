"""One call of a model, parsed from the request as the platform parses it.

This includes the platform's strictness: it rejects some bodies that other servers accept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stub_backend.chat import CHAT, TEXT
from stub_backend.dialect import Dialect
from stub_backend.generation import (
    Generation,
    Piece,
    last_user_text,
    sentence,
)
from stub_backend.messages import COUNT_TOKENS, MESSAGES
from stub_backend.native import THINKING
from stub_backend.options import StubOptions
from stub_backend.population import Chute
from stub_backend.problem import Problem
from stub_backend.prompt import TEMPLATE, prompt_words
from stub_backend.prose import answer
from stub_backend.responses import RESPONSES
from stub_backend.steps import Headers

DIALECTS: Mapping[str, Dialect] = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": TEXT,
    "/v1/messages": MESSAGES,
    "/v1/messages/count_tokens": COUNT_TOKENS,
    "/v1/responses": RESPONSES,
}
_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")


@dataclass(frozen=True, slots=True)
class Call:
    """One call: the model, the dialect, and the request.

    `reused`: its connection carried another request before. `cached_tokens`: as many tokens of the
    prompt are in the model's prefix cache.
    """

    chute: Chute
    dialect: Dialect
    stream: bool
    body: Mapping[str, Any]
    body_sha256: str
    headers: Headers
    number: int
    options: StubOptions
    engine: str
    reused: bool = False
    cached_tokens: int = 0

    def has_flag(self, header: str) -> bool:
        """Return whether the header of this lower-case name is "true"."""
        given = (value for name, value in self.headers if name.lower() == header)
        return next(given, "").lower() == "true"

    @property
    def reasoning_enabled(self) -> bool:
        """Whether the caller enabled reasoning."""
        return self.has_flag("x-enable-thinking") or str(self.body["model"]).endswith(THINKING)

    @property
    def asks_usage(self) -> bool:
        """Whether the caller asked for the usage of a stream."""
        options = self.body.get("stream_options")
        return isinstance(options, dict) and options.get("include_usage") is True

    @property
    def prompt_tokens(self) -> int:
        """The length of the prompt."""
        return len(prompt_words(self.body)) + TEMPLATE

    @property
    def first_token_delay(self) -> float:
        """The time until the first token: a fixed part, and one for each token not cached."""
        options = self.options
        uncached = self.prompt_tokens - self.cached_tokens if options.prefill_delay else 0
        return options.first_token_delay + options.prefill_delay * uncached

    def scaled(self, seconds: float) -> float:
        """Return a scenario's duration multiplied by the time scale."""
        return seconds * self.options.time_scale

    def pieces(self, count: int | None = None) -> tuple[Piece, ...]:
        """Return the usual text in `count` pieces (by default as many as the options set).

        Prose may be shorter.
        """
        model, question = self.chute.name, last_user_text(self.body)
        if self.options.prose:
            return answer(model, question)[:count]
        return sentence(model, question, self.options.tokens if count is None else count)

    def generate(self, pieces: tuple[Piece, ...], **members: Any) -> Generation:
        """Return a generation of these pieces, with an id derived from this call."""
        seed = f"{self.number}/{self.body_sha256}/{len(pieces)}/{members.get('part', '')}"
        members.pop("part", None)
        return Generation(
            id=hashlib.sha256(seed.encode()).hexdigest()[:32],
            model=self.chute.name,
            engine=self.engine,
            pieces=pieces,
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            **members,
        )

    def generation(self) -> Generation:
        """Return the usual generation, truncated at the caller's completion limit."""
        pieces = self.pieces()
        limits = [self.body.get(name) for name in _LIMITS]
        limit = next((each for each in limits if isinstance(each, int) and each > 0), None)
        if limit is not None and limit < len(pieces):
            return self.generate(pieces[:limit], finish="length")
        return self.generate(pieces)


def read_body(body: bytes) -> dict[str, Any] | Problem:
    """Parse a request's JSON object, or return the platform's error for anything else."""
    try:
        value = json.loads(body)
    except ValueError as error:
        return Problem(400, f"Invalid request JSON: {error}")
    except RecursionError:
        return Problem(500, None)
    return value if isinstance(value, dict) else Problem(500, None)


def stream_flag(body: Mapping[str, Any]) -> bool | Problem:
    """Return whether to stream. The platform matches only a boolean, not a truthy value."""
    stream = body.get("stream", False)
    if not isinstance(stream, bool):
        return Problem(404, "No matching cord found!")
    if stream and "stream_options" in body and not isinstance(body["stream_options"], dict):
        return Problem(500, None)
    return stream
