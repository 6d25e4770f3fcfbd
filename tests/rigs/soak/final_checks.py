"""Checks after the last client has left: resources the router still holds, and its exit."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

from tests.rigs.soak.report import Check
from tests.rigs.soak.response_parser import ResponseParser
from tests.rigs.soak.router import RouterUnderTest

_PATIENCE: Final = 15.0
_PAUSE: Final = 0.1
_LOOKS: Final = 6


async def page(port: int, path: str) -> ResponseParser:
    """Request a page of the router on a new connection."""
    reading = ResponseParser()
    async with asyncio.timeout(_PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: soak.test\r\n\r\n".encode())
            while not reading.whole and (data := await reader.read(65_536)):
                reading.feed(data)
        finally:
            writer.transport.abort()
    return reading


async def active(port: int) -> int:
    """Return the router's number of active requests."""
    reading = await page(port, "/status.json")
    return int(json.loads(reading.body)["requests_active"])


async def descriptors_at_rest(router: RouterUnderTest) -> int:
    """Return the open files of a router that has just started, once several counts agree.

    A connection that is being replaced during the count would look like one left open later.
    """
    deadline = monotonic() + _PATIENCE
    while len(set(found := await _counts(router))) > 1 and monotonic() < deadline:
        pass
    return min(found)


async def _descriptors(router: RouterUnderTest) -> int:
    """Return the open files of an idle router: the minimum of several counts."""
    return min(await _counts(router))


async def _counts(router: RouterUnderTest) -> list[int]:
    found = []
    for _ in range(_LOOKS):
        await asyncio.sleep(_PAUSE)
        found.append(router.descriptors())
    return found


async def examine(router: RouterUnderTest, open_before: int) -> list[Check]:
    """Return the checks of a router without clients."""

    async def none_active() -> tuple[bool, str]:
        count = await active(router.port)
        return count == 0, str(count)

    async def ready() -> tuple[bool, str]:
        status = (await page(router.port, "/readyz")).status
        return status == 200, str(status)

    async def closed() -> tuple[bool, str]:
        count = await _descriptors(router)
        return count <= open_before, f"{count}, before {open_before}"

    return [
        await _eventually("requests_active is 0", none_active),
        await _eventually("/readyz says 200", ready),
        await _eventually("open descriptors are back", closed),
    ]


async def end(router: RouterUnderTest) -> Check:
    """Stop the router with SIGTERM, and check its exit."""
    began = monotonic()
    router.signal(signal.SIGTERM)
    try:
        status = await asyncio.to_thread(router.wait, _PATIENCE)
    except subprocess.TimeoutExpired:
        return Check("SIGTERM ends it", False, f"still running after {_PATIENCE:.0f} s")
    found = f"status {status} after {monotonic() - began:.1f} s"
    return Check("SIGTERM ends it", status == -signal.SIGTERM, found)


async def _eventually(what: str, look: Callable[[], Awaitable[tuple[bool, str]]]) -> Check:
    """Poll until the condition is true or the time is up."""
    deadline = monotonic() + _PATIENCE
    while True:
        try:
            ok, found = await look()
        except (OSError, ValueError, TimeoutError) as error:
            ok, found = False, repr(error)
        if ok or monotonic() > deadline:
            return Check(what, ok, found)
        await asyncio.sleep(_PAUSE)
