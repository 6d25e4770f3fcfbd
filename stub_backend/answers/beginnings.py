"""Answers that do not begin as usual: empty ones, errors in a 200, heartbeats, no content type."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, cycle, islice
from typing import Any

from stub_backend.answers.breaks import NO_TARGETS, first_events
from stub_backend.call import Call
from stub_backend.dialect import compact, data_event, named_event
from stub_backend.generation import thought
from stub_backend.scenario import (
    JSON,
    SSE,
    TEXT_PLAIN,
    Ending,
    Scenario,
    body_head,
    healthy,
    streamed,
    success_headers,
)
from stub_backend.steps import Close, Head, Headers, Send, Steps, Wait

BEAT_SECONDS = 3.0
_BEATS = 40
_SILENCE_SECONDS = 20.0
_ERROR = {"message": NO_TARGETS, "type": "InternalServerError", "param": None, "code": 500}
_OCTETS = "application/octet-stream"


# -- nothing at all, and errors with the status of an answer


def _empty(status: int, headers: Headers) -> Callable[[Call], Steps]:
    def answer(call: Call) -> Steps:
        yield Head(status, (*headers, *success_headers(call)))

    return answer


def _json(value: Mapping[str, Any]) -> Callable[[Call], Steps]:
    def answer(call: Call) -> Steps:
        body = compact(value)
        yield body_head(200, JSON, len(body), success_headers(call))
        yield Send(body)

    return answer


def says_nothing(call: Call) -> Steps:
    """The opening events and the terminator."""
    events = call.dialect.stream(call.generation())
    # What is between is made, for the terminator of some APIs counts the events before it.
    opening, _between = events.opening, [*events.tokens, *events.closing]
    return streamed(call, [*opening, *events.done]) if call.stream else healthy(call)


# -- heartbeats, and thoughts


def _beat_events(call: Call) -> tuple[bytes, ...]:
    if call.dialect.name == "messages":
        return (named_event({"type": "ping"}),)
    if call.dialect.name == "responses":
        kinds = ("keepalive", "response.keep_alive", "response.metadata", "codex.rate_limits")
        return tuple(named_event({"type": kind, "sequence_number": 0}) for kind in kinds)
    frame = {"object": "chat.completion.chunk", "model": call.chute.name}
    empty = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
    return b": keep-alive\n\n", data_event(frame | {"choices": [empty]})


def _beating(call: Call, count: int) -> Iterator[bytes]:
    opening = b"".join(call.dialect.stream(call.generation()).opening)
    return chain((opening,), islice(cycle(_beat_events(call)), count))


def heartbeats(call: Call) -> Steps:
    """The opening events and a heartbeat each 3 s for two minutes, then FIN."""
    if not call.stream:
        yield body_head(200, JSON, None, success_headers(call))
        yield Wait(call.scaled(BEAT_SECONDS * _BEATS))
    else:
        yield from streamed(call, _beating(call, _BEATS), pause=call.scaled(BEAT_SECONDS))
    yield Close()


def late_after_beats(call: Call) -> Steps:
    """Three heartbeats, one each 3 s, then the usual answer."""
    if not call.stream:
        yield Wait(call.scaled(BEAT_SECONDS * 3))
        yield from healthy(call)
        return
    yield from streamed(call, _beating(call, 3), pause=call.scaled(BEAT_SECONDS))
    events = call.dialect.stream(call.generation())
    for event in chain(events.tokens, events.closing, events.done):
        yield Send(event)
        yield Wait(call.options.token_delay)


_THOUGHTS: Mapping[str, Mapping[str, Any]] = {
    "thinking": {"delta": {"thinking": "hm"}},
    "thinking-blocks": {"delta": {"thinking_blocks": [{"type": "thinking", "thinking": "hm"}]}},
    "reasoning-details": {"delta": {"reasoning_details": [{"type": "reasoning.text"}]}},
    "images": {"delta": {"images": [{"type": "image_url", "image_url": {"url": "data:,"}}]}},
    "annotations": {"delta": {"annotations": [{"type": "url_citation"}]}},
    "message": {"message": {"role": "assistant", "content": "hm"}},
}


def _thinks(member: Mapping[str, Any]) -> Callable[[Call], Steps]:
    def thought_event(call: Call) -> bytes:
        if call.dialect.name in ("messages", "responses"):
            return b"".join(call.dialect.stream(call.generate(thought(1), part="thought")).tokens)
        frame = {"object": "chat.completion.chunk", "model": call.chute.name}
        return data_event(frame | {"choices": [{"index": 0, "finish_reason": None, **member}]})

    def answer(call: Call) -> Steps:
        if not call.stream:
            yield from healthy(call)
            return
        events = call.dialect.stream(call.generation())
        yield from streamed(call, [*events.opening, thought_event(call)])
        yield Wait(call.scaled(_SILENCE_SECONDS))
        for event in chain(events.tokens, events.closing, events.done):
            yield Send(event)
            yield Wait(call.options.token_delay)

    return answer


# -- no type, or one that does not say what it is


def _labelled(content_type: str | None, answer: Callable[[Call], Steps]) -> Callable[[Call], Steps]:
    """Return a behaviour whose streams have this content type, or none."""

    def relabelled(call: Call) -> Steps:
        for step in answer(call):
            if not (call.stream and isinstance(step, Head)):
                yield step
                continue
            rest = tuple(pair for pair in step.headers if pair[0] != "content-type")
            own = () if content_type is None else (("content-type", content_type),)
            yield Head(step.status, own + rest)

    return relabelled


def _error_event(call: Call) -> Steps:
    if call.stream:
        return streamed(call, [call.dialect.error_event(NO_TARGETS)])
    return _json({"error": _ERROR})(call)


def _drop(call: Call) -> Steps:
    if not call.stream:
        return healthy(call)
    return chain(streamed(call, first_events(call)), (Close(),))


def undecodable_event(call: Call) -> Steps:
    """One event in the middle whose data is not UTF-8."""
    if not call.stream:
        return healthy(call)
    events = call.dialect.stream(call.generation())
    tokens = iter(events.tokens)
    half = islice(tokens, call.options.tokens // 2)
    rest = chain(tokens, events.closing, events.done)
    return streamed(call, chain(events.opening, half, [b'data: {"\xff\xfe"\n\n'], rest))


# -- under a coding that the caller did not ask for


def _coded(call: Call) -> bytes:
    generation = call.generation()
    usual = b"".join(call.dialect.stream(generation)) if call.stream else None
    return gzip.compress(usual or compact(call.dialect.whole(generation)), mtime=0)


def coded_unmarked(call: Call) -> Steps:
    """A whole answer under gzip, without the field that says so."""
    body = _coded(call)
    yield body_head(200, SSE if call.stream else JSON, len(body), success_headers(call))
    yield Send(body)


def coded_drop(call: Call) -> Steps:
    """Half of the bytes of an answer under gzip, then FIN."""
    body, coding = _coded(call), (("content-encoding", "gzip"),)
    kind = SSE if call.stream else JSON
    yield body_head(200, kind, None, success_headers(call), coding)
    yield Send(body[: len(body) // 2])
    yield Close()


_EMPTY: tuple[Scenario, ...] = (
    Scenario("204", "a status that says there is no body", _empty(204, ()), 204, None),
    Scenario("205", "the same of a form that was reset", _empty(205, (("content-length", "0"),)),
             205, None),
    Scenario("empty-200", "200 application/json of length 0",
             _empty(200, (("content-type", JSON), ("content-length", "0"))), content_type=JSON),
    Scenario("says-nothing", "the opening events and the terminator", says_nothing),
    Scenario("error-object-200", "200 application/json with an error object",
             _json({"error": _ERROR}), content_type=JSON),
    Scenario("detail-200", "200 application/json with the platform's detail",
             _json({"detail": NO_TARGETS}), content_type=JSON),
)  # fmt: skip

_ALIVE: tuple[Scenario, ...] = (
    Scenario("heartbeats", "heartbeats for two minutes and nothing else", heartbeats,
             ending=Ending.CUT),
    Scenario("late-after-beats", "three heartbeats in 9 s, then the answer", late_after_beats),
    *(Scenario(f"thinks-{name}", f"a first event with {name}, 20 s later the answer", _thinks(each))
      for name, each in _THOUGHTS.items()),
)  # fmt: skip

_LABELS: tuple[Scenario, ...] = (
    Scenario("unlabelled", "a stream without a content type", _labelled(None, healthy),
             content_type=None),
    Scenario("unlabelled-text", "a stream that is called text", _labelled(TEXT_PLAIN, healthy),
             content_type=TEXT_PLAIN),
    Scenario("unlabelled-octets", "a stream that is called bytes", _labelled(_OCTETS, healthy),
             content_type=_OCTETS),
    Scenario("unlabelled-error", "an error event without a content type",
             _labelled(None, _error_event), content_type=None),
    Scenario("unlabelled-drop", "half of the tokens without a content type, then FIN",
             _labelled(None, _drop), content_type=None, ending=Ending.CUT),
    Scenario("undecodable-event", "one event that is not UTF-8", undecodable_event),
    Scenario("coded-unmarked", "gzip bytes without the field that says so", coded_unmarked),
    Scenario("coded-drop", "half of an answer under gzip, then FIN", coded_drop,
             ending=Ending.CUT),
)  # fmt: skip

BEGINNINGS: tuple[Scenario, ...] = (*_EMPTY, *_ALIVE, *_LABELS)
