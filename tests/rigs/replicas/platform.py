"""A platform whose figures drift: no two fetches of the utilization rank the models alike."""

from __future__ import annotations

import asyncio
import json
import re
from random import Random
from time import monotonic
from typing import Final

from tests.rigs.smoke.client import HOST
from tests.unit.feeds.records import catalog_body, entry, record, utilization_body
from tests.unit.relay.upstreams import DONE, ROLE, STOP, chunk, head, whole

MODELS: Final = tuple(f"acme/replica-{number}" for number in range(12))
FAILING: Final = "acme/failing"
_EVERY: Final = (*MODELS, FAILING)
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class Platform:
    """Feeds, models that answer with their name, and one that fails while `broken`.

    `failures` has the times at which the failing model was asked.
    """

    def __init__(self, seed: int) -> None:
        self._rng = Random(f"platform/{seed}")
        self._server: asyncio.Server | None = None
        self.port = 0
        self.failures: list[float] = []

    async def open(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, HOST, 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                first = await reader.readuntil(b"\r\n\r\n")
                found = _LENGTH.search(first)
                body = await reader.readexactly(int(found[1]) if found else 0)
                writer.write(self._answer(first, body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.transport.abort()

    def _answer(self, first: bytes, body: bytes) -> bytes:
        if first.startswith(b"GET /v1/models"):
            return whole(200, catalog_body(*map(entry, _EVERY)))
        if first.startswith(b"GET /chutes"):
            return whole(200, utilization_body(*map(self._record, MODELS), self._last()))
        request = json.loads(body)
        if request["model"] == FAILING:
            self.failures.append(monotonic())
            return whole(500, b'{"detail":"broken"}')
        return answer(request["model"], stream=request["stream"])

    def _record(self, name: str) -> dict[str, object]:
        busy = self._rng.random
        return record(name, utilization_current=busy(), utilization_5m=busy())

    def _last(self) -> dict[str, object]:
        """Return the record of a model that no router ranks first."""
        full = dict.fromkeys(("utilization_current", "utilization_5m", "utilization_15m"), 1.0)
        return record(FAILING, rate_limit_ratio_5m=1.0, **full)


def text(model: str, *, stream: bool) -> bytes:
    """Return the body that the client of a model receives."""
    if not stream:
        message = {"role": "assistant", "content": model}
        return json.dumps({"id": "1", "choices": [{"index": 0, "message": message}]}).encode()
    token = {"id": "1", "choices": [{"index": 0, "delta": {"content": model}}]}
    return ROLE + b"data: " + json.dumps(token).encode() + b"\n\n" + STOP + DONE


def answer(model: str, *, stream: bool) -> bytes:
    """Return the response of a model."""
    body = text(model, stream=stream)
    return head() + chunk(body) + chunk(b"") if stream else whole(200, body)
