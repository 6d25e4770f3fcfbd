"""Constructors of error responses and of their rows in the scenario table."""

from __future__ import annotations

from collections.abc import Callable

from stub_backend.call import Call
from stub_backend.dialect import compact
from stub_backend.scenario import JSON, Scenario, body_head, stub_headers
from stub_backend.steps import Headers, Send, Steps

MakeBody = Callable[[Call], bytes]

USUAL_LENGTH = 131_072


def error_response(
    call: Call, status: int, content_type: str, body: bytes, extra: Headers = ()
) -> Steps:
    """Send an error response, without the platform's success headers."""
    yield body_head(status, content_type, len(body), stub_headers(call), extra)
    yield Send(body)


def detailed(
    name: str, detail: object, summary: str, extra: Headers = (), length: int = USUAL_LENGTH
) -> Scenario:
    """Return an error of the API, `{"detail": ...}`. The name starts with the status.

    In a text, `{model}` and `{id}` are replaced by the model's name and chute id. `length` is the
    model's context length in the catalog.
    """

    def body(call: Call) -> bytes:
        text = detail
        if isinstance(detail, str):
            text = detail.replace("{model}", call.chute.name).replace("{id}", call.chute.chute_id)
        return compact({"detail": text})

    return _row(name, summary, JSON, body, extra, length)


def paged(name: str, content_type: str, page: bytes, summary: str) -> Scenario:
    """Return an error with a fixed body. The name starts with the status."""
    return _row(name, summary, content_type, lambda _call: page, (), USUAL_LENGTH)


def engine_error(name: str, kind: str, message: str, summary: str) -> Scenario:
    """Return an error of the engine that the platform passed on: `error`, and no `detail`."""
    error = {"message": message, "type": kind, "param": None, "code": int(name[:3])}
    return _row(name, summary, JSON, lambda _call: compact({"error": error}), (), USUAL_LENGTH)


def _row(
    name: str, summary: str, content_type: str, body: MakeBody, extra: Headers, length: int
) -> Scenario:
    status = int(name[:3])

    def answer(call: Call) -> Steps:
        return error_response(call, status, content_type, body(call), extra)

    return Scenario(
        name,
        summary,
        answer,
        status=status,
        content_type=content_type,
        context_length=length,
    )
