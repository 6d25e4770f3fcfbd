"""The router before the stub on one virtual network, and a client that notes what it sees."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from autopilot import AutopilotService, Settings, autopilot_resource
from autopilot.web.limits import Limits
from autopilot.web.site import AutopilotSite
from stub_backend import Stub, StubOptions, site
from tests.conduct.network import Network

_URL = "http://192.0.2.1"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the client of one streamed request saw.

    ``end``: "whole" (a terminator or a complete error), "cut with an error event" or "cut".
    """

    status: int
    end: str
    model: str | None
    code: str | None
    usage: bool
    seconds: float
    headers: dict[str, str]


class Client(Protocol):
    """Reads one response, or its pieces."""

    def __init__(self) -> None:
        self.received = b""
        self.over = False

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.received += data
        head, _, body = self.received.partition(b"\r\n\r\n")
        length = _header(head, b"content-length")
        whole = len(body) >= int(length) if length else body.endswith(b"0\r\n\r\n")
        self.over = self.over or (bool(head) and whole)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """No more will come."""
        self.over = True


class Served:
    """A router with default settings but for those given, ready."""

    def __init__(self, *, tokens: int = 60, **settings: Any) -> None:
        self.network = Network()
        self.stub: Stub = site(self.network, StubOptions(tokens=tokens, token_delay=0.05))
        self.network.server = self.stub.site
        self.service = AutopilotService(
            Settings(
                backend_base_url=_URL,
                models_url=f"{_URL}/v1/models",
                utilization_url=f"{_URL}/chutes/utilization",
                **settings,
            ),
            reactor=self.network,
            listen=False,
        )
        self._site = AutopilotSite(autopilot_resource(self.service), self.network, Limits())
        self.service.startService()
        self.network.pass_time(1)

    def ask(self, model: str, limit: float = 700) -> Seen:
        """Stream one answer to its end."""
        client, started = Client(), self.network.seconds()
        self.network.join(client, self._site.buildProtocol(None))
        body = json.dumps(
            {
                "model": model,
                "stream": True,
                "messages": [{"role": "user", "content": "Tell me a story."}],
            }
        ).encode()
        assert client.transport is not None
        client.transport.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: router\r\n"
            b"Authorization: Bearer fixture\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        self.network.run(lambda: client.over, limit)
        seen = _seen(client.received, self.network.seconds() - started)
        client.transport.loseConnection()
        self.network.pass_time(0.001)
        return seen

    def calls(self, model: str) -> int:
        """How often a model was asked upstream."""
        return len(self.stub.calls(model))


def _seen(received: bytes, seconds: float) -> Seen:
    head, _, rest = received.partition(b"\r\n\r\n")
    headers = {
        name.decode().lower(): value.strip().decode()
        for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
    }
    chunked = headers.get("transfer-encoding") == "chunked"
    body, whole = _dechunked(rest) if chunked else (rest, True)
    events = _events(body) if "event-stream" in headers["content-type"] else [_object(body)]
    error = next((event["error"] for event in events if "error" in event), None)
    models = [event["model"] for event in events if event.get("model")]
    return Seen(
        status=int(head.split(b" ", 2)[1]),
        end="whole" if whole else "cut with an error event" if error else "cut",
        model=models[-1] if models else None,
        code=error.get("code") if isinstance(error, dict) else None,
        usage=any(event.get("usage") and not event.get("choices") for event in events),
        seconds=round(seconds, 2),
        headers=headers,
    )


def _dechunked(rest: bytes) -> tuple[bytes, bool]:
    """The body so far, and whether it has its last chunk."""
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return body, True
        body, rest = body + rest[:length], rest[length + 2 :]
    return body, False


def _events(body: bytes) -> list[dict[str, Any]]:
    lines = (line for line in body.split(b"\n") if line.startswith(b"data: {"))
    return [_object(line.removeprefix(b"data: ")) for line in lines]


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _header(head: bytes, name: bytes) -> bytes | None:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip()
    return None
