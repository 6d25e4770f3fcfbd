"""What one named behaviour is, and the parts that most behaviours are made of."""

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
    """How the connection looks to the client once the answer is over."""

    CLEAN = "clean"
    CUT = "cut"
    RESET = "reset"
    HANG = "hang"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the table.

    `status` and `content_type` are those a streaming chat call gets; None where no readable head
    arrives. `engine` and `context_length` shape the catalog entry of the model of that name.
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
        """The model name that chooses it."""
        return PREFIX + self.name


def stub_headers(call: Call) -> Headers:
    """Return the fields for tests: the hash of the request body and the model's name."""
    return (("x-stub-body-sha256", call.body_sha256), ("x-stub-model", call.chute.name))


def success_headers(call: Call) -> Headers:
    """Return the fields that the platform adds to successful responses only."""
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
    """The head of a streamed answer."""
    own = (
        ("content-type", content_type),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
    )
    return Head(200, own + success_headers(call) + extra)


def body_head(
    status: int, content_type: str, length: int | None, headers: Headers, extra: Headers = ()
) -> Head:
    """A head of any status, with a length unless the body is to be chunked."""
    sized = () if length is None else (("content-length", str(length)),)
    return Head(status, (("content-type", content_type), *sized, *headers, *extra))


def streamed(
    call: Call, events: Iterable[bytes], *, pause: float | None = None, extra: Headers = ()
) -> Steps:
    """A stream whose head goes out with its first event, as the platform does it."""
    between = call.options.token_delay if pause is None else pause
    yield Wait(call.options.first_token_delay)
    yield stream_head(call, extra)
    for index, event in enumerate(events):
        if index:
            yield Wait(between)
        yield Send(event)


def plain(call: Call, said: Generation, *, extra: Headers = ()) -> Steps:
    """A whole answer, sent once the generation is complete."""
    body = compact(call.dialect.whole(said))
    generating = call.options.token_delay * len(said.pieces)
    yield Wait(call.options.first_token_delay + generating)
    yield body_head(200, JSON, len(body), success_headers(call), extra)
    yield Send(body)


def answered(call: Call, said: Generation, *, extra: Headers = ()) -> Steps:
    """The generation as the caller asked for it, streamed, whole or traced."""
    if call.asks("x-chutes-trace"):
        return streamed(call, enveloped(call, said), extra=extra)
    if call.stream:
        return streamed(call, call.dialect.stream(said), extra=extra)
    return plain(call, said, extra=extra)


def enveloped(call: Call, said: Generation) -> Iterator[bytes]:
    """The answer in envelopes, after some about how it came to be: what tracing makes of it."""
    for message in ("identified 1 available target", "attempting the target"):
        note = {"timestamp": CREATED, "chute_id": call.chute.chute_id, "message": message}
        yield data_event({"trace": note})
    whole = compact(call.dialect.whole(said))
    for part in call.dialect.stream(said) if call.stream else (whole,):
        yield data_event({"result": part.decode()})


def healthy(call: Call) -> Steps:
    """The usual answer, after some reasoning where the caller turned that on."""
    if call.thinks:
        return answered(call, call.says(thought(6) + call.pieces()))
    return answered(call, call.generation())
