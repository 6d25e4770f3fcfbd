"""A client for one streamed chat completion, with the standard library only."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse

from stub_backend.demo_processes import HOST, DemoError

_DONE = "[DONE]"
_TIMEOUT = 15.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The facts of one response; times are seconds since the request."""

    selected: str | None
    attempts: str | None
    request_id: str | None
    first_token: float
    seconds: float
    tokens: int


def stream(port: int, model: str, question: str, token: Callable[[str], None]) -> Answer:
    """Send a request, call `token` with each token, and return the facts. Raises DemoError."""
    connection = HTTPConnection(HOST, port, timeout=_TIMEOUT)
    asked = {"model": model, "stream": True, "messages": [{"role": "user", "content": question}]}
    started = time.monotonic()
    try:
        connection.request(
            "POST",
            "/v1/chat/completions",
            json.dumps(asked).encode(),
            {"Content-Type": "application/json", "Authorization": "Bearer demo"},
        )
        response = connection.getresponse()
        if response.status != 200:
            text = response.read(300).decode("utf-8", "replace")
            raise DemoError(f"{model}: status {response.status}: {text}")
        moments = [time.monotonic() for each in _tokens(response) if _hand_on(token, each)]
    except (OSError, HTTPException) as error:
        raise DemoError(f"the response of {model} broke off: {error!r}") from None
    finally:
        connection.close()
    if not moments:
        raise DemoError(f"the response of {model} was empty")
    return Answer(
        selected=response.getheader("x-chutes-autopilot-selected"),
        attempts=response.getheader("x-chutes-autopilot-attempts"),
        request_id=response.getheader("x-request-id"),
        first_token=moments[0] - started,
        seconds=moments[-1] - started,
        tokens=len(moments),
    )


def _hand_on(token: Callable[[str], None], text: str) -> bool:
    token(text)
    return True


def _tokens(response: HTTPResponse) -> Iterator[str]:
    """Yield the tokens of the stream. Raises DemoError if it ends without its terminator."""
    for line in iter(response.readline, b""):
        text = line.decode("utf-8").strip()
        if not text.startswith("data:"):
            continue
        data = text.removeprefix("data:").strip()
        if data == _DONE:
            response.read()
            return
        event = json.loads(data)
        if "error" in event:
            raise DemoError(f"the stream ended with an error: {event['error']}")
        for choice in event["choices"]:
            if piece := choice["delta"].get("content"):
                yield piece
    raise DemoError("the stream ended without its terminator")
