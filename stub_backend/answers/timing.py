"""Responses that arrive late, slowly, or never."""

from __future__ import annotations

from itertools import islice

from stub_backend.call import Call
from stub_backend.dialect import compact
from stub_backend.scenario import (
    JSON,
    Ending,
    Scenario,
    answered,
    body_head,
    healthy,
    stream_head,
    streamed,
    success_headers,
)
from stub_backend.steps import Abort, Close, Hang, Send, Steps, Wait


def reset(call: Call) -> Steps:
    """RST before any byte."""
    yield Abort()


def close(call: Call) -> Steps:
    """FIN before any byte."""
    yield Close()


def hang_head(call: Call) -> Steps:
    """Nothing, until the client disconnects."""
    yield Hang()


def hang_first_byte(call: Call) -> Steps:
    """A valid head, then nothing."""
    if call.stream:
        yield stream_head(call)
    else:
        yield body_head(200, JSON, None, success_headers(call))
    yield Hang()


def slow_head(call: Call) -> Steps:
    """The usual response after --delay-ms."""
    yield Wait(call.scaled(call.options.delay))
    yield from healthy(call)


def silent_two_minutes(call: Call) -> Steps:
    """The usual response after two minutes of silence."""
    yield Wait(call.scaled(120.0))
    yield from healthy(call)


def late_first_token(call: Call) -> Steps:
    """The head at once, the first event (or the body) after 20 s."""
    generation = call.generation()
    if not call.stream:
        yield body_head(200, JSON, None, success_headers(call))
        yield Wait(call.scaled(20.0))
        yield Send(compact(call.dialect.whole(generation)))
        return
    yield stream_head(call)
    yield Wait(call.scaled(20.0))
    for event in call.dialect.stream(generation):
        yield Send(event)
        yield Wait(call.options.token_delay)


def slow(call: Call) -> Steps:
    """100 ms for each token."""
    generation = call.generation()
    pause = call.scaled(0.1)
    if call.stream:
        yield from streamed(call, call.dialect.stream(generation), pause=pause)
    else:
        yield Wait(pause * len(generation.pieces))
        yield from answered(call, generation)


def stall_after_20(call: Call) -> Steps:
    """20 of 60 tokens, 30 s of silence, then FIN."""
    return _stalled(call, tokens=20, total=60, silence=30.0)


def stall_mid_stream(call: Call) -> Steps:
    """Half of the response, two minutes of silence, then FIN."""
    return _stalled(call, call.options.tokens // 2, call.options.tokens, 120.0)


def _stalled(call: Call, tokens: int, total: int, silence: float) -> Steps:
    generation = call.generate(call.pieces(total))
    if call.stream:
        events = call.dialect.stream(generation)
        yield from streamed(call, [*events.opening, *islice(events.tokens, tokens)])
    else:
        body = compact(call.dialect.whole(generation))
        yield body_head(200, JSON, len(body), success_headers(call))
        yield Send(body[: len(body) * tokens // total])
    yield Wait(call.scaled(silence))
    yield Close()


TIMING: tuple[Scenario, ...] = (
    Scenario("reset", "RST before any byte", reset, None, None, Ending.RESET),
    Scenario("close", "FIN before any byte", close, None, None, Ending.CUT),
    Scenario("hang-head", "never a byte", hang_head, None, None, Ending.HANG),
    Scenario("hang-first-byte", "a valid head, then nothing", hang_first_byte, ending=Ending.HANG),
    Scenario("slow-head", "the head after --delay-ms", slow_head),
    Scenario("silent-two-minutes", "a successful response after two minutes", silent_two_minutes),
    Scenario("late-first-token", "the head at once, the first token after 20 s", late_first_token),
    Scenario("slow", "100 ms for each token", slow),
    Scenario("stall-after-20", "20 of 60 tokens, 30 s of silence, then FIN", stall_after_20,
             ending=Ending.CUT),
    Scenario("stall-mid-stream", "half of the tokens, two minutes of silence, then FIN",
             stall_mid_stream, ending=Ending.CUT),
)  # fmt: skip
