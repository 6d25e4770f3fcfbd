"""``anthropic`` on ``/v1/messages``."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest
from anthropic import Anthropic

from tests.sdk.python.sdks.served import (
    ALIAS,
    BRIDGED,
    HELLO,
    LIST,
    ROUTER,
    SLOW_LIST,
    Caller,
    run_example,
)


def made(**options: Any) -> tuple[Caller, Anthropic]:
    """Return a caller and its client."""
    caller = Caller()
    return caller, Anthropic(**{"base_url": ROUTER, "auth_token": caller.key} | options)


@pytest.mark.parametrize("model", [ALIAS, LIST, "stub/ok"])
def test_plain_and_streamed(model: str) -> None:
    """Alias, list and direct name give the same text, unary and streamed."""
    _, client = made()
    plain: Any = client.messages.create(model=model, messages=HELLO, max_tokens=64).content[0]
    with client.messages.stream(model=model, messages=HELLO, max_tokens=64) as stream:
        streamed = "".join(stream.text_stream)
    assert plain.text == streamed
    assert streamed.startswith("Served by ")


def test_comments() -> None:
    """Comments before an answer change nothing."""
    _, client = made(default_headers=BRIDGED)
    with client.messages.stream(model=SLOW_LIST, messages=HELLO, max_tokens=64) as stream:
        assert "x-chutes-autopilot-selected" not in stream.response.headers
        assert "".join(stream.text_stream).startswith("Served by stub/slow-head")


@pytest.mark.parametrize("model", [ALIAS, LIST, "stub/ok"])
def test_count_tokens(model: str) -> None:
    """The tokens of a message are counted by the model that answered the one before."""
    caller, client = made()
    client.messages.create(model=model, messages=HELLO, max_tokens=9)
    answered = caller.models()[-1]
    assert client.messages.count_tokens(model=model, messages=HELLO).input_tokens > 0
    assert caller.models()[-1] == answered


def test_not_found() -> None:
    """What is not relayed below the endpoint is an error that the SDK can read."""
    _, client = made(max_retries=0)
    with pytest.raises(anthropic.NotFoundError) as raised:
        client.messages.batches.list()
    body: Any = raised.value.body
    assert body["error"]["type"] == "not_found_error"


@pytest.mark.parametrize("name", ["auth_token", "api_key"])
def test_keys(name: str) -> None:
    """The key reaches the platform, however it was passed to the SDK."""
    caller = Caller()
    options: Any = {name: caller.key}
    client = Anthropic(base_url=ROUTER, **options)
    client.messages.create(model="stub/ok", messages=HELLO, max_tokens=9)
    assert caller.models() == ["stub/ok"]


def test_raw_response() -> None:
    """The headers name the model."""
    _, client = made()
    raw = client.messages.with_raw_response.create(model=LIST, messages=HELLO, max_tokens=9)
    assert raw.headers["x-chutes-autopilot-selected"] == "stub/ok"


@pytest.mark.parametrize(
    ("scenario", "error"),
    [
        ("400-context", anthropic.BadRequestError),
        ("401", anthropic.AuthenticationError),
        ("404-model", anthropic.NotFoundError),
        ("429-edge-html", anthropic.RateLimitError),
        ("503-cold", anthropic.InternalServerError),
    ],
)
def test_errors(scenario: str, error: type[Exception]) -> None:
    """The platform's errors become the right exceptions."""
    caller, client = made(max_retries=0)
    with pytest.raises(error):
        client.messages.create(model=f"stub/{scenario}", messages=HELLO, max_tokens=9)
    assert caller.models() == [f"stub/{scenario}"]


def test_own_refusals() -> None:
    """The SDK can parse the router's own errors."""
    caller, client = made()
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.messages.create(model="stub/okk", messages=HELLO, max_tokens=9)
    body: Any = caught.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] == "invalid_request_error"
    assert "stub/ok" in body["error"]["message"]
    assert caught.value.response.headers["x-request-id"]
    assert caller.models() == []


def test_broken_stream() -> None:
    """A broken stream raises an exception."""
    _, client = made()
    with (
        pytest.raises(anthropic.APIError, match="incomplete"),
        client.messages.stream(
            model="stub/drop-mid-stream", messages=HELLO, max_tokens=64
        ) as stream,
    ):
        list(stream.text_stream)


def test_leaving() -> None:
    """A client that disconnects during a stream ends the upstream call."""
    caller, client = made()
    with client.messages.stream(
        model="stub/stall-mid-stream", messages=HELLO, max_tokens=64
    ) as stream:
        next(iter(stream))
    caller.left()


def test_start_page(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines on the router's own page work as they are."""
    caller = Caller()
    monkeypatch.setenv("CHUTES_API_KEY", caller.key)
    run_example("anthropic for Python")
    assert capsys.readouterr().out.startswith("Served by ")
    assert len(caller.calls()) == 1
