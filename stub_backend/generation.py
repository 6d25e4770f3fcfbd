"""A model's generation, independent of any API: pieces of text, reasoning or a tool call."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, overload

# A fixed time, so that equal requests get equal responses.
CREATED = 1_771_393_400


class Kind(StrEnum):
    """The kind of a piece."""

    TEXT = "text"
    REASONING = "reasoning"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class Piece:
    """One token, as a client sees it."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation. `engine` is `sglang` or `vllm`; `finish` is OpenAI's finish reason.

    If `recited` is false, an API that repeats the whole text in its last events leaves it empty
    there, so that a response of many megabytes is never in memory. `marks` are additional members
    of every chunk. If `counted` is false, only the last chunk contains the usage, and if `reported`
    is false as well, that chunk is not sent.
    """

    id: str
    model: str
    engine: str
    pieces: Sequence[Piece]
    prompt_tokens: int
    cached_tokens: int = 0
    finish: str = "stop"
    tool_name: str = "lookup"
    recited: bool = True
    counted: bool = True
    reported: bool = True
    marks: Mapping[str, str] = field(default_factory=dict)

    def text(self, kind: Kind) -> str:
        """Return the concatenated pieces of one kind."""
        if not self.recited:
            return ""
        return "".join(piece.text for piece in self.pieces if piece.kind is kind)

    @property
    def reasoning_tokens(self) -> int:
        """The number of reasoning pieces."""
        if not self.recited:
            return 0
        return sum(piece.kind is Kind.REASONING for piece in self.pieces)


class Blocks(Sequence[Piece]):
    """A text of any length, generated block by block; each block starts with its number."""

    def __init__(self, total_bytes: int, block_bytes: int = 16_384) -> None:
        self._total = total_bytes
        self._block = block_bytes
        self._filler = ("abcdefghijklmnopqrstuvwxyz012345" * (block_bytes // 32 + 1))[:block_bytes]

    def __len__(self) -> int:
        return -(-self._total // self._block)

    @overload
    def __getitem__(self, index: int) -> Piece: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Piece]: ...
    def __getitem__(self, index: int | slice) -> Piece | Sequence[Piece]:
        """Return the block with this number, truncated at the end of the text."""
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        size = min(self._block, self._total - index * self._block)
        return Piece(Kind.TEXT, f"{index:010d}{self._filler}"[:size])


def sentence(model: str, question: str, count: int) -> tuple[Piece, ...]:
    """Return `count` pieces that name the model and the hash of the question."""
    digest = hashlib.sha256(question.encode("utf-8", "surrogatepass")).hexdigest()
    texts = [f"Served by {model}.", f" Your last message has sha256 {digest}."]
    texts += [f" word{number}" for number in range(1, count - 1)]
    return tuple(Piece(Kind.TEXT, text) for text in texts[:count])


def thought(count: int) -> tuple[Piece, ...]:
    """Return `count` pieces of reasoning."""
    return tuple(Piece(Kind.REASONING, f" thought{number}") for number in range(1, count + 1))


def tool_arguments() -> tuple[Piece, ...]:
    """Return a tool call's arguments in fragments that are valid JSON only when joined."""
    return tuple(Piece(Kind.TOOL, part) for part in ('{"city":', ' "Oslo",', ' "days": 3}'))


def last_user_text(body: Mapping[str, Any]) -> str:
    """Return the text of the last user message of any API's request."""
    for member in ("messages", "input"):
        messages = body.get(member)
        if isinstance(messages, str):
            return messages
        if isinstance(messages, list):
            return _last_of(messages)
    prompt = body.get("prompt", "")
    return prompt if isinstance(prompt, str) else repr(prompt)


def _last_of(messages: list[Any]) -> str:
    for message in reversed(messages):
        if isinstance(message, dict) and message.get("role") == "user":
            return _content_text(message.get("content"))
    return ""


def _content_text(content: Any) -> str:
    if isinstance(content, list):
        parts = (part.get("text", "") for part in content if isinstance(part, dict))
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""
