"""A client for one streamed chat completion, with the standard library only."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead

from stub_backend.demo.processes import HOST, DemoError

# The stub, like the platform, lists instances for keys of this form only.
KEY = "cpk_demo.of.autopilot"
_DONE = "[DONE]"
_TIMEOUT = 30.0
_READ = 65_536


class RefusedError(DemoError):
    """A response without a stream. `error` is the member of its body, if it has one."""

    def __init__(self, model: str, status: int, body: bytes) -> None:
        super().__init__(f"{model}: status {status}: {body[:300].decode('utf-8', 'replace')}")
        self.status = status
        try:
            self.error: dict[str, object] = json.loads(body)["error"]
        except (ValueError, LookupError, TypeError):
            self.error = {}


@dataclass(frozen=True, slots=True)
class Answer:
    """The facts of one response; times are seconds since the request.

    `error` is the error event with which a broken stream ends. `whole` says that both the stream
    and the body that carries it have their proper ends. `verified` is what the router states about
    the instance that answered in private.
    """

    selected: str | None
    attempts: int
    request_id: str | None
    first_token: float
    seconds: float
    tokens: int
    error: dict[str, object] | None
    whole: bool
    verified: str | None = None


class Events:
    """The events of one response, read as they arrive; see `Answer` for `error`."""

    def __init__(self, response: HTTPResponse) -> None:
        self._response = response
        self._done = False
        self._cut = False
        self.error: dict[str, object] | None = None

    @property
    def whole(self) -> bool:
        """Whether the stream ended with its terminator, and the body with its last chunk."""
        return self._done and not self._cut

    def tokens(self) -> Iterator[str]:
        """Yield the tokens, until the body ends or the connection does."""
        for line in self._lines():
            if not line.startswith("data:"):
                continue
            data = line.removeprefix("data:").strip()
            if data == _DONE:
                self._done = True
                continue
            event = json.loads(data)
            if "error" in event:
                self.error = event["error"]
            for choice in event.get("choices", ()):
                if piece := choice["delta"].get("content"):
                    yield piece

    def _lines(self) -> Iterator[str]:
        rest = b""
        try:
            # Unlike readline(), read1() reports a body without its last chunk.
            while data := self._response.read1(_READ):
                *lines, rest = (rest + data).split(b"\n")
                for each in lines:
                    yield each.decode("utf-8").strip()
        except (IncompleteRead, ConnectionError):
            self._cut = True


def stream(port: int, model: str, question: str, token: Callable[[str], None]) -> Answer:
    """Send a request, call `token` with each token, and return the facts. Raises DemoError."""
    connection = HTTPConnection(HOST, port, timeout=_TIMEOUT)
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": question}]}
    started = time.monotonic()
    try:
        connection.request(
            "POST",
            "/v1/chat/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"},
        )
        response = connection.getresponse()
        if response.status != 200:
            raise RefusedError(model, response.status, response.read())
        events = Events(response)
        moments = [time.monotonic() for each in events.tokens() if _hand_on(token, each)]
    except (OSError, HTTPException) as error:
        raise DemoError(f"{model}: no response: {error!r}") from None
    finally:
        connection.close()
    if not moments:
        raise DemoError(f"the response of {model} was empty")
    return Answer(
        selected=response.getheader("x-chutes-autopilot-selected"),
        attempts=int(response.getheader("x-chutes-autopilot-attempts") or 1),
        request_id=response.getheader("x-request-id"),
        first_token=moments[0] - started,
        seconds=moments[-1] - started,
        tokens=len(moments),
        error=events.error,
        whole=events.whole,
        verified=response.getheader("x-chutes-autopilot-private"),
    )


def _hand_on(token: Callable[[str], None], text: str) -> bool:
    token(text)
    return True
