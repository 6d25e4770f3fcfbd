"""Shared parts of the live check's tests: a fake key, and platforms that deviate."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import Request

from stub_backend import Stub, StubOptions, site
from stub_backend.stub import StubSite
from tests.rigs.live.gate import PATTERNS
from tests.rigs.live.key import Key
from tests.rigs.live.request import Host
from tests.rigs.live.run import LiveRun, Options
from tests.rigs.live.table import chosen

# Has the format of a key; it is assembled here, so that no secret scanner reports it.
PARTS = ("00fa4e00" * 4, "0acc0127" * 4, "n0tAR3al" * 4)
FAKE = "cpk_" + ".".join(PARTS)

reactor: Any = installed
Answer = Callable[[Request], bytes | None]


def stub_as_platform() -> Stub:
    """Return a platform without differences."""
    return site(reactor, StubOptions(require_auth=True, token_delay=0.0, time_scale=0.01))


class Deviating(Resource):
    """The stub as a platform, except where `answer` returns a response instead of None."""

    isLeaf = True

    def __init__(self, answer: Answer, stub: Stub | None = None) -> None:
        super().__init__()
        self.stub = stub or stub_as_platform()
        self.asked: list[str] = []
        self._answer = answer

    def render(self, request: Request) -> Any:
        """Deviate, or respond like the stub."""
        self.asked.append(f"{request.method.decode()} {request.uri.decode()}")
        own = self._answer(request)
        if own is None:
            return self.stub.resource.render(request)
        return own


def model_of(request: Request) -> Any:
    """Return the `model` of any request."""
    content: Any = request.content
    content.seek(0)
    try:
        value = json.loads(content.read())
    except ValueError:
        return None
    finally:
        content.seek(0)
    return value.get("model") if isinstance(value, dict) else None


def said(request: Request, status: int, content_type: str, body: bytes) -> bytes:
    """Set the status, headers and body of a response; return the body."""
    request.setResponseCode(status)
    request.setHeader("content-type", content_type)
    return body


class InProcess:
    """A live run in this process, against a resource."""

    def __init__(self, folder: str, resource: Resource) -> None:
        self.logs = Path(folder)
        self.lines: list[str] = []
        self.status = -1
        self._site = StubSite(resource, reactor, 5.0)

    def play(self, *only: str, calls: int = 40) -> Deferred[None]:
        """Run some checks, or the usual ones."""
        return Deferred.fromCoroutine(self._play(only, calls))

    async def _play(self, only: tuple[str, ...], calls: int) -> None:
        port = reactor.listenTCP(0, self._site, interface="127.0.0.1")
        base = f"http://127.0.0.1:{port.getHost().port}"
        options = Options(
            checks=chosen(only),
            bases={host: base for host in Host if host is not Host.ROUTER},
            calls=calls,
            pace=0.0,
            seconds=60.0,
            logs=self.logs,
        )
        try:
            self.status = await LiveRun(reactor, options, Key(FAKE), self.lines.append).run()
        finally:
            await port.stopListening()

    def report(self) -> dict[str, Any]:
        """Return `report.json`."""
        report: dict[str, Any] = json.loads((self.logs / "report.json").read_text())
        return report

    def check(self, name: str) -> dict[str, Any]:
        """Return one check of the report."""
        found: dict[str, Any] = next(e for e in self.report()["checks"] if e["check"] == name)
        return found

    def written(self) -> bytes:
        """Return every byte that was written, file names included."""
        files = sorted(self.logs.glob("**/*")) if self.logs.exists() else []
        return b"\n".join(each.name.encode() + each.read_bytes() for each in files)


def leaks(data: bytes) -> list[str]:
    """Return the fragments of the fake key in `data`, with a search independent of the gate's."""
    found = []
    squeezed = "".join(c for c in data.decode("latin-1").lower() if c.isascii() and c.isalnum())
    for part in PARTS:
        for text in (part, part[::-1], part.encode().hex()):
            pieces = (text[at : at + 8].lower() for at in range(len(text) - 7))
            found += [text] if any(piece in squeezed for piece in pieces) else []
    return found + [kind for kind, pattern in PATTERNS.items() if pattern.search(data)]
