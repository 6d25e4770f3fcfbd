"""``openai`` in the version that the other SDKs use; tests/sdk/python has the newest."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from tests.sdk.python.sdks.served import (
    ALIAS,
    BASE_URL,
    BRIDGED,
    HELLO,
    LIST,
    NARROW_BASE_URL,
    SLOW_LIST,
    TRIP,
    Caller,
    either,
    occupied,
    run_example,
    script,
    until,
)

_TOOLS: Any = [
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
]


class Trip(BaseModel):
    """The schema of the structured output."""

    city: str
    days: int


def made(**options: Any) -> tuple[Caller, OpenAI]:
    """Return a caller and its client."""
    caller = Caller(options.get("base_url", BASE_URL))
    return caller, OpenAI(**{"base_url": BASE_URL, "api_key": caller.key} | options)


@either
@pytest.mark.parametrize("model", [ALIAS, LIST, "stub/ok"])
def test_plain_and_streamed(base_url: str, model: str) -> None:
    """Alias, list and direct name give the same text, unary and streamed."""
    _, client = made(base_url=base_url)
    plain = client.chat.completions.create(model=model, messages=HELLO)
    stream = client.chat.completions.create(model=model, messages=HELLO, stream=True)
    words = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert plain.choices[0].message.content == words
    assert words.startswith("Served by ")


@either
def test_async(base_url: str) -> None:
    """The asynchronous client, with concurrent calls."""
    key = Caller(base_url).key

    async def ask() -> list[str]:
        async with AsyncOpenAI(base_url=base_url, api_key=key) as client:
            answers = (client.chat.completions.create(model=LIST, messages=HELLO) for _ in range(9))
            done = await asyncio.gather(*answers)
            return [each.choices[0].message.content or "" for each in done]

    assert all(each.startswith("Served by stub/ok") for each in asyncio.run(ask()))


@either
def test_raw_response(base_url: str) -> None:
    """The headers name the model, the number of attempts, and the request id."""
    caller, client = made(base_url=base_url)
    raw = client.chat.completions.with_raw_response.create(model=LIST, messages=HELLO)
    assert raw.headers["x-chutes-autopilot-selected"] == "stub/ok"
    assert raw.parse()._request_id == raw.headers["x-request-id"]
    first, second = LIST.split(",")
    # In private mode another instance of a model is tried before the next model.
    expected = [first, second] if base_url == BASE_URL else [first, first, second]
    assert caller.models() == expected
    assert raw.headers["x-chutes-autopilot-attempts"] == str(len(expected))


@either
def test_streaming_response(base_url: str) -> None:
    """Lines arrive as they are sent."""
    _, client = made(base_url=base_url)
    create = client.chat.completions.with_streaming_response.create
    with create(model="stub/ok", messages=HELLO, stream=True) as response:
        lines = [line for line in response.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"


@either
def test_tools(base_url: str) -> None:
    """A tool call, unary and assembled from fragments."""
    caller, client = made(base_url=base_url)
    asked: Any = {"model": "stub/tool-call", "messages": HELLO, "tools": _TOOLS}
    plain = client.chat.completions.create(**asked)
    with client.chat.completions.stream(**asked) as stream:
        streamed = stream.get_final_completion()
    for choice in (plain.choices[0], streamed.choices[0]):
        assert choice.finish_reason == "tool_calls"
        assert choice.message.tool_calls is not None
        (call,) = choice.message.tool_calls
        assert call.type == "function"
        assert call.function.name == "weather"
        assert json.loads(call.function.arguments) == TRIP
    assert caller.body()["tools"] == _TOOLS


@either
def test_structured_output(base_url: str) -> None:
    """A schema is forwarded, and the answer is parsed into an object."""
    caller, client = made(base_url=base_url)
    asked: Any = {"model": "stub/structured", "messages": HELLO, "response_format": Trip}
    plain = client.chat.completions.parse(**asked)
    with client.chat.completions.stream(**asked) as stream:
        streamed = stream.get_final_completion()
    for choice in (plain.choices[0], streamed.choices[0]):
        assert choice.message.parsed == Trip(**TRIP)  # type: ignore[arg-type]
    assert caller.body()["response_format"]["json_schema"]["name"] == "Trip"


@either
def test_completions(base_url: str) -> None:
    """The completions API, streamed."""
    _, client = made(base_url=base_url)
    text = client.completions.create(model=LIST, prompt="Hello", stream=True)
    assert "".join(each.choices[0].text for each in text if each.choices)


def test_responses() -> None:
    """The responses API, streamed."""
    _, client = made()
    events = client.responses.create(model=LIST, input="Hello", stream=True)
    deltas = [each.delta for each in events if each.type == "response.output_text.delta"]
    assert "".join(deltas).startswith("Served by stub/ok")


def test_comments() -> None:
    """Comments before an answer change nothing, in chat and in responses."""
    _, client = made(default_headers=BRIDGED)
    raw = client.chat.completions.with_raw_response.create(
        model=SLOW_LIST, messages=HELLO, stream=True
    )
    assert "x-chutes-autopilot-selected" not in raw.headers
    chunks = list(raw.parse())
    words = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert words.startswith("Served by stub/slow-head")
    events = client.responses.create(model=SLOW_LIST, input="Hello", stream=True)
    deltas = [each.delta for each in events if each.type == "response.output_text.delta"]
    assert "".join(deltas).startswith("Served by stub/slow-head")


def test_models() -> None:
    """The alias comes first."""
    _, client = made()
    assert next(iter(client.models.list())).id == ALIAS


@pytest.mark.parametrize(
    ("scenario", "error"),
    [
        ("400-context", openai.BadRequestError),
        ("401", openai.AuthenticationError),
        ("402-quota", openai.APIStatusError),
        ("403-scope", openai.PermissionDeniedError),
        ("404-model", openai.NotFoundError),
        ("413", openai.APIStatusError),
        ("422-list", openai.UnprocessableEntityError),
        ("429-edge-html", openai.RateLimitError),
    ],
)
def test_errors(scenario: str, error: type[openai.APIStatusError]) -> None:
    """The platform's errors become the right exceptions after one call, unary and streamed."""
    for stream in (False, True):
        caller, client = made()
        with pytest.raises(error) as caught:
            client.chat.completions.create(model=f"stub/{scenario}", messages=HELLO, stream=stream)
        assert caught.value.request_id
        assert caller.models() == [f"stub/{scenario}"]


