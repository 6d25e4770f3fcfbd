"""The types shared by all APIs' streamed and plain responses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stub_backend.generation import Generation


@dataclass(frozen=True, slots=True)
class Events:
    """A streamed response in the parts between which scenarios interrupt it.

    `opening`: events before any content (role, start-up). `tokens`: one item per piece.
    `closing`: finish reason and usage. `done`: the terminator. Iterate once, in this order.
    """

    opening: tuple[bytes, ...]
    tokens: Iterable[bytes]
    closing: Iterable[bytes]
    done: Iterable[bytes]

    def __iter__(self) -> Iterator[bytes]:
        """Yield the whole stream in order."""
        yield from self.opening
        yield from self.tokens
        yield from self.closing
        yield from self.done


@dataclass(frozen=True, slots=True)
class Dialect:
    """One API: its streamed and plain response for a generation, and its error event."""

    name: str
    stream: Callable[[Generation], Events]
    whole: Callable[[Generation], Mapping[str, Any]]
    error_event: Callable[[str], bytes]


def compact(value: object) -> bytes:
    """Encode JSON without whitespace, as the platform does."""
    return json.dumps(value, separators=(",", ":")).encode()


def data_event(value: object) -> bytes:
    """Return an event that has only a `data` line."""
    return b"data: " + compact(value) + b"\n\n"


def named_event(value: Mapping[str, Any]) -> bytes:
    """Return an event whose `event` line repeats its type."""
    return b"event: " + str(value["type"]).encode() + b"\n" + data_event(value)
