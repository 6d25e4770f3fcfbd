"""``langchain-openai``."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from tests.sdk.python.sdks.served import (
    ALIAS,
    BASE_URL,
    BRIDGED,
    LIST,
    SLOW_LIST,
    TRIP,
    Caller,
    either,
)


class Trip(BaseModel):
    """A journey."""

    city: str
    days: int


def weather(city: str, days: int) -> str:
    """Report the weather."""
    return f"{city}, {days} days: rain"


def made(model: str, base_url: str = BASE_URL, **options: Any) -> tuple[Caller, ChatOpenAI]:
    """Return a caller and its client."""
    caller = Caller(base_url)
    return caller, ChatOpenAI(model=model, base_url=base_url, api_key=caller.key, **options)


@either
@pytest.mark.parametrize("model", [ALIAS, LIST, "stub/ok"])
def test_plain_and_streamed(base_url: str, model: str) -> None:
    """Alias, list and direct name give the same text, unary and streamed."""
    _, chat = made(model, base_url)
    plain = chat.invoke("Hello").content
    assert "".join(str(each.content) for each in chat.stream("Hello")) == plain
    assert str(plain).startswith("Served by ")


def test_comments() -> None:
    """Comments before an answer change nothing."""
    _, chat = made(SLOW_LIST, default_headers=BRIDGED)
    words = "".join(str(each.content) for each in chat.stream("Hello"))
    assert words.startswith("Served by stub/slow-head")


@either
def test_async_and_batch(base_url: str) -> None:
    """Asynchronous calls, and a batch."""
    _, chat = made(LIST, base_url)

    async def ask() -> str:
        return "".join([str(each.content) async for each in chat.astream("Hello")])

    assert asyncio.run(ask()).startswith("Served by stub/ok")
    assert len({str(each.content) for each in chat.batch(["Hello"] * 5)}) == 1


@either
def test_tools(base_url: str) -> None:
    """A tool call is parsed, unary and streamed."""
    caller, chat = made("stub/tool-call", base_url)
    bound = chat.bind_tools([tool(weather)])
    streamed: Any = None
    for chunk in bound.stream("Hello"):
        streamed = chunk if streamed is None else streamed + chunk
    for answer in (bound.invoke("Hello"), streamed):
        (call,) = answer.tool_calls
        assert (call["name"], call["args"]) == ("weather", TRIP)
    assert caller.body()["tools"][0]["function"]["name"] == "weather"


@either
def test_structured_output(base_url: str) -> None:
    """Structured output with a schema."""
    _, chat = made("stub/structured", base_url)
    structured = chat.with_structured_output(Trip, method="json_schema")
    assert structured.invoke("Hello") == Trip(city="Oslo", days=3)


@pytest.mark.parametrize(
    ("scenario", "error"),
    [
        ("400-context", openai.BadRequestError),
        ("401", openai.AuthenticationError),
        ("404-model", openai.NotFoundError),
        ("429-edge-html", openai.RateLimitError),
        ("503-cold", openai.InternalServerError),
    ],
)
def test_errors(scenario: str, error: type[Exception]) -> None:
    """Exceptions are those of the underlying package."""
    caller, chat = made(f"stub/{scenario}", max_retries=0)
    with pytest.raises(error):
        chat.invoke("Hello")
    assert caller.models() == [f"stub/{scenario}"]


def test_broken_stream() -> None:
    """A broken stream raises an exception."""
    _, chat = made("stub/drop-mid-stream")
    with pytest.raises(openai.APIError):
        list(chat.stream("Hello"))


def test_leaving() -> None:
    """A client that disconnects during a stream ends the upstream call."""
    caller, chat = made("stub/stall-mid-stream")
    stream = chat.stream("Hello")
    next(stream)
    stream.close()
    caller.left()
