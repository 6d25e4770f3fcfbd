"""Failures after a 200: cut streams, errors in the stream, missing parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice

from stub_backend.call import Call
from stub_backend.dialect import compact, data_event
from stub_backend.scenario import (
    JSON,
    Ending,
    Scenario,
    answered,
    body_head,
    healthy,
    streamed,
    success_headers,
)
from stub_backend.steps import Abort, Close, Send, Step, Steps, Wait

NO_TARGETS = "exhausted all available targets to no avail"
BARE_ERROR = compact({"error": f"Unhandled exception during response stream: {NO_TARGETS}"})
# RST discards queued data; this delay lets the bytes before it reach the client.
FLUSH_SECONDS = 0.05
TOO_LONG = "The prompt is longer than this engine allows."


def _half(call: Call) -> int:
    return call.options.tokens // 2


def _first(call: Call, tokens: int, total: int) -> Iterator[bytes]:
    """Return the stream's events up to and including its first `tokens` tokens."""
    events = call.dialect.stream(call.generate(call.pieces(total)))
    return chain(events.opening, islice(events.tokens, tokens))


def first_events(call: Call) -> Iterator[bytes]:
    """Return the stream's events up to and including the first half of its tokens."""
    return _first(call, _half(call), call.options.tokens)


def _cut(call: Call, tokens: int, total: int, last: Step) -> Steps:
    """Send a stream's first `tokens` tokens, or the same share of a plain response, then `last`."""
    if call.stream:
        yield from streamed(call, _first(call, tokens, total))
    else:
        body = compact(call.dialect.whole(call.generate(call.pieces(total))))
        yield body_head(200, JSON, len(body), success_headers(call))
        yield Send(body[: len(body) * tokens // total])
    yield Wait(FLUSH_SECONDS)
    yield last


def drop_mid_stream(call: Call) -> Steps:
    """FIN after half of the tokens, without the end of the body."""
    return _cut(call, _half(call), call.options.tokens, Close())


def reset_mid_stream(call: Call) -> Steps:
    """RST after half of the tokens."""
    return _cut(call, _half(call), call.options.tokens, Abort())


def cut_40_of_60(call: Call) -> Steps:
    """FIN after 40 of 60 tokens."""
    return _cut(call, 40, 60, Close())


def cut_mid_event(call: Call) -> Steps:
    """FIN within an event, its blank line still to come."""
    if not call.stream:
        yield from drop_mid_stream(call)
        return
    *whole, last = _first(call, _half(call), call.options.tokens)
    yield from streamed(call, [*whole, last[: len(last) // 2]])
    yield Wait(FLUSH_SECONDS)
    yield Close()


def _replaced(call: Call, events: Iterable[bytes]) -> Steps:
    """Stream these events; a plain call gets the error as its body instead."""
    return streamed(call, events) if call.stream else error_json_200(call)


def bare_json_tail(call: Call) -> Steps:
    """Half of the tokens, then a JSON object without `data:`, blank line or terminator."""
    beginning = _first(call, _half(call), call.options.tokens)
    return _replaced(call, chain(beginning, [BARE_ERROR]))


def bare_json_first(call: Call) -> Steps:
    """The same object as the first and only thing in the stream."""
    return _replaced(call, [BARE_ERROR])


def error_event_first(call: Call) -> Steps:
    """The engine's error as the first and only event."""
    return _replaced(call, [call.dialect.error_event(NO_TARGETS)])


def error_event_mid(call: Call) -> Steps:
    """Half of the tokens, then the engine's error."""
    beginning = _first(call, _half(call), call.options.tokens)
    return _replaced(call, chain(beginning, [call.dialect.error_event(NO_TARGETS)]))


def error_event_400(call: Call) -> Steps:
    """The opening events, then an error by which the engine blames the request."""
    error = {"type": "invalid_request_error", "message": TOO_LONG, "param": None, "code": 400}
    refused = data_event({"type": "error", "error": error})
    if not call.stream:
        yield body_head(200, JSON, len(refused) - 8, success_headers(call))
        yield Send(refused[6:-2])
        return
    yield from streamed(call, chain(_first(call, 0, call.options.tokens), [refused]))


def gave_up(call: Call) -> Steps:
    """Half of the tokens, then a finish reason by which the engine says that it stopped short."""
    generation = call.generate(call.pieces()[: max(1, _half(call))])
    return answered(call, replace(generation, finish="abort"))


def error_json_200(call: Call) -> Steps:
    """200 with a JSON error as the body, for streaming and plain calls."""
    yield body_head(200, JSON, len(BARE_ERROR), success_headers(call))
    yield Send(BARE_ERROR)


def role_only_then_end(call: Call) -> Steps:
    """The opening events, then a clean end."""
    return _replaced(call, _first(call, 0, call.options.tokens))


def role_only_then_drop(call: Call) -> Steps:
    """The opening events, then FIN without the end of the body."""
    return _cut(call, 0, call.options.tokens, Close())


def empty_stream(call: Call) -> Steps:
    """A valid head and a clean end, with an empty body."""
    if call.stream:
        yield from streamed(call, [b""])
    else:
        yield body_head(200, JSON, 0, success_headers(call))


def nothing_said(call: Call) -> Steps:
    """The opening events and the terminator, with nothing between; a plain call gets no body."""
    if call.stream:
        events = call.dialect.stream(call.generation())
        yield from streamed(call, chain(events.opening, events.done))
    else:
        yield body_head(200, JSON, 0, success_headers(call))


def no_done(call: Call) -> Steps:
    """The whole stream except the terminator."""
    generation = call.generation()
    if not call.stream:
        return answered(call, generation)
    events = call.dialect.stream(generation)
    return streamed(call, chain(events.opening, events.tokens, events.closing))


def broken_json_event(call: Call) -> Steps:
    """One event in the middle with truncated JSON; the others are valid."""
    generation = call.generation()
    if not call.stream:
        body = compact(call.dialect.whole(generation))[:-9]
        return iter((body_head(200, JSON, len(body), success_headers(call)), Send(body)))
    events = call.dialect.stream(generation)
    tokens = iter(events.tokens)
    half = islice(tokens, _half(call))
    broken = data_event({"id": generation.id, "choices": [{"index": 0}]})[:-12] + b"\n\n"
    rest = chain(tokens, events.closing, events.done)
    return streamed(call, chain(events.opening, half, [broken], rest))


def spliced(call: Call) -> Steps:
    """Half of a response, then a whole second one with its own id and role."""
    if not call.stream:
        return healthy(call)
    beginning = _first(call, _half(call), call.options.tokens)
    second = call.dialect.stream(call.generate(call.pieces(), part="second"))
    return streamed(call, chain(beginning, second))


def spliced_role(call: Call) -> Steps:
    """The same under one id, so that only the role shows where the second response begins."""
    if not call.stream:
        return healthy(call)
    generation = call.generation()
    first = call.dialect.stream(generation)
    beginning = chain(first.opening, islice(first.tokens, _half(call)))
    return streamed(call, chain(beginning, call.dialect.stream(generation)))


BREAKS: tuple[Scenario, ...] = (
    Scenario("drop-mid-stream", "FIN after half of the tokens, body incomplete",
             drop_mid_stream, ending=Ending.CUT),
    Scenario("reset-mid-stream", "RST after half of the tokens", reset_mid_stream,
             ending=Ending.RESET),
    Scenario("cut-40-of-60", "FIN after 40 of 60 tokens", cut_40_of_60, ending=Ending.CUT),
    Scenario("cut-mid-event", "FIN within an event", cut_mid_event, ending=Ending.CUT),
    Scenario("bare-json-tail", "half of the tokens, then an error as bare JSON", bare_json_tail),
    Scenario("bare-json-first", "an error as bare JSON and nothing else", bare_json_first),
    Scenario("error-event-first", "an error event and nothing else", error_event_first),
    Scenario("error-event-mid", "half of the tokens, then an error event", error_event_mid),
    Scenario("error-event-400", "the opening events, then an error that blames the request",
             error_event_400),
    Scenario("gave-up", "half of the tokens, then the finish reason abort", gave_up),
    Scenario("error-json-200", "200 application/json with an error", error_json_200,
             content_type=JSON),
    Scenario("role-only-then-end", "the opening events, then a clean end", role_only_then_end),
    Scenario("role-only-then-drop", "the opening events, then FIN, body incomplete",
             role_only_then_drop, ending=Ending.CUT),
    Scenario("empty-stream", "a valid head and a clean end, with an empty body", empty_stream),
    Scenario("nothing-said", "the opening events, then the terminator", nothing_said),
    Scenario("no-done", "a complete stream without its terminator", no_done),
    Scenario("broken-json-event", "one event with truncated JSON, the others valid",
             broken_json_event),
    Scenario("spliced", "half of a response, then another one with a new id", spliced),
    Scenario("spliced-role", "the same with one id; only the role is repeated", spliced_role),
)  # fmt: skip
