"""Successful responses of unusual form, which a relay must pass on unchanged."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from itertools import chain, repeat

from stub_backend.answers.error_responses import error_response
from stub_backend.call import Call
from stub_backend.dialect import compact
from stub_backend.generation import Blocks, Generation, Kind, Piece
from stub_backend.scenario import (
    JSON,
    SSE,
    Scenario,
    answered,
    body_head,
    healthy,
    plain,
    stream_head,
    streamed,
    success_headers,
)
from stub_backend.steps import Head, Headers, Send, Steps, Wait

BIG_EVENT_BYTES = 1_000_000
_MARK = "the-long-text-goes-here"
_RL_USER = "x-chutes-rl-user"


def huge(call: Call) -> Steps:
    """A response of --huge-bytes, generated as it is sent."""
    blocks = Blocks(call.options.huge_bytes)
    usual = call.generation()
    generation = Generation(
        usual.id, usual.model, usual.engine, blocks, usual.prompt_tokens, recited=False
    )
    if call.stream:
        yield stream_head(call)
        for event in call.dialect.stream(generation):
            yield Send(event)
        return
    marked = call.generate((Piece(Kind.TEXT, _MARK),))
    before, _, after = compact(call.dialect.whole(marked)).partition(_MARK.encode())
    length = len(before) + call.options.huge_bytes + len(after)
    yield body_head(200, JSON, length, success_headers(call))
    yield Send(before)
    for block in blocks:
        yield Send(block.text.encode())
    yield Send(after)


def huge_event(call: Call) -> Steps:
    """One event of 1 MB among the usual ones."""
    big = Piece(Kind.TEXT, "x" * BIG_EVENT_BYTES)
    pieces = call.pieces()
    return answered(call, call.generate((*pieces[:2], big, *pieces[2:])))


def big_headers(call: Call) -> Steps:
    """Forty response headers of 300 bytes each."""
    extra = tuple((f"x-stub-filler-{number}", "v" * 300) for number in range(40))
    return answered(call, call.generation(), extra=extra)


def crlf(call: Call) -> Steps:
    """Events with CRLF line ends, and a charset in the content type."""
    generation = call.generation()
    if not call.stream:
        yield from plain(call, generation)
        return
    yield stream_head(call, content_type="text/event-stream; charset=utf-8")
    for event in call.dialect.stream(generation):
        yield Send(event.replace(b"\n", b"\r\n"))
        yield Wait(call.options.token_delay)


def byte_by_byte(call: Call) -> Steps:
    """A short response, each byte in a separate write."""
    generation = call.generate(call.pieces(4))
    if call.stream:
        body = b"".join(call.dialect.stream(generation))
        yield stream_head(call)
    else:
        body = compact(call.dialect.whole(generation))
        yield body_head(200, JSON, len(body), success_headers(call))
    for index in range(len(body)):
        yield Send(body[index : index + 1])
        yield Wait(0.0)


def comments(call: Call) -> Steps:
    """Comment lines before the first event and between events."""
    generation = call.generation()
    if not call.stream:
        return plain(call, generation)
    return streamed(call, _commented(call, generation))


def _commented(call: Call, generation: Generation) -> Iterator[bytes]:
    yield from repeat(b": ping\n\n", 3)
    for event in call.dialect.stream(generation):
        yield event + b": ping\n\n"


def many_empty_events(call: Call) -> Steps:
    """The opening events a hundred times before the first token."""
    generation = call.generation()
    if not call.stream:
        return plain(call, generation)
    events = call.dialect.stream(generation)
    again = chain.from_iterable(repeat(events.opening, 100))
    return streamed(call, chain(again, events.tokens, events.closing, events.done), pause=0.0)


def chunked_plain(call: Call) -> Steps:
    """A plain response in chunks of 64 bytes."""
    generation = call.generation()
    if call.stream:
        yield from answered(call, generation)
        return
    body = compact(call.dialect.whole(generation))
    yield body_head(200, JSON, None, success_headers(call))
    for start in range(0, len(body), 64):
        yield Send(body[start : start + 64])
        yield Wait(0.0)


def coded(call: Call) -> Steps:
    """The usual response under gzip, although the caller did not ask for it."""
    generation = call.generation()
    streams = call.stream
    usual = b"".join(call.dialect.stream(generation)) if streams else None
    body = gzip.compress(usual or compact(call.dialect.whole(generation)), mtime=0)
    coding = (("content-encoding", "gzip"),)
    yield body_head(200, SSE if streams else JSON, len(body), success_headers(call), coding)
    yield Send(body)


def redirect_302(call: Call) -> Steps:
    """A redirect that must not be followed."""
    target = (("location", "http://127.0.0.1:9/stolen"),)
    return error_response(call, 302, JSON, compact({"detail": "Found"}), target)


def unlimited(call: Call) -> Steps:
    """The headers of a private chute: no quota, and a limit that is not a number."""
    for step in healthy(call):
        yield Head(step.status, _unlimited(step.headers)) if isinstance(step, Head) else step


def _unlimited(headers: Headers) -> Headers:
    kept = tuple(pair for pair in headers if not pair[0].startswith(("x-chutes-quota", _RL_USER)))
    return (*kept, (_RL_USER, "inf"), ("x-chutes-rl-chute", "16"))


def set_cookie(call: Call) -> Steps:
    """Two cookies that must not be kept."""
    cookies = (("set-cookie", "a=1; Path=/"), ("set-cookie", "b=2; HttpOnly"))
    return answered(call, call.generation(), extra=cookies)


def hop_by_hop(call: Call) -> Steps:
    """Hop-by-hop headers, one of them named by Connection (RFC 9110 §7.6.1)."""
    extra = (
        ("connection", "keep-alive, X-Secret-Hop"),
        ("x-secret-hop", "for your eyes only"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("alt-svc", 'h3=":443"; ma=86400'),
    )
    return answered(call, call.generation(), extra=extra)


def connection_close(call: Call) -> Steps:
    """A successful response with `Connection: close`."""
    return answered(call, call.generation(), extra=(("connection", "close"),))


def echo_headers(call: Call) -> Steps:
    """The request's headers as the JSON body, in order and with duplicates."""
    body = compact({"headers": [list(pair) for pair in call.headers]})
    return error_response(call, 200, JSON, body)


