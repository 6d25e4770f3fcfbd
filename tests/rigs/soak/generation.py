"""A model's response to a nonce, which nonce and model determine byte for byte."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

NONCE: Final = re.compile(rb"soak-[0-9a-f]+-\d+")
"""Matches every nonce in a response, including those of other requests."""

DONE: Final = b"data: [DONE]\n\n"
BARE_ERROR: Final = b'{"error":"Unhandled exception during response stream: soak"}'

# The pattern does not repeat within a piece, so that a missing or surplus byte shows.
_FILL: Final = " ".join(map(str, range(10_000, 21_000)))


def nonce(seed: int, number: int) -> str:
    """Return the nonce of a request, unique within the run."""
    return f"soak-{seed:x}-{number}"


def filling(rng: Random, size: int) -> str:
    """Return a pseudo-random text of this size."""
    start = rng.randrange(5_000)
    text = _FILL[start : start + size]
    while len(text) < size:
        text += f" {len(text)} {_FILL[: size - len(text)]}"
    return text[:size]


@dataclass(frozen=True, slots=True)
class Generation:
    """One model's response to one nonce: `tokens` pieces of about `width` bytes."""

    nonce: str
    model: str
    tokens: int
    width: int = 12

    def _pieces(self) -> Iterator[str]:
        rng = Random(f"{self.nonce}/{self.model}")
        for place in range(self.tokens):
            yield f"{self.nonce} {place} é€ {filling(rng, rng.randint(0, 2 * self.width))}"

    def opening(self) -> bytes:
        """Return the event that contains only the role."""
        return self._event({"role": "assistant", "content": ""}, None)

    def content(self) -> list[bytes]:
        """Return an event for each piece."""
        return [self._event({"content": piece}, None) for piece in self._pieces()]

    def events(self) -> list[bytes]:
        """Return the whole stream, including its terminator."""
        return [self.opening(), *self.content(), self._event({}, "stop"), DONE]

    def body(self) -> bytes:
        """Return the unary response."""
        message = {"role": "assistant", "content": "".join(self._pieces())}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return self._json({"object": "chat.completion", "choices": choices})

    def error(self, text: str) -> bytes:
        """Return an error body in the platform's format."""
        return json.dumps({"detail": text, "nonce": self.nonce}).encode()

    def error_event(self) -> bytes:
        """Return the engine's error event."""
        return b'data: {"object":"error","message":"soak","code":500,"nonce":"%b"}\n\n' % (
            self.nonce.encode()
        )

    def _event(self, delta: dict[str, str], finish: str | None) -> bytes:
        choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
        return b"data: %b\n\n" % self._json({"object": "chat.completion.chunk", "choices": choices})

    def _json(self, members: dict[str, object]) -> bytes:
        value = {"id": self.nonce, "model": self.model, **members}
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
