"""Both SDKs show the platform's message, for every error of the stub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import anthropic
import httpx
import openai
import pytest

from tests.sdk.python.sdks.served import BASE_URL, HELLO, ROUTER, STUB, Caller

_OPENAI: Mapping[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
}
_ANTHROPIC: Mapping[int, type[anthropic.APIStatusError]] = {
    400: anthropic.BadRequestError,
    401: anthropic.AuthenticationError,
    403: anthropic.PermissionDeniedError,
    404: anthropic.NotFoundError,
    409: anthropic.ConflictError,
    422: anthropic.UnprocessableEntityError,
    429: anthropic.RateLimitError,
}
_ANTHROPIC_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


class Said(NamedTuple):
    """An error of the platform: its status, and its message if it is JSON.

    ``owned``: it already has an ``error`` member.
    """

    status: int
    words: str | None
    owned: bool


def _errors() -> Mapping[str, Said]:
    """Return the stub's errors by model, as sent to a client without a router."""
    names = [each["id"] for each in httpx.get(f"{STUB}/v1/models").json()["data"]]
    return {
        name: _said(name)
        for name in names
        if name.startswith(("stub/4", "stub/5")) and not name.endswith("-reused")
    }


def _said(name: str) -> Said:
    response = httpx.post(
        f"{STUB}/v1/chat/completions",
        headers={"Authorization": "Bearer fixture"},
        json={"model": name, "messages": HELLO},
    )
    assert response.status_code == int(name[5:8]), name
    if "json" not in response.headers["content-type"]:
        return Said(response.status_code, None, owned=False)
    body = response.json()
    return Said(response.status_code, _words(body), "error" in body)


def _words(body: Any) -> str:
    """Return the message for people in an error's JSON."""
    told = body.get("error", body.get("detail"))
    match told:
        case str():
            return told
        case {"message": str(message)}:
            return message
        case [{"msg": str(message)}]:
            return message
    raise AssertionError(body)


def test_openai() -> None:
    """Class, status, message and type are right, unary and streamed."""
    errors = _errors()
    assert len(errors) > 50
    with openai.OpenAI(base_url=BASE_URL, api_key=Caller().key, max_retries=0) as client:
        for name, said in errors.items():
            for stream in (False, True):
                with pytest.raises(openai.APIStatusError) as caught:
                    client.chat.completions.create(model=name, messages=HELLO, stream=stream)
                _check_openai(caught.value, said, name)


def _check_openai(error: openai.APIStatusError, said: Said, name: str) -> None:
    fallback = openai.InternalServerError if said.status >= 500 else openai.APIStatusError
    assert type(error) is _OPENAI.get(said.status, fallback), name
    assert error.status_code == said.status, name
    if said.words is None:
        return
    # The SDK quotes the body as a Python literal.
    assert repr(said.words)[1:-1] in str(error), name
    if not said.owned:
        body: Any = error.body
        assert body["message"] == said.words, name
        kinds = {401: "authentication_error", 429: "rate_limit_error"}
        usual = "server_error" if said.status >= 500 else "invalid_request_error"
        assert error.type == kinds.get(said.status, usual), name
        assert (error.code, error.param) == (None, None), name


def test_anthropic() -> None:
    """The same holds on the messages endpoint, in Anthropic's format."""
    with anthropic.Anthropic(base_url=ROUTER, auth_token=Caller().key, max_retries=0) as client:
        for name, said in _errors().items():
            with pytest.raises(anthropic.APIStatusError) as caught:
                client.messages.create(model=name, messages=HELLO, max_tokens=9)
            _check_anthropic(caught.value, said, name)


def _check_anthropic(error: anthropic.APIStatusError, said: Said, name: str) -> None:
    fallback = anthropic.InternalServerError if said.status >= 500 else anthropic.APIStatusError
    assert isinstance(error, _ANTHROPIC.get(said.status, fallback)), name
    assert error.status_code == said.status, name
    if said.words is None:
        return
    assert repr(said.words)[1:-1] in str(error), name
    if not said.owned:
        body: Any = error.body
        usual = "api_error" if said.status >= 500 else "invalid_request_error"
        assert body["error"]["type"] == _ANTHROPIC_TYPES.get(said.status, usual), name
        assert body["error"]["message"] == said.words, name