def no_prefill(call: Call) -> Steps:
    """400 if asked to continue an assistant message, else the usual response."""
    messages = call.body.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    prefilled = isinstance(last, dict) and last.get("role") == "assistant"
    if not prefilled and call.body.get("continue_final_message") is not True:
        return healthy(call)
    text = "Invalid request: Invalid request: this model does not continue an assistant message"
    return error_response(call, 400, JSON, compact({"detail": text}))


SHAPES: tuple[Scenario, ...] = (
    Scenario("unlimited", "the headers of a private chute", unlimited),
    Scenario("huge", "a response of --huge-bytes", huge),
    Scenario("huge-event", "one event of 1 MB", huge_event),
    Scenario("big-headers", "40 response headers of 300 bytes", big_headers),
    Scenario("crlf", "CRLF line ends in the stream", crlf),
    Scenario("byte-by-byte", "every byte in a separate write", byte_by_byte),
    Scenario("comments", "comment lines before and between events", comments),
    Scenario("many-empty-events", "a hundred empty events before the first token",
             many_empty_events),
    Scenario("chunked-plain", "a plain response without a length", chunked_plain),
    Scenario("coded", "a response under gzip", coded),
    Scenario("redirect-302", "a redirect to somewhere else", redirect_302, 302, JSON),
    Scenario("set-cookie", "a successful response that sets cookies", set_cookie),
    Scenario("hop-by-hop", "hop-by-hop headers, one named by Connection", hop_by_hop),
    Scenario("connection-close", "a successful response, then the connection closes",
             connection_close),
    Scenario("echo-headers", "the received request headers as JSON", echo_headers,
             content_type=JSON),
    Scenario("no-prefill", "400 when asked to continue an assistant message", no_prefill),
)  # fmt: skip
