"""The newest ``openai`` with streams that break at any byte; sdks/test_breaks.py has the others."""

from __future__ import annotations

import http.client
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.sdk.python.conftest import Served

_CUT = "x-stub-cut"
_INTERRUPTED = "upstream_stream_interrupted"
_QUESTION = [{"role": "user", "content": "Hello"}]
_STEP = 1 if "EVERY_BYTE" in os.environ else 211


def chat(client: OpenAI, cut: int) -> str | None:
    """Stream a completion that is cut; return the last event's error, if it is one."""
    stream: Any = client.chat.completions.create(
        model="stub/cut-at",
        messages=_QUESTION,  # type: ignore[arg-type]
        stream=True,
        max_tokens=2,
        extra_headers={_CUT: str(cut)},
    )
    list(stream)
    return None


def responses(client: OpenAI, cut: int) -> str | None:
    """Stream a response that is cut; return the last event's error, if it is one."""
    stream: Any = client.responses.create(
        model="stub/cut-at",
        input="Hello",
        stream=True,
        max_output_tokens=2,
        extra_headers={_CUT: str(cut)},
    )
    last = list(stream)[-1]
    return str(last.response.error.code) if last.type == "response.failed" else None


Ask = Callable[[OpenAI, int], str | None]


def _answer(served: Served, path: str) -> bytes:
    """Return the bytes that are cut."""
    asked: dict[str, Any] = {"model": "stub/cut-at", "stream": True, "max_tokens": 2}
    body = json.dumps(asked | {"messages": _QUESTION, "input": "Hello"})
    parts: list[bytes] = []
    with closing(http.client.HTTPConnection("127.0.0.1", served.stub.port)) as connection:
        connection.request("POST", f"/v1/{path}", body, {_CUT: "1000000"})
        with suppress(http.client.IncompleteRead), connection.getresponse() as response:
            while part := response.read1():
                parts.append(part)
    return b"".join(parts)


def _cuts(answer: bytes) -> Iterator[int]:
    boundaries = [found.end() for found in re.finditer(rb"\n\n", answer)]
    yield from sorted({1, *boundaries, *range(0, len(answer) + 1, _STEP)})


@pytest.mark.parametrize(
    ("ask", "path", "whole"),
    [
        (chat, "chat/completions", rb'"finish_reason":"length".*?\n\n'),
        (responses, "responses", rb"event: response\.completed\n.*?\n\n"),
    ],
    ids=["chat", "responses"],
)
def test_breaks(served: Served, ask: Ask, path: str, whole: bytes) -> None:
    """Before the answer is whole, an error of the SDK's own; then none."""
    answer = _answer(served, path)
    found = re.search(whole, answer, re.DOTALL)
    assert found is not None
    with OpenAI(base_url=served.base_url, api_key="fixture", max_retries=0) as client:
        for cut in _cuts(answer):
            said: object
            try:
                said = ask(client, cut)
            except openai.APIError as error:
                said = error
            broken = said == _INTERRUPTED or isinstance(said, openai.APIError)
            assert broken == (cut < found.end()), (cut, found.end(), answer[:cut][-80:], said)
