"""Valid responses in every framing."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tests.rigs.soak.acts import (
    JSON,
    LAST_CHUNK,
    SSE,
    Act,
    Ending,
    Part,
    Step,
    chunk,
    head,
    paced,
    raw,
)
from tests.rigs.soak.generation import Generation


def good(generation: Generation, stream: bool, rng: Random) -> Act:
    """Return a valid response in one of the framings, without pauses."""
    if rng.random() < 0.05:
        return _until_close(generation, stream)
    return Act("good", framed(generation, stream, rng), sse=stream)


def framed(generation: Generation, stream: bool, rng: Random) -> tuple[Step, ...]:
    """Return a response whose framing shows its end."""
    if not stream:
        body = generation.body()
        if rng.random() < 0.7:
            return (head(generation, 200, JSON, len(body)), raw(body))
        return (head(generation), *_chunks([body], rng), LAST_CHUNK)
    events = generation.events()
    if rng.random() < 0.05:
        text = b"".join(events)
        return (head(generation, 200, SSE, len(text)), raw(text))
    pause = rng.choice((0.0, 0.002, 0.01)) if len(events) < 100 else 0.0
    parts = _chunks(events, rng) if rng.random() < 0.3 else list(map(chunk, events))
    return paced((head(generation, 200, SSE), *parts, LAST_CHUNK), pause)


def _chunks(texts: Sequence[bytes], rng: Random) -> list[Part]:
    """Split the bytes into chunks of random sizes."""
    text, found, at = b"".join(texts), [], 0
    while at < len(text):
        size = rng.choice((1, 7, 300, 5_000, 60_000))
        size = max(size, len(text) // 200)
        found.append(chunk(text[at : at + size]))
        at += size
    return found


def _until_close(generation: Generation, stream: bool) -> Act:
    body = b"".join(generation.events()) if stream else generation.body()
    kind = SSE if stream else JSON
    steps = (head(generation, 200, kind, None, "Connection: close", chunked=False), raw(body))
    return Act("good", steps, sse=stream, ending=Ending.CLOSE)
