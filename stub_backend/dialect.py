"""What every API's streaming and plain answers have in common."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stub_backend.generation import Generation


@dataclass(frozen=True, slots=True)
class Events:
    """A streamed answer in the parts that misbehaviours cut it at.

    `opening`: events before any content (role, start-up). `tokens`: one item per piece.
    `closing`: finish reason and usage. `done`: the end mark. To be read once, in this order.
    """

    opening: tuple[bytes, ...]
    tokens: Iterable[bytes]
    closing: Iterable[bytes]
    done: Iterable[bytes]

    def __iter__(self) -> Iterator[bytes]:
        """The whole stream in order."""
        yield from self.opening
        yield from self.tokens
        yield from self.closing
        yield from self.done


@dataclass(frozen=True, slots=True)
class Dialect:
    """One API: how it streams a generation, answers it whole, and reports an error in a stream."""

    name: str
    stream: Callable[[Generation], Events]
    whole: Callable[[Generation], Mapping[str, Any]]
    error_event: Callable[[str], bytes]


def compact(value: object) -> bytes:
    """JSON without blanks, as the platform writes it."""
    return json.dumps(value, separators=(",", ":")).encode()


def data_event(value: object) -> bytes:
    """An event of a `data` line only."""
    return b"data: " + compact(value) + b"\n\n"


def named_event(value: Mapping[str, Any]) -> bytes:
    """An event whose `event` line repeats its type."""
    return b"event: " + str(value["type"]).encode() + b"\n" + data_event(value)
