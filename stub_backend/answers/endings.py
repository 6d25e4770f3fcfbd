"""Streams that end early without a word, and what connections do behind a whole answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

from stub_backend.answers.breaks import FLUSH_SECONDS, first_events
from stub_backend.call import Call
from stub_backend.dialect import compact
from stub_backend.scenario import (
    JSON,
    SSE,
    Ending,
    Scenario,
    answered,
    body_head,
    healthy,
    streamed,
    success_headers,
)
from stub_backend.steps import Abort, Close, Hang, Raw, Send, Step, Steps, Wait

CUT_HEADER = "x-stub-cut"
LATE_SECONDS = 0.005
_STALL_SECONDS = 120.0
_MORE = b'data: {"choices":[{"index":0,"delta":{"content":"more"}}]}\n\n'


def end_mid_stream(call: Call) -> Steps:
    """Half of the tokens, then the clean end of the body."""
    return streamed(call, first_events(call)) if call.stream else healthy(call)


def _gives_up(reason: str) -> Callable[[Call], Steps]:
    def answer(call: Call) -> Steps:
        half = call.pieces()[: max(1, call.options.tokens // 2)]
        return answered(call, call.generate(half, finish=reason))

    return answer


def _behind(call: Call, *steps: Step) -> Steps:
    """Send a whole answer, and these steps in the place of the body's end."""
    generation = call.generation()
    if call.stream:
        yield from streamed(call, call.dialect.stream(generation))
    else:
        body = compact(call.dialect.whole(generation))
        yield body_head(200, JSON, len(body), success_headers(call))
        yield Send(body)
    yield from steps


def done_reset(call: Call) -> Steps:
    """The whole answer, then RST in the place of the last chunk."""
    return _behind(call, Wait(FLUSH_SECONDS), Abort())


def done_held(call: Call) -> Steps:
    """The whole answer, then neither the last chunk nor the connection's end."""
    # A plain answer's length ends it: the connection is free for the next request.
    return _behind(call, Hang()) if call.stream else healthy(call)


def done_late(call: Call) -> Steps:
    """The whole answer; the last chunk comes 5 ms after it."""
    return _behind(call, Wait(LATE_SECONDS))


def done_more(call: Call) -> Steps:
    """The whole answer, then an event behind the terminator."""
    return _behind(call, *((Send(_MORE),) if call.stream else ()))


def done_cut(call: Call) -> Steps:
    """The whole answer in chunks, then FIN in the place of the last one."""
    if call.stream:
        yield from _behind(call, Close())
        return
    body = compact(call.dialect.whole(call.generation()))
    yield body_head(200, JSON, None, success_headers(call))
    yield Send(body)
    yield Close()


def _finished(call: Call) -> Iterator[bytes]:
    events = call.dialect.stream(call.generation())
    return chain(events.opening, events.tokens, events.closing)


def finish_cut(call: Call) -> Steps:
    """All but the terminator, then FIN in the place of the last chunk."""
    if not call.stream:
        return healthy(call)
    return chain(streamed(call, _finished(call)), (Close(),))


def finish_stall(call: Call) -> Steps:
    """All but the terminator, two minutes of silence, then FIN."""
    if not call.stream:
        return healthy(call)
    silence = Wait(call.scaled(_STALL_SECONDS))
    return chain(streamed(call, _finished(call)), (silence, Close()))


def stall_mid_event(call: Call) -> Steps:
    """Half of the tokens, the last of them without its end, two minutes of silence, then FIN."""
    if not call.stream:
        yield from healthy(call)
        return
    *whole, last = first_events(call)
    yield from streamed(call, [*whole, last[: len(last) // 2]])
    yield Wait(call.scaled(_STALL_SECONDS))
    yield Close()


def close_half(call: Call) -> Steps:
    """Half of a body that the connection's end delimits (RFC 9112 §6.3)."""
    fields = [f"{name}: {value}" for name, value in success_headers(call)]
    kind = SSE if call.stream else JSON
    head = ("HTTP/1.1 200 OK", f"content-type: {kind}", "connection: close", *fields, "", "")
    yield Raw("\r\n".join(head).encode())
    if call.stream:
        for event in first_events(call):
            yield Raw(event)
            yield Wait(call.options.token_delay)
    else:
        body = compact(call.dialect.whole(call.generation()))
        yield Raw(body[: len(body) // 2])
    yield Close()


def cut_at(call: Call) -> Steps:
    """The answer's first bytes, as many as the request's header says, else half; then FIN."""
    generation = call.generation()
    if call.stream:
        body = b"".join(call.dialect.stream(generation))
    else:
        body = compact(call.dialect.whole(generation))
    given = (value for name, value in call.headers if name.lower() == CUT_HEADER)
    length = int(next(given, len(body) // 2))
    yield body_head(
        200, SSE if call.stream else JSON, None if call.stream else len(body), success_headers(call)
    )
    yield Send(body[:length])
    yield Close()


def _row(
    name: str, summary: str, answer: Callable[[Call], Steps], ending: Ending = Ending.CLEAN
) -> Scenario:
    return Scenario(name, summary, answer, ending=ending)


REASONS = ("abort", "error", "network_error", "cancelled")
ENDINGS: tuple[Scenario, ...] = (
    *(_row(f"gave-up-{reason}", f"half of the tokens, then the finish reason {reason}",
           _gives_up(reason)) for reason in REASONS),
    _row("end-mid-stream", "half of the tokens, then a clean end", end_mid_stream),
    _row("done-reset", "a whole answer, then RST", done_reset, Ending.RESET),
    _row("done-held", "a whole answer whose body never ends", done_held, Ending.HANG),
    _row("done-late", "a whole answer, the body's end 5 ms later", done_late),
    _row("done-more", "a whole answer, then an event behind the terminator", done_more),
    _row("done-cut", "a whole answer without the last chunk", done_cut, Ending.CUT),
    _row("finish-cut", "all but the terminator, then FIN", finish_cut, Ending.CUT),
    _row("finish-stall", "all but the terminator, two minutes of silence, then FIN", finish_stall,
         Ending.CUT),
    _row("stall-mid-event", "silence for two minutes within an event, then FIN", stall_mid_event,
         Ending.CUT),
    _row("close-half", "half of a body that ends with its connection", close_half),
    _row("cut-at", f"FIN after as many bytes as {CUT_HEADER} says", cut_at, Ending.CUT),
)  # fmt: skip