def test_own_refusals() -> None:
    """The router's errors do too; the SDK does not repeat calls in vain."""
    caller, client = made()
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="stub/okk", messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("unknown_model", "model")
    assert "stub/ok" in caught.value.message
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="stub/ok", input="Hello")
    assert caller.models() == []


def test_retries() -> None:
    """The SDK repeats a 503 until it succeeds or gives up."""
    caller, client = made()
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="stub/503-cold", messages=HELLO)
    assert len(caller.models()) == 3
    script("stub/ok-vllm", "503-cold")
    caller, client = made()
    client.chat.completions.create(model="stub/ok-vllm", messages=HELLO)
    assert len(caller.models()) == 2


def test_our_own_503() -> None:
    """An overloaded router sends Retry-After, and the SDK waits."""
    caller, client = made(base_url=NARROW_BASE_URL, max_retries=0)
    with occupied():
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model="stub/ok", messages=HELLO)
        assert caught.value.code == "overloaded"
        assert caught.value.response.headers["retry-after"] == "1"
    done: list[Any] = []
    with occupied():
        asked = threading.Thread(
            target=lambda: done.append(
                client.with_options(max_retries=9).chat.completions.create(
                    model="stub/ok", messages=HELLO
                )
            )
        )
        asked.start()
    asked.join()
    assert done[0].choices[0].message.content.startswith("Served by stub/ok")
    assert caller.models() == ["stub/ok"]


@pytest.mark.parametrize(
    "scenario", ["drop-mid-stream", "reset-mid-stream", "bare-json-tail", "error-event-mid"]
)
def test_broken_stream(scenario: str) -> None:
    """A broken stream raises an exception after the text before the break."""
    caller, client = made()
    stream = client.chat.completions.create(
        model=f"stub/{scenario},stub/ok", messages=HELLO, stream=True
    )
    words: list[str] = []
    with pytest.raises(openai.APIError):
        words.extend(each.choices[0].delta.content or "" for each in stream if each.choices)
    assert "".join(words).startswith(f"Served by stub/{scenario}.")
    assert caller.models() == [f"stub/{scenario}"]


@either
def test_leaving(base_url: str) -> None:
    """A client that disconnects during a stream ends the upstream call."""
    caller, client = made(base_url=base_url)
    stream = client.chat.completions.create(
        model="stub/stall-mid-stream", messages=HELLO, stream=True
    )
    next(iter(stream))
    stream.close()
    caller.left()


def test_leaving_async() -> None:
    """A cancelled task does so too, before the first byte."""
    caller = Caller()

    async def ask() -> None:
        async with AsyncOpenAI(base_url=BASE_URL, api_key=caller.key) as client:
            answer = asyncio.create_task(
                client.chat.completions.create(model="stub/hang-head", messages=HELLO)
            )
            while not await asyncio.to_thread(caller.calls):
                await asyncio.sleep(0.02)
            answer.cancel()
            with pytest.raises(asyncio.CancelledError):
                await answer

    asyncio.run(ask())
    caller.left()


def test_timeout() -> None:
    """A client that times out does so too."""
    caller, client = made(timeout=0.5, max_retries=0)
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model="stub/hang-head", messages=HELLO)
    until(lambda: all(each["aborted"] for each in caller.calls()))


def test_start_page(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines on the router's own page work as they are."""
    caller = Caller()
    monkeypatch.setenv("CHUTES_API_KEY", caller.key)
    run_example("openai for Python")
    assert capsys.readouterr().out.startswith("Served by ")
    assert len(caller.calls()) == 1
