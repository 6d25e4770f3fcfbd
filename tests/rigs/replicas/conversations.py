"""Clients: each turn of a conversation is a request on a connection of its own."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from random import Random
from time import monotonic
from typing import Final

from tests.rigs.replicas.platform import MODELS, text
from tests.rigs.smoke.client import HOST, Reply, parse

ALIAS: Final = "chutesai/AutoPilot"
_PATIENCE: Final = 30.0


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn. `model` answered it; `failed` says what was wrong with the response."""

    conversation: str
    number: int
    began: float
    model: str = ""
    affinity: str = ""
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """A client with a conversation; `affinity` off neither reads nor writes stickiness."""

    token: str
    conversation: str
    selector: str = ALIAS
    affinity: bool = True

    async def turn(self, port: int, number: int = 0) -> Turn:
        """Make a request on a new connection, and check the response."""
        stream = number % 2 == 1
        began = monotonic()
        try:
            async with asyncio.timeout(_PATIENCE):
                reply = await self._exchange(port, self._request(number, stream=stream))
        except (OSError, ValueError, TimeoutError) as error:
            return Turn(self.conversation, number, began, failed=repr(error))
        if reply is None:
            return Turn(self.conversation, number, began, failed="no response")
        model = reply.header("x-chutes-autopilot-selected") or ""
        affinity = reply.header("x-chutes-autopilot-affinity") or ""
        wrong = ""
        if (reply.status, reply.clean) != (200, True) or model not in MODELS:
            wrong = f"{reply.status} {reply.body[:200]!r}, complete: {reply.clean}"
        elif reply.body != text(model, stream=stream):
            wrong = f"the body is not that of {model}"
        return Turn(self.conversation, number, began, model, affinity, wrong)

    def _request(self, number: int, *, stream: bool) -> bytes:
        message = {"role": "user", "content": f"turn {number}"}
        body = json.dumps({"model": self.selector, "stream": stream, "messages": [message]})
        lines = [
            "POST /v1/chat/completions HTTP/1.1",
            "Host: replicas.test",
            "Connection: close",
            "Content-Type: application/json",
            f"Authorization: Bearer {self.token}",
            f"X-Session-Id: {self.conversation}",
            *(() if self.affinity else ("X-Autopilot-Affinity: off",)),
            f"Content-Length: {len(body)}",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()

    async def _exchange(self, port: int, request: bytes) -> Reply | None:
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            writer.write(request)
            return parse(await reader.read())
        finally:
            writer.transport.abort()


async def converse(
    port: int, prefix: str, conversations: int, turns: int, pause: float
) -> list[Turn]:
    """Hold conversations at the same time; `pause` is the mean of the seconds between turns."""

    async def hold(number: int) -> list[Turn]:
        rng = Random(f"{prefix}/{number}")
        # A client has several conversations.
        caller = Caller(f"{prefix}-client-{number // 4}", f"{prefix}-{number}")
        found = []
        await asyncio.sleep(rng.uniform(0.0, pause))
        for turn in range(turns):
            found.append(await caller.turn(port, turn))
            await asyncio.sleep(rng.uniform(0.5, 1.5) * pause)
        return found

    held = await asyncio.gather(*(hold(number) for number in range(conversations)))
    return [turn for each in held for turn in each]
