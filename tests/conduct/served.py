"""The router before the stub on one virtual network, both as they are; only the network is not."""

from __future__ import annotations

import json
from typing import Any

from autopilot import AutopilotService, Settings, autopilot_resource
from autopilot.web.limits import Limits
from autopilot.web.site import AutopilotSite
from stub_backend import Stub, StubOptions, site
from stub_backend.log import Received
from tests.conduct.network import Network
from tests.conduct.seen import Client, Seen, seen

QUESTION = "Tell me a story."
TOKEN_DELAY = 0.05
_URL = "http://192.0.2.1"
_CHAT = "/v1/chat/completions"
# Longer than idle upstream connections are kept (4 s) and than one fetch may take (10 s).
_QUIET = 11.0


class Served:
    """A router with default settings but for those given, ready."""

    def __init__(self, *, tokens: int = 60, **settings: Any) -> None:
        self.network = Network()
        self.stub: Stub = _stub(self.network, tokens)
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

    def ask(self, model: str, key: str = "fixture") -> Seen:
        """Stream one answer to its end."""
        answer = _exchange(self.network, self._site, question(model), key)
        self.network.pass_time(0.001)
        return answer

    def calls(self, model: str) -> list[Received]:
        """The upstream calls of a model."""
        return self.stub.calls(model)

    def left_behind(self) -> list[str]:
        """Stop the router; what of it is then still there, connections and timers."""
        self.service.stopService()
        self.network.pass_time(_QUIET)
        open_connections = self.stub.connections["open"]
        left = [f"{open_connections} upstream connections"] if open_connections else []
        return left + [str(call) for call in self.network.getDelayedCalls()]


def question(model: str) -> bytes:
    """The request for a streamed answer, as a client writes it."""
    messages = [{"role": "user", "content": QUESTION}]
    return json.dumps({"model": model, "stream": True, "messages": messages}).encode()


def direct(call: Received, tokens: int = 60) -> Seen:
    """What the stub says to the same call without a router before it, byte for byte.

    Its answers depend on nothing but the number of the call and the request's bytes.
    """
    assert call.model is not None and call.scenario is not None
    network = Network()
    stub = _stub(network, tokens)
    stub.script(call.model, [call.scenario])
    while stub.log.note(0.0, "GET", "/", (), b"").number < call.number - 1:
        pass
    return _exchange(network, stub.site, call.body, "fixture")


def _stub(network: Network, tokens: int) -> Stub:
    return site(network, StubOptions(tokens=tokens, token_delay=TOKEN_DELAY))


def _exchange(network: Network, server: Any, body: bytes, key: str) -> Seen:
    client, started = Client(), network.seconds()
    network.join(client, server.buildProtocol(None))
    assert client.transport is not None
    client.transport.write(
        b"POST %b HTTP/1.1\r\nHost: router\r\nAuthorization: Bearer %b\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (_CHAT.encode(), key.encode(), len(body), body)
    )
    network.run(lambda: client.over, 700)
    answer = seen(client.received, network.seconds() - started)
    client.transport.loseConnection()
    return answer
