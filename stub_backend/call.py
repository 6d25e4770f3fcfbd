"""One call of a model, read from the request as the platform reads it.

The platform's own traps are here: bodies that a tolerant server would take and it does not.
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
from stub_backend.messages import MESSAGES
from stub_backend.native import THINKING
from stub_backend.options import StubOptions
from stub_backend.population import Chute
from stub_backend.problem import Problem
from stub_backend.responses import RESPONSES
from stub_backend.steps import Headers

DIALECTS: Mapping[str, Dialect] = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": TEXT,
    "/v1/messages": MESSAGES,
    "/v1/responses": RESPONSES,
}
_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")


@dataclass(frozen=True, slots=True)
class Call:
    """One call: who is asked, how, and with what."""

    chute: Chute
    dialect: Dialect
    stream: bool
    body: Mapping[str, Any]
    body_sha256: str
    headers: Headers
    number: int
    options: StubOptions
    engine: str

    def asks(self, header: str) -> bool:
        """Return whether the header of that lower-case name has the value true."""
        given = (value for name, value in self.headers if name.lower() == header)
        return next(given, "").lower() == "true"

    @property
    def thinks(self) -> bool:
        """Whether the caller turned reasoning on."""
        return self.asks("x-enable-thinking") or str(self.body["model"]).endswith(THINKING)

    def scaled(self, seconds: float) -> float:
        """A scenario's duration under the time scale."""
        return seconds * self.options.time_scale

    def pieces(self, count: int | None = None) -> tuple[Piece, ...]:
        """The usual text, `count` pieces long (by default as long as the options say)."""
        wanted = self.options.tokens if count is None else count
        return sentence(self.chute.name, last_user_text(self.body), wanted)

    def says(self, pieces: tuple[Piece, ...], **members: Any) -> Generation:
        """A generation of these pieces, with an id that belongs to this call."""
        seed = f"{self.number}/{self.body_sha256}/{len(pieces)}/{members.get('part', '')}"
        members.pop("part", None)
        return Generation(
            id=hashlib.sha256(seed.encode()).hexdigest()[:32],
            model=self.chute.name,
            engine=self.engine,
            pieces=pieces,
            prompt_tokens=len(last_user_text(self.body).split()) + 8,
            **members,
        )

    def generation(self) -> Generation:
        """The usual answer, cut at the caller's completion limit."""
        pieces = self.pieces()
        limits = [self.body.get(name) for name in _LIMITS]
        limit = next((each for each in limits if isinstance(each, int) and each > 0), None)
        if limit is not None and limit < len(pieces):
            return self.says(pieces[:limit], finish="length")
        return self.says(pieces)


def read_body(body: bytes) -> dict[str, Any] | Problem:
    """The JSON object of a request, or what the platform answers to anything else."""
    try:
        value = json.loads(body)
    except ValueError as error:
        return Problem(400, f"Invalid request JSON: {error}")
    except RecursionError:
        return Problem(500, None)
    return value if isinstance(value, dict) else Problem(500, None)


def stream_flag(body: Mapping[str, Any]) -> bool | Problem:
    """Return whether to stream. Only a real boolean matches what a chute declares."""
    stream = body.get("stream", False)
    if not isinstance(stream, bool):
        return Problem(404, "No matching cord found!")
    if stream and "stream_options" in body and not isinstance(body["stream_options"], dict):
        return Problem(500, None)
    return stream
