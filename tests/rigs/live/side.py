"""The two sides of every check, the platform and the stub, each with a router in front."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from stub_backend import StubOptions, site
from tests.rigs.live.admission import Unlimited
from tests.rigs.live.caller import Caller
from tests.rigs.live.key import FAKE_KEY, Key
from tests.rigs.live.model_choice import ModelChoice
from tests.rigs.live.redact import Redactor
from tests.rigs.live.request import Auth, Host, LiveRequest

_LOCAL = "127.0.0.1"
_READY_SECONDS = 10.0


@dataclass(slots=True)
class Side:
    """One side: its name, its caller, and its choice of models."""

    caller: Caller
    redactor: Redactor
    bases: dict[Host, str]
    choice: ModelChoice = field(default_factory=lambda: ModelChoice(()))
    catalog: bytes = b'{"object":"list","data":[]}'
    feed: bytes = b"[]"

    def know(self, choice: ModelChoice) -> None:
        """Select the models."""
        self.choice = choice
        names = {each.name for each in choice.models}
        self.redactor.know(names | {each.removesuffix("-TEE") for each in names})


class Cleanup:
    """Cleanup of a run, in reverse order of registration."""

    def __init__(self) -> None:
        self._steps: list[Callable[[], Any]] = []

    def register(self, step: Callable[[], Any]) -> None:
        """Register a cleanup function."""
        self._steps.append(step)

    async def close(self) -> None:
        """Run all cleanup functions, even if one of them raises."""
        while self._steps:
            done: Deferred[Any] = maybeDeferred(self._steps.pop())
            await done.addErrback(lambda _: None)


def start_stub(reactor: Any, cleanup: Cleanup) -> Side:
    """Run the stub in this process, on a port of its own."""
    stub = site(reactor, StubOptions(require_auth=True, token_delay=0.0, time_scale=0.01))
    base = _listen(reactor, cleanup, stub.site)
    bases: dict[Host, str] = {host: base for host in Host if host is not Host.ROUTER}
    caller = Caller(reactor, bases, Key(FAKE_KEY), Unlimited())
    return Side(caller, Redactor(lambda _: None), bases)


async def add_router(reactor: Any, cleanup: Cleanup, side: Side) -> None:
    """Start a router in front of a side, which makes at most one attempt for each call.

    It receives the feeds that this run has fetched, and fetches nothing itself.
    """
    from autopilot.service.lifecycle import AutopilotService
    from autopilot.settings import Settings

    feeds = _listen(reactor, cleanup, Site(_feeds(side)))
    settings = Settings(
        listen_addr=f"{_LOCAL}:0",
        backend_base_url=side.bases[Host.LLM],
        messages_base_url=side.bases[Host.MESSAGES],
        responses_base_url=side.bases[Host.RESPONSES],
        api_base_url=feeds,
        models_url=f"{feeds}/v1/models",
        utilization_url=f"{feeds}/chutes/utilization",
        utilization_refresh_ms=3_600_000,
        models_refresh_ms=3_600_000,
        readyz_max_snapshot_age_ms=7_200_000,
        readyz_max_allowlist_age_ms=7_200_000,
        max_attempts=1,
        upstream_pool_size=0,
        upstream_pool_idle_ms=0,
        drain_timeout_ms=0,
    )
    service = AutopilotService(settings, reactor=reactor, records=lambda _record: None)
    service.startService()
    cleanup.register(service.stopService)
    base = f"http://{_LOCAL}:{service.ports[0]}"
    side.bases[Host.ROUTER] = base
    side.caller.add(Host.ROUTER, base)
    await _ready(reactor, base)


async def _ready(reactor: Any, base: str) -> None:
    """Wait until a router is ready, or until a time limit."""
    caller = Caller(reactor, {Host.ROUTER: base}, Key(FAKE_KEY), Unlimited())
    request = LiveRequest(host=Host.ROUTER, method="GET", path="/readyz", auth=Auth.NONE)
    end = reactor.seconds() + _READY_SECONDS
    while (await caller.send(request)).status != 200 and reactor.seconds() < end:
        await deferLater(reactor, 0.05)


class _Page(Resource):
    """A fixed JSON document."""

    isLeaf = True

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self._body = body

    def render_GET(self, request: Request) -> bytes:
        """Return the whole document."""
        request.setHeader("content-type", "application/json")
        return self._body


def _feeds(side: Side) -> Resource:
    """Return both feeds as fetched."""
    root = Resource()
    for branch, leaf, body in (
        (b"v1", b"models", side.catalog),
        (b"chutes", b"utilization", side.feed),
    ):
        folder = Resource()
        folder.putChild(leaf, _Page(body))
        root.putChild(branch, folder)
    return root


def _listen(reactor: Any, cleanup: Cleanup, served: Any) -> str:
    port = reactor.listenTCP(0, served, interface=_LOCAL)
    cleanup.register(port.stopListening)
    return f"http://{_LOCAL}:{port.getHost().port}"
