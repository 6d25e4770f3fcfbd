"""Responses with a valid head but invalid content: errors within a stream, and empty streams."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tests.rigs.soak.acts import JSON, LAST_CHUNK, SSE, Act, Part, chunk, head, raw
from tests.rigs.soak.generation import BARE_ERROR, DONE, Generation
from tests.rigs.soak.valid_responses import good


def _some(generation: Generation, rng: Random) -> list[Part]:
    """Return the beginning of a stream, with content."""
    pieces = generation.content()
    return [chunk(generation.opening()), *map(chunk, pieces[: rng.randint(1, len(pieces))])]


def _stream(
    kind: str,
    generation: Generation,
    parts: Sequence[Part],
    *reasons: str,
    whole: bool = True,
    turns_unless_byte: bool = False,
) -> Act:
    return Act(
        kind,
        (head(generation, 200, SSE), *parts, LAST_CHUNK),
        sse=True,
        whole=whole,
        reasons=frozenset(reasons),
        turns_unless_byte=turns_unless_byte,
    )


def bare_tail(generation: Generation, stream: bool, rng: Random) -> Act:
    """End a response with an error outside an event; none of it may reach the client as is."""
    if not stream:
        return json_error(generation, stream, rng)
    tail = Part(chunk(BARE_ERROR).wire)
    parts = [*_some(generation, rng), tail]
    return _stream("bare tail", generation, parts, "error_event", whole=False)


def bare_first(generation: Generation, stream: bool, rng: Random) -> Act:
    """Send nothing but such an error."""
    if not stream:
        return json_error(generation, stream, rng)
    tail = Part(chunk(BARE_ERROR).wire)
    return _stream(
        "bare first", generation, [tail], "error_event", whole=False, turns_unless_byte=True
    )


def error_first(generation: Generation, stream: bool, rng: Random) -> Act:
    """Send nothing but the engine's error event."""
    if not stream:
        return json_error(generation, stream, rng)
    parts = [chunk(generation.error_event())]
    return _stream(
        "error first", generation, parts, "error_event", whole=False, turns_unless_byte=True
    )


def error_middle(generation: Generation, stream: bool, rng: Random) -> Act:
    """Send the engine's error event after some content, and end without the terminator."""
    if not stream:
        return json_error(generation, stream, rng)
    parts = [*_some(generation, rng), chunk(generation.error_event())]
    return _stream("error middle", generation, parts, "error_event", whole=False)


def empty(generation: Generation, stream: bool, rng: Random) -> Act:
    """Send a valid head, perhaps a role, and end cleanly."""
    if not stream:
        reasons = frozenset({"empty"})
        steps = (head(generation, 200, JSON, 0),)
        return Act("empty", steps, reasons=reasons, turns_unless_byte=True)
    parts = [chunk(generation.opening())] if rng.random() < 0.5 else []
    return _stream("empty", generation, parts, "no_terminator", whole=False, turns_unless_byte=True)


def no_done(generation: Generation, stream: bool, rng: Random) -> Act:
    """Omit the terminator, and end the response cleanly."""
    if not stream:
        return good(generation, stream, rng)
    return _stream(
        "no done", generation, [chunk(each) for each in generation.events() if each != DONE]
    )


def json_error(generation: Generation, stream: bool, rng: Random) -> Act:
    """Send status 200 and an error as JSON."""
    body = generation.error("exhausted all available targets to no avail")
    parts = (head(generation, 200, JSON, len(body)), raw(body))
    return Act("json 200", parts, reasons=frozenset({"error_event"}), turns_unless_byte=True)
