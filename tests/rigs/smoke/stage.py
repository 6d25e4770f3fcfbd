"""The environment of a scenario: the processes, a client, and the recorded checks."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.rigs.smoke.client import Exchange, Reply, chunked, get, post_head
from tests.rigs.smoke.processes import RouterProcess, StubProcess
from tests.rigs.smoke.replay import Replay
from tests.rigs.smoke.transcripts import Transcripts, Vault

CHAT = "/v1/chat/completions"
ALIAS = "chutesai/AutoPilot"


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison; long values are shortened."""

    what: str
    ok: bool
    expected: str
    actual: str


@dataclass(slots=True)
class Bench:
    """The processes that all scenarios share. `router` connects to `stub` only."""

    folder: Path
    stub: StubProcess
    router: RouterProcess
    replay: Replay
    vault: Vault


def completion(model: str, *, stream: bool) -> bytes:
    """Return a request in which decoding and re-encoding would change every member."""
    members = (
        '"temperature": 1.0 ',
        '"seed":1180591620717411303424',
        f'"model" : {json.dumps(model)}',
        f'"stream": {json.dumps(stream)}',
        '"messages": [{"role": "user", "content": "caf\\u00e9 \u20ac \\/ smoke"}]',
        '"logit_bias":{"50256":-1e2}',
    )
    return ("{" + ", ".join(members) + "}").encode()


@dataclass(slots=True)
class Stage:
    """One scenario's view of the bench. `status` and `attempts` appear in the table."""

    bench: Bench
    transcripts: Transcripts
    checks: list[Check] = field(default_factory=list)
    status: int | None = None
    attempts: int | None = None
    token: str = ""

    def __post_init__(self) -> None:
        self.token = self.bench.vault.new_token()

    # -- checking

    def expect(self, what: str, actual: object, expected: object) -> None:
        """Record whether a value is as expected."""
        self.checks.append(Check(what, actual == expected, _short(expected), _short(actual)))

    def expect_calls(self, *models: str) -> list[dict[str, Any]]:
        """Expect exactly these upstream calls, in this order; return the stub's log of them."""
        calls = self.bench.stub.calls()
        self.attempts = len(calls)
        self.expect("upstream calls", [each["model"] for each in calls], list(models))
        return calls

    # -- requests

    def begin(
        self,
        body: bytes,
        *,
        path: str = CHAT,
        fields: Sequence[tuple[str, str]] = (),
        in_chunks: bool = False,
        router: RouterProcess | None = None,
    ) -> Exchange:
        """Send a request to the router, without reading the response."""
        framing = ("Transfer-Encoding", "chunked")
        if not in_chunks:
            framing = ("Content-Length", str(len(body)))
        head = post_head(path, (("Authorization", f"Bearer {self.token}"), framing, *fields))
        payload = chunked(body) if in_chunks else body
        return Exchange((router or self.bench.router).port, head + payload)

    def end(self, exchange: Exchange) -> Reply:
        """Read the response to its end, and keep the transcript."""
        try:
            reply = exchange.finish()
        finally:
            self.transcripts.keep(exchange)
        self.status = reply.status
        return reply

    def ask(
        self,
        model: str,
        *,
        stream: bool,
        router: RouterProcess | None = None,
        request_id: str | None = None,
    ) -> Reply:
        """Make a completion request and read its response."""
        named = request_id or f"smoke-{uuid.uuid4()}"
        body = completion(model, stream=stream)
        reply = self.end(self.begin(body, fields=[("X-Request-ID", named)], router=router))
        self.expect("x-request-id", reply.header("x-request-id"), named)
        return reply

    def page(self, path: str, router: RouterProcess | None = None) -> Reply:
        """Request a page of the router and read it."""
        return self.end(get((router or self.bench.router).port, path))

    # -- processes of this scenario

    @contextmanager
    def own_stub(self, *arguments: str) -> Iterator[StubProcess]:
        """Run another stub for the duration of the block."""
        stub = StubProcess(self._name("stub"), self.bench.folder, arguments)
        try:
            stub.start()
            yield stub
        finally:
            stub.kill()

    @contextmanager
    def own_router(
        self, stub: StubProcess, settings: Mapping[str, str], *, wait: bool = True
    ) -> Iterator[RouterProcess]:
        """Run another router for the duration of the block.

        With `wait` it listens, but need not be ready; without, it has only been started.
        """
        router = RouterProcess(self._name("router"), self.bench.folder, stub.port, settings)
        try:
            router.start(wait=wait)
            yield router
        finally:
            router.kill()

    def _name(self, kind: str) -> str:
        return f"{kind}-{self.transcripts.folder.name}"


def _short(value: object, limit: int = 300) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"
