"""``litellm`` as a client: its provider ``openai`` with our base URL."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import litellm
import pytest
from litellm import exceptions

from tests.sdk.python.sdks.served import (
    ALIAS,
    BASE_URL,
    BRIDGED,
    HELLO,
    LIST,
    SLOW_LIST,
    TRIP,
    Caller,
    either,
)


def ask(model: str, caller: Caller | None = None, **options: Any) -> Any:
    """Make one completion; the first part of the name is litellm's and is not forwarded."""
    key = (caller or Caller()).key
    usual: dict[str, Any] = {"api_base": BASE_URL, "api_key": key, "messages": HELLO}
    return litellm.completion(model=f"openai/{model}", **(usual | {"num_retries": 0} | options))


def words(stream: Any) -> str:
    """Return the text of a stream."""
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream)


@either
@pytest.mark.parametrize("model", [ALIAS, LIST, "stub/ok"])
def test_plain_and_streamed(base_url: str, model: str) -> None:
    """Alias, list and direct name give the same text, unary and streamed."""
    caller = Caller(base_url)
    plain = ask(model, caller, api_base=base_url).choices[0].message.content
    assert plain.startswith("Served by ")
    assert words(ask(model, caller, api_base=base_url, stream=True)) == plain
    assert LIST.split(",")[1] in caller.models() or model == ALIAS


def test_comments() -> None:
    """Comments before an answer change nothing."""
    said = words(ask(SLOW_LIST, extra_headers=BRIDGED, stream=True))
    assert said.startswith("Served by stub/slow-head")


@either
def test_async(base_url: str) -> None:
    """Asynchronous calls, unary and streamed."""
    key = Caller(base_url).key

    async def both() -> tuple[str, str]:
        asked: Any = {"model": f"openai/{LIST}", "messages": HELLO}
        asked |= {"api_base": base_url, "api_key": key}
        plain = await litellm.acompletion(**asked)
        stream = await litellm.acompletion(**asked, stream=True)
        said = [chunk.choices[0].delta.content or "" async for chunk in stream]
        return plain.choices[0].message.content, "".join(said)

    plain, streamed = asyncio.run(both())
    assert plain == streamed


@either
def test_tools(base_url: str) -> None:
    """A tool call."""
    function = {"name": "weather", "parameters": {"type": "object", "properties": {}}}
    tools = [{"type": "function", "function": function}]
    answer = ask("stub/tool-call", Caller(base_url), api_base=base_url, tools=tools)
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "weather"
    assert litellm.utils.json.loads(call.function.arguments) == TRIP


@pytest.mark.parametrize(
    ("scenario", "error", "said"),
    [
        ("400-context", exceptions.BadRequestError, "maximum context length is 8192 tokens"),
        ("401", exceptions.AuthenticationError, "Invalid token."),
        # Whatever the status, litellm takes an `invalid_request_error` for a bad request.
        ("404-model", exceptions.BadRequestError, "model not found: stub/404-model"),
        ("429-edge-html", exceptions.RateLimitError, "429"),
        ("503-cold", exceptions.ServiceUnavailableError, "No instances available"),
    ],
)
def test_errors(scenario: str, error: type[Exception], said: str) -> None:
    """Errors become litellm's own, with the platform's words."""
    caller = Caller()
    with pytest.raises(error, match=re.escape(said)):
        ask(f"stub/{scenario}", caller, max_retries=0)
    assert caller.models() == [f"stub/{scenario}"]


def test_broken_stream() -> None:
    """A broken stream raises an exception."""
    with pytest.raises(Exception, match=r"(?i)incomplete|interrupted"):
        words(ask("stub/drop-mid-stream", stream=True))


def test_leaving() -> None:
    """A client that disconnects during a stream ends the upstream call."""
    caller = Caller()
    stream = ask("stub/stall-mid-stream", caller, stream=True)
    next(iter(stream))
    stream.completion_stream.close()
    caller.left()
