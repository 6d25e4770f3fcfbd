"""The type of a scenario, and the building blocks of most scenarios' responses."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from stub_backend.call import Call
from stub_backend.dialect import compact, data_event
from stub_backend.generation import CREATED, Generation, thought
from stub_backend.steps import Head, Headers, Send, Steps, Wait

PREFIX = "stub/"
JSON = "application/json"
HTML = "text/html"
SSE = "text/event-stream"
TEXT_PLAIN = "text/plain"


class Ending(StrEnum):
    """How the connection ends, as the client sees it."""

    CLEAN = "clean"
    CUT = "cut"
    RESET = "reset"
    HANG = "hang"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the table.

    `status` and `content_type` are those of a streaming chat call, None if no valid head arrives.
    `engine` and `context_length` go into the catalog entry of the scenario's model.
    """

    name: str
    summary: str
    answer: Callable[[Call], Steps]
    status: int | None = 200
    content_type: str | None = SSE
    ending: Ending = Ending.CLEAN
    engine: str = "sglang"
    context_length: int = 131_072

    @property
    def model(self) -> str:
        """The model name that selects it."""
        return PREFIX + self.name


def stub_headers(call: Call) -> Headers:
    """Return the stub's own headers for tests: the request body's hash, and the serving model."""
    return (("x-stub-body-sha256", call.body_sha256), ("x-stub-model", call.chute.name))


def success_headers(call: Call) -> Headers:
    """Return the headers that the platform adds to successful responses only."""
    invocation = uuid.uuid5(uuid.NAMESPACE_URL, f"stub:invocation:{call.number}")
    used = min(call.number, 1000)
    return (
        ("x-chutes-invocationid", str(invocation)),
        ("x-chutes-quota-total", "2000"),
        ("x-chutes-quota-used", str(used)),
        ("x-chutes-quota-remaining", str(2000 - used)),
        ("x-chutes-rl-user", "60"),
        ("x-chutes-invoice-billing", "true"),
        *stub_headers(call),
    )


def stream_head(call: Call, extra: Headers = (), content_type: str = SSE) -> Head:
    """Return the head of a streamed response."""
    own = (
        ("content-type", content_type),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
    )
    return Head(200, own + success_headers(call) + extra)


def body_head(
    status: int, content_type: str, length: int | None, headers: Headers, extra: Headers = ()
) -> Head:
    """Return a head of any status; without a `length` the body is chunked."""
    sized = () if length is None else (("content-length", str(length)),)
    return Head(status, (("content-type", content_type), *sized, *headers, *extra))


def streamed(
    call: Call, events: Iterable[bytes], *, pause: float | None = None, extra: Headers = ()
) -> Steps:
    """Stream events; like the platform's, the head goes out with the first event."""
    between = call.options.token_delay if pause is None else pause
    yield Wait(call.first_token_delay)
    yield stream_head(call, extra)
    for index, event in enumerate(events):
        if index:
            yield Wait(between)
        yield Send(event)


def plain(call: Call, generation: Generation, *, extra: Headers = ()) -> Steps:
    """Send a plain response once the generation is complete."""
    body = compact(call.dialect.whole(generation))
    generating = call.options.token_delay * len(generation.pieces)
    yield Wait(call.first_token_delay + generating)
    yield body_head(200, JSON, len(body), success_headers(call), extra)
    yield Send(body)


def answered(call: Call, generation: Generation, *, extra: Headers = ()) -> Steps:
    """Send the generation in the form that the caller requested: streamed, plain or traced."""
    if call.has_flag("x-chutes-trace"):
        return streamed(call, enveloped(call, generation), extra=extra)
    if call.stream:
        return streamed(call, call.dialect.stream(generation), extra=extra)
    return plain(call, generation, extra=extra)


def enveloped(call: Call, generation: Generation) -> Iterator[bytes]:
    """Yield the trace's own events, then the response in the trace's envelopes."""
    for message in ("identified 1 available target", "attempting the target"):
        note = {"timestamp": CREATED, "chute_id": call.chute.chute_id, "message": message}
        yield data_event({"trace": note})
    whole = compact(call.dialect.whole(generation))
    for part in call.dialect.stream(generation) if call.stream else (whole,):
        yield data_event({"result": part.decode()})


def healthy(call: Call) -> Steps:
    """Send the usual response, preceded by reasoning if the caller enabled it."""
    if call.reasoning_enabled:
        return answered(call, call.generate(thought(6) + call.pieces()))
    return answered(call, call.generation())
