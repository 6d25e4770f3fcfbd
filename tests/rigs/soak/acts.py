"""Upstream responses in parts: bytes on the wire, and the body bytes among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from tests.rigs.soak.generation import Generation

SSE: Final = "text/event-stream"
JSON: Final = "application/json"
HTML: Final = "text/html"
MODEL_FIELD: Final = "x-soak-model"
NONCE_FIELD: Final = "x-soak-nonce"


class Ending(Enum):
    """What the upstream does with its connection after the last part."""

    KEEP = "keep it"
    CLOSE = "close it"
    RESET = "reset it"
    HANG = "send nothing more"


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes on the wire; the body begins after `lead` bytes."""

    wire: bytes
    body: bytes = b""
    lead: int = 0

    def relayed(self, sent: int) -> bytes:
        """Return the body within the first `sent` bytes."""
        return self.body[: max(0, sent - self.lead)]

    def first(self, sent: int) -> Part:
        """Return the first `sent` bytes of the part."""
        return Part(self.wire[:sent], self.relayed(sent), self.lead)


Step: TypeAlias = Part | float
"""Bytes to send, or seconds to wait."""

LAST_CHUNK: Final = Part(b"0\r\n\r\n")


@dataclass(frozen=True, slots=True)
class Act:
    """What the upstream does with one request, and what the router may do in response.

    `whole`: the complete act is a valid response. `reasons`: failover reasons that the act allows,
    besides deadlines. `turns`: failover is required while a model is left; `turns_unless_byte`:
    unless the client commits at the first byte.
    """

    kind: str
    steps: tuple[Step, ...]
    status: int | None = 200
    sse: bool = False
    ending: Ending = Ending.KEEP
    whole: bool = True
    reasons: frozenset[str] = field(default_factory=frozenset)
    turns: bool = False
    turns_unless_byte: bool = False

    @property
    def wire_size(self) -> int:
        """The number of bytes in all parts."""
        return sum(len(step.wire) for step in self.steps if isinstance(step, Part))

    def body(self, sent: int) -> bytes:
        """Return the part of the body within the first `sent` bytes on the wire."""
        found = []
        for step in self.steps:
            if isinstance(step, Part) and sent > 0:
                found.append(step.relayed(sent))
                sent -= len(step.wire)
        return b"".join(found)


def head(
    generation: Generation,
    status: int = 200,
    kind: str = JSON,
    length: int | None = None,
    *fields: str,
    chunked: bool = True,
) -> Part:
    """Return a response head that identifies the response.

    It is chunked unless `length` is given or `chunked` is false.
    """
    lines = [f"HTTP/1.1 {status} Soak", f"Content-Type: {kind}", *fields]
    lines += [f"{MODEL_FIELD}: {generation.model}", f"{NONCE_FIELD}: {generation.nonce}"]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    elif chunked:
        lines.append("Transfer-Encoding: chunked")
    return Part("\r\n".join(lines).encode() + b"\r\n\r\n")


def chunk(data: bytes) -> Part:
    """Return one chunk of a chunked body."""
    size = b"%x\r\n" % len(data)
    return Part(size + data + b"\r\n", data, len(size))


def raw(data: bytes) -> Part:
    """Return bytes of a body that is not chunked."""
    return Part(data, data)


def paced(parts: Iterable[Step], pause: float) -> tuple[Step, ...]:
    """Return the parts with a pause before each but the first."""
    found: list[Step] = []
    for part in parts:
        found += [pause, part] if found and pause else [part]
    return tuple(found)


def cut(steps: Sequence[Step], at: int) -> tuple[Step, ...]:
    """Return the steps up to the first `at` bytes."""
    kept: list[Step] = []
    for step in steps:
        if isinstance(step, Part):
            if at < len(step.wire):
                return (*kept, step.first(at)) if at else tuple(kept)
            at -= len(step.wire)
        kept.append(step)
    return tuple(kept)
