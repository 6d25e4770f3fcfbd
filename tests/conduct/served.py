"""The router and the stub, both unmodified, on one virtual network."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from opentelemetry.sdk.trace import TracerProvider

from autopilot import AutopilotService, Settings, autopilot_resource
from autopilot.http.limits import Limits
from autopilot.observability.records import RequestRecord
from autopilot.web.site import AutopilotSite
from stub_backend import Stub, StubOptions, site
from stub_backend.log import Received
from tests.conduct.network import Network
from tests.conduct.seen import Client, Seen, seen

QUESTION = "Tell me a story."
TOKEN_DELAY = 0.05
_HUGE = 300_000
# The request headers that affect the stub's answer.
_HEEDED = ("x-enable-thinking", "x-chutes-trace", "x-tee-only")
_URL = "http://192.0.2.1"
CHAT = "/v1/chat/completions"
# Longer than an idle upstream connection is kept (4 s) and than a fetch may take (10 s).
_QUIET = 11.0
# Virtual seconds, longer than anything here may take.
_LIMIT = 700.0


class Served:
    """A ready router with default settings except for the given ones.

    ``stub`` has further options of the stub, and ``before`` is called with it before the start.
    """

    def __init__(
        self,
        *,
        tokens: int = 60,
        token_delay: float = TOKEN_DELAY,
        require_auth: bool = False,
        prefixes: int = 0,
        stub: Mapping[str, Any] = MappingProxyType({}),
        url: str = _URL,
        network: Network | None = None,
        before: Callable[[Stub], None] = lambda _stub: None,
        traces: TracerProvider | None = None,
        **settings: Any,
    ) -> None:
        self.network = Network() if network is None else network
        self.records: list[RequestRecord] = []
        self.stub: Stub = _stub(
            self.network,
            tokens,
            token_delay,
            require_auth=require_auth,
            prefixes=prefixes,
            **stub,
        )
        self.network.server = self.stub.site
        before(self.stub)
        self.service = AutopilotService(
            Settings(
                backend_base_url=url,
                models_url=f"{url}/v1/models",
                utilization_url=f"{url}/chutes/utilization",
                api_base_url=url,
                messages_base_url=url,
                responses_base_url=url,
                **settings,
            ),
            reactor=self.network,
            listen=False,
            records=self.records.append,
            traces=traces,
        )
        self._site = AutopilotSite(autopilot_resource(self.service), self.network, Limits())
        self.service.startService()
        self.network.pass_time(1)

    def ask(self, model: str, key: str = "fixture") -> Seen:
        """Request a stream and read it to its end."""
        return self.post(question(model), key=key)

    def post(self, body: bytes, *fields: bytes, key: str = "fixture", path: str = CHAT) -> Seen:
        """Send a body, with further fields, and read the response to its end."""
        answer = _exchange(self.network, self._site, body, key, fields, path)
        self.network.pass_time(0.001)
        return answer

    def begin(self, body: bytes, *fields: bytes, key: str = "fixture", path: str = CHAT) -> Client:
        """Send a body, and return its client at once."""
        return _send(self.network, self._site, body, key, fields, path)

    def finish(self, *clients: Client) -> list[Seen]:
        """Read the responses of clients to their ends."""
        self.network.run(lambda: all(each.over for each in clients), _LIMIT)
        for each in clients:
            assert each.transport is not None
            each.transport.loseConnection()
        self.network.pass_time(0.001)
        return [seen(each.received, 0.0, each.first_word) for each in clients]

    def leave(
        self, after: float, body: bytes, *fields: bytes, key: str = "fixture", path: str = CHAT
    ) -> bytes:
        """Send a body, disconnect after some seconds, and return the bytes received until then."""
        client = _send(self.network, self._site, body, key, fields, path)
        self.network.pass_time(after)
        assert client.transport is not None
        client.transport.loseConnection()
        self.network.pass_time(0.001)
        return client.received

    def get(self, path: str) -> Seen:
        """Return a page."""
        client = _send(self.network, self._site, b"", "", (), path, method="GET")
        self.network.run(lambda: client.over, _LIMIT)
        assert client.transport is not None
        client.transport.loseConnection()
        self.network.pass_time(0.001)
        return seen(client.received, 0.0)

    def calls(self, model: str) -> list[Received]:
        """Return the upstream calls of a model."""
        return self.stub.calls(model)

    def left_behind(self) -> list[str]:
        """Stop the router; return the connections and timers that remain."""
        self.service.stopService()
        self.network.pass_time(_QUIET)
        open_connections = self.stub.connections["open"]
        left = [f"{open_connections} upstream connections"] if open_connections else []
        return left + [str(call) for call in self.network.getDelayedCalls()]


def question(model: str, text: str = QUESTION) -> bytes:
    """Return a request for a streamed answer."""
    messages = [{"role": "user", "content": text}]
    return json.dumps({"model": model, "stream": True, "messages": messages}).encode()


def direct(call: Received, tokens: int = 60, patience: float = _LIMIT) -> Seen:
    """Return the stub's response to the same call without a router.

    A response depends on the number of the call and the request's bytes only. One that has not
    ended after ``patience`` virtual seconds is returned as far as it has come.
    """
    assert call.model is not None and call.scenario is not None
    network = Network()
    stub = _stub(network, tokens)
    stub.script(call.model, [call.scenario])
    while stub.log.note(0.0, "GET", "/", (), b"").number < call.number - 1:
        pass
    own = {name.lower(): value for name, value in call.headers}
    fields = [f"{n}: {own[n]}".encode() for n in _HEEDED if n in own]
    return _exchange(network, stub.site, call.body, "fixture", fields, call.path, patience)


def other_stub(network: Network, tokens: int, token_delay: float = TOKEN_DELAY) -> Stub:
    """Return a stub that is not the platform of the router."""
    return _stub(network, tokens, token_delay)


def _stub(
    network: Network,
    tokens: int,
    token_delay: float = TOKEN_DELAY,
    **given: Any,
) -> Stub:
    # The size of the feeds does not matter here, and generating the platform's takes most of the
    # time.
    options = StubOptions(
        other_chutes=5,
        private_chutes=20,
        tokens=tokens,
        token_delay=token_delay,
        huge_bytes=_HUGE,
        **given,
    )
    return site(network, options)


def _exchange(
    network: Network,
    server: Any,
    body: bytes,
    key: str,
    fields: Sequence[bytes] = (),
    path: str = CHAT,
    patience: float = _LIMIT,
) -> Seen:
    started = network.seconds()
    client = _send(network, server, body, key, fields, path)
    timer = network.callLater(patience, lambda: None)
    network.run(lambda: client.over or not timer.active(), patience)
    if timer.active():
        timer.cancel()
    assert client.over or patience < _LIMIT, "the response never ended"
    answer = seen(client.received, network.seconds() - started, client.first_word)
    assert client.transport is not None
    client.transport.loseConnection()
    return answer


def _send(
    network: Network,
    server: Any,
    body: bytes,
    key: str,
    fields: Sequence[bytes],
    path: str,
    method: str = "POST",
) -> Client:
    """Connect a client that has sent its request."""
    own = [b"Authorization: Bearer " + key.encode(), *fields] if key else fields
    started = network.seconds()
    client = Client(lambda: network.seconds() - started)
    network.join(client, server.buildProtocol(None))
    assert client.transport is not None
    client.transport.write(
        b"%b %b HTTP/1.1\r\nHost: router\r\n%bContent-Length: %d\r\n\r\n%b"
        % (
            method.encode(),
            path.encode(),
            b"".join(b"%b\r\n" % field for field in own),
            len(body),
            body,
        )
    )
    return client
