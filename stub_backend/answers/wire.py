"""Responses that violate HTTP or end without framing, written directly to the connection."""

from __future__ import annotations

from stub_backend.call import Call
from stub_backend.dialect import compact
from stub_backend.scenario import SSE, Ending, Scenario, healthy, success_headers
from stub_backend.steps import Close, Raw, Steps, Wait


def _raw_head(status_line: str, *fields: str) -> Raw:
    return Raw("\r\n".join((status_line, *fields, "", "")).encode())


def no_length(call: Call) -> Steps:
    """A body delimited by the end of the connection (RFC 9112 §6.3)."""
    generation = call.generation()
    content_type = SSE if call.stream else "application/json"
    fields = [f"{name}: {value}" for name, value in success_headers(call)]
    yield _raw_head(
        "HTTP/1.1 200 OK", f"content-type: {content_type}", "connection: close", *fields
    )
    events = (
        call.dialect.stream(generation)
        if call.stream
        else [compact(call.dialect.whole(generation))]
    )
    for event in events:
        yield Raw(event)
        yield Wait(call.options.token_delay)
    yield Close()


def early_hints_103(call: Call) -> Steps:
    """An interim response before the usual one."""
    yield _raw_head("HTTP/1.1 103 Early Hints", "link: </style.css>; rel=preload")
    yield from healthy(call)


def malformed_head(call: Call) -> Steps:
    """Bytes that are not an HTTP response."""
    yield Raw(b"HTP/9.9 two hundred\r\nno colon here\r\n\r\n{}")
    yield Close()


def wrong_length(call: Call) -> Steps:
    """A Content-Length larger than the body, then FIN."""
    generation = call.generation()
    body = (
        b"".join(call.dialect.stream(generation))
        if call.stream
        else compact(call.dialect.whole(generation))
    )
    content_type = SSE if call.stream else "application/json"
    length = len(body) + 100
    yield _raw_head("HTTP/1.1 200 OK", f"content-type: {content_type}", f"content-length: {length}")
    yield Raw(body)
    yield Close()


def upgrade_101(call: Call) -> Steps:
    """A switch of protocols that the client did not request."""
    yield _raw_head("HTTP/1.1 101 Switching Protocols", "connection: Upgrade", "upgrade: chatter")
    yield Raw(b"no longer HTTP")
    yield Wait(call.options.token_delay)
    yield Close()


def trailing_bytes(call: Call) -> Steps:
    """A second response after the first, without a request."""
    body = compact(call.dialect.whole(call.generation()))
    own = (("content-type", "application/json"), ("content-length", str(len(body))))
    fields = [f"{name}: {value}" for name, value in own + success_headers(call)]
    yield _raw_head("HTTP/1.1 200 OK", *fields)
    yield Raw(body + b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen")
    yield Close()


WIRE: tuple[Scenario, ...] = (
    Scenario("no-length", "a body delimited by the end of the connection", no_length),
    Scenario("early-hints-103", "an interim response first", early_hints_103),
    Scenario("malformed-head", "bytes that are not HTTP", malformed_head, None, None, Ending.CUT),
    Scenario("wrong-length", "a Content-Length larger than the body", wrong_length,
             ending=Ending.CUT),
    Scenario("upgrade-101", "a switch of protocols", upgrade_101, 101, None, Ending.CUT),
    Scenario("trailing-bytes", "a second response without a request", trailing_bytes,
             content_type="application/json"),
)  # fmt: skip
