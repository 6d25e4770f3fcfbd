"""The official ``openai`` package, unmodified except for its base URL."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.sdk.python.conftest import Served

ALIAS = "chutesai/AutoPilot"
LIST = "stub/503-cold,stub/ok"


@pytest.fixture
def client(served: Served) -> Iterator[OpenAI]:
    """Return a client as users create it, with its own key, so that the router does not know it."""
    with OpenAI(base_url=served.base_url, api_key=f"fixture-{uuid4()}") as client:
        yield client


def _ask(client: OpenAI, model: str) -> str:
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Hello"}]
    )
    return answer.choices[0].message.content or ""


def _stream(client: OpenAI, model: str) -> str:
    stream = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Hello"}], stream=True
    )
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


@pytest.mark.parametrize("model", [ALIAS, LIST, "stub/ok"])
def test_plain_and_streamed(client: OpenAI, served: Served, model: str) -> None:
    """Alias, list and direct name give the same text, unary and streamed."""
    plain = _ask(client, model)
    assert plain.startswith("Served by ")
    assert _stream(client, model) == plain


def test_list_fails_over(client: OpenAI, served: Served) -> None:
    """A list fails over to the next model, invisibly to the SDK."""
    assert _ask(client, LIST).startswith("Served by stub/ok")
    assert served.models_called() == ["stub/503-cold", "stub/ok"]


def test_raw_response(client: OpenAI, served: Served) -> None:
    """The headers name the model and the number of attempts."""
    raw = client.chat.completions.with_raw_response.create(
        model=LIST, messages=[{"role": "user", "content": "Hello"}]
    )
    assert raw.headers["x-chutes-autopilot-selected"] == "stub/ok"
    assert int(raw.headers["x-chutes-autopilot-attempts"]) == len(served.models_called())
    assert raw.headers["x-request-id"]
    assert raw.parse().choices[0].message.content


def test_raw_streamed_response(client: OpenAI, served: Served) -> None:
    """The headers of a stream arrive before its text."""
    raw = client.chat.completions.with_raw_response.create(
        model=LIST, messages=[{"role": "user", "content": "Hello"}], stream=True
    )
    assert raw.headers["x-chutes-autopilot-selected"] == "stub/ok"
    assert raw.headers["x-chutes-autopilot-attempts"] == "2"
    chunks = list(raw.parse())
    assert {chunk.model for chunk in chunks} == {"stub/ok"}
    assert chunks[-1].usage is not None


def test_async(served: Served) -> None:
    """The asynchronous client, unary and streamed."""

    async def ask() -> tuple[str, str]:
        async with AsyncOpenAI(base_url=served.base_url, api_key="fixture") as client:
            plain = await client.chat.completions.create(
                model=ALIAS, messages=[{"role": "user", "content": "Hello"}]
            )
            stream = await client.chat.completions.create(
                model=ALIAS, messages=[{"role": "user", "content": "Hello"}], stream=True
            )
            words = [c.choices[0].delta.content or "" async for c in stream if c.choices]
            return plain.choices[0].message.content or "", "".join(words)

    plain, streamed = asyncio.run(ask())
    assert plain.startswith("Served by ")
    assert streamed == plain


def test_models(client: OpenAI, served: Served) -> None:
    """The model list begins with the alias, and each model can be retrieved."""
    models = [model.id for model in client.models.list()]
    assert models[0] == ALIAS
    assert client.models.retrieve(models[1]).id == models[1]


@pytest.mark.parametrize("scenario", ["drop-mid-stream", "reset-mid-stream", "bare-json-tail"])
def test_cut_stream_is_an_error(client: OpenAI, served: Served, scenario: str) -> None:
    """A broken stream raises an exception after the text before the break."""
    stream = client.chat.completions.create(
        model=f"stub/{scenario},stub/ok",
        messages=[{"role": "user", "content": "Hello"}],
        stream=True,
    )
    words: list[str] = []
    with pytest.raises(openai.APIError) as caught:
        words.extend(c.choices[0].delta.content or "" for c in stream if c.choices)
    assert "".join(words).startswith(f"Served by stub/{scenario}.")
    assert "incomplete" in str(caught.value)
    assert served.models_called() == [f"stub/{scenario}"]


def test_cut_async_stream_is_an_error(served: Served) -> None:
    """The asynchronous client raises an exception too."""

    async def ask() -> None:
        async with AsyncOpenAI(base_url=served.base_url, api_key=f"fixture-{uuid4()}") as client:
            stream = await client.chat.completions.create(
                model="stub/cut-40-of-60,stub/ok",
                messages=[{"role": "user", "content": "Hello"}],
                stream=True,
            )
            async for _chunk in stream:
                pass

    with pytest.raises(openai.APIError, match="incomplete"):
        asyncio.run(ask())
    assert served.models_called() == ["stub/cut-40-of-60"]


def test_unknown_model(client: OpenAI, served: Served) -> None:
    """A misspelt name gives a client error with a suggestion, and is not forwarded."""
    with pytest.raises(openai.BadRequestError) as caught:
        _ask(client, "stub/okk")
    assert caught.value.code == "unknown_model"
    assert caught.value.param == "model"
    assert "stub/ok" in str(caught.value)
    assert served.models_called() == []


@pytest.mark.parametrize(
    ("scenario", "error"),
    [
        ("401", openai.AuthenticationError),
        ("403-scope", openai.PermissionDeniedError),
        ("404-model", openai.NotFoundError),
        ("400-context", openai.BadRequestError),
        ("422-list", openai.UnprocessableEntityError),
        ("402-quota", openai.APIStatusError),
    ],
)
def test_upstream_errors(
    client: OpenAI, served: Served, scenario: str, error: type[openai.APIStatusError]
) -> None:
    """The platform's errors become the right exceptions after one call."""
    with pytest.raises(error):
        _ask(client, f"stub/{scenario}")
    assert len(served.models_called()) == 1


def test_edge_limit_is_not_retried(client: OpenAI, served: Served) -> None:
    """The SDK does not retry after a limit of the edge, because each call would extend the ban."""
    with pytest.raises(openai.RateLimitError):
        _ask(client, "stub/429-edge-html")
    assert len(served.models_called()) == 1


def test_503_is_retried(client: OpenAI, served: Served) -> None:
    """The SDK's retries are ordinary requests for the router."""
    with pytest.raises(openai.InternalServerError) as caught:
        _ask(client, "stub/503-cold")
    assert caught.value.status_code == 503
    assert len(served.models_called()) == 3
