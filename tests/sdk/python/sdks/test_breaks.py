"""``openai`` and ``anthropic`` with streams that break at any byte, and with broken connections.

Before an answer is whole a break is an error of the SDK's own; after it there is no error. CI
breaks a sample of the bytes, `make breaks` each of them.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import anthropic
import httpx
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from tests.sdk.python.sdks.served import BASE_URL, HELLO, ROUTER, STUB, Caller

_TOKENS = 2
_SAMPLE = 12
_EVERY_BYTE = "EVERY_BYTE" in os.environ
_CUT = "x-stub-cut"
_INTERRUPTED = "upstream_stream_interrupted"
# A connection that stays open after an answer must not delay the client.
_AT_ONCE = 30.0

_CALLER = Caller()
_OPENAI = OpenAI(base_url=BASE_URL, api_key=_CALLER.key, max_retries=0)
_ANTHROPIC = Anthropic(base_url=ROUTER, auth_token=_CALLER.key, max_retries=0)


class FailedError(Exception):
    """The SDK's last event says that the response failed, in the router's words."""


def chat(model: str, stream: bool, **headers: str) -> str:
    """The text of a chat completion."""
    answer: Any = _OPENAI.chat.completions.create(
        model=model, messages=HELLO, stream=stream, max_tokens=_TOKENS, extra_headers=headers
    )
    if not stream:
        return str(answer.choices[0].message.content)
    return "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)


def messages(model: str, stream: bool, **headers: str) -> str:
    """The text of a message."""
    answer: Any = _ANTHROPIC.messages.create(
        model=model, messages=HELLO, stream=stream, max_tokens=_TOKENS, extra_headers=headers
    )
    if not stream:
        return str(answer.content[0].text)
    events = list(answer)
    return "".join(event.delta.text for event in events if event.type == "content_block_delta")


def responses(model: str, stream: bool, **headers: str) -> str:
    """The text of a response; of one that failed there is none."""
    answer: Any = _OPENAI.responses.create(
        model=model, input="Hello", stream=stream, max_output_tokens=_TOKENS, extra_headers=headers
    )
    if not stream:
        return str(answer.output_text)
    events = list(answer)
    for event in events:
        if event.type == "response.failed":
            assert event.response.error.code == _INTERRUPTED
            assert event.sequence_number == len(events) - 1
            raise FailedError
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


Ask = Callable[..., str]
_PATHS = {chat: "chat/completions", messages: "messages", responses: "responses"}
# Behind it the answer is whole: the last finish reason, or the API's terminator.
_WHOLE = {
    chat: rb'"finish_reason":"length".*?\n\n',
    messages: rb"event: message_stop\n.*?\n\n",
    responses: rb"event: response\.completed\n.*?\n\n",
}
_OWN_ERRORS = (openai.APIError, anthropic.APIError, FailedError)
# Of a connection that ends within an event, these versions pass on what their transport raises.
_TRANSPORT_ERRORS = ("httpx.RemoteProtocolError", "httpx2.RemoteProtocolError")


@cache
def answer(ask: Ask) -> bytes:
    """The bytes of the stream that is broken."""
    asked: dict[str, Any] = {"model": "stub/cut-at", "stream": True, "max_tokens": _TOKENS}
    own: dict[str, Any] = {"input": "Hello"} if ask is responses else {"messages": HELLO}
    fields = {_CUT: "1000000"}
    parts: list[bytes] = []
    url = f"{STUB}/v1/{_PATHS[ask]}"
    with (
        httpx.stream("POST", url, json=asked | own, headers=fields) as said,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        parts.extend(said.iter_raw())
    return b"".join(parts)


def whole_at(ask: Ask) -> int:
    """The number of bytes with which the answer is whole."""
    found = re.search(_WHOLE[ask], answer(ask), re.DOTALL)
    assert found is not None
    return found.end()


def cuts(ask: Ask) -> Iterator[int]:
    """The numbers of bytes after which the stream breaks."""
    total = len(answer(ask))
    if _EVERY_BYTE:
        yield from range(total + 1)
        return
    boundaries = [found.end() for found in re.finditer(rb"\n\n", answer(ask))]
    around = {at + each for at in boundaries for each in (-1, 0)}
    yield from sorted({0, 1, *around, *range(0, total, total // _SAMPLE)})


@pytest.mark.parametrize("ask", [chat, messages, responses])
def test_breaks(ask: Ask) -> None:
    """Before the answer is whole, an error of the SDK's own; then none."""
    whole = whole_at(ask)
    for cut in cuts(ask):
        before = answer(ask)[:cut]
        raised: Exception | None = None
        try:
            ask("stub/cut-at", stream=True, **{_CUT: str(cut)})
        except Exception as error:  # noqa: BLE001 - each kind is looked at below
            raised = error
        what = (cut, whole, before[-80:], raised)
        assert (raised is None) == (cut >= whole), what
        if raised is not None and not isinstance(raised, _OWN_ERRORS):
            assert not before.endswith(b"\n\n"), what
            assert _name(raised) in _TRANSPORT_ERRORS, what


def _name(error: Exception) -> str:
    kind = type(error)
    return f"{kind.__module__}.{kind.__qualname__}"


@pytest.mark.parametrize("ask", [chat, messages, responses])
@pytest.mark.parametrize("stream", [True, False])
def test_behind_the_terminator(ask: Ask, stream: bool) -> None:
    """A whole answer is no error, whatever its connection does afterwards."""
    for scenario in ("ok", "done-reset", "done-held", "done-late", "done-more", "done-cut"):
        if scenario == "done-cut" and not stream:
            continue  # a plain answer without its last chunk has no end
        began = time.monotonic()
        text = ask(f"stub/{scenario}", stream=stream)
        assert text.startswith(f"Served by stub/{scenario}."), scenario
        assert time.monotonic() - began < _AT_ONCE, scenario
